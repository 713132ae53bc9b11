//! Which trails take which events: decided once, when an event is accepted, and kept beside it in its frame.
//!
//! [`Selection`] is what the configuration says, [`Tally`] collects the decisions over a frame, and [`Cut`] is what a
//! trail reads back when it ships. A trail that takes everything leaves no trace, and where all do, nothing is stored.

mod cut;
mod tally;

use std::sync::{Arc, PoisonError, RwLock};

use sidetrail_archive::key::Trail;
use sidetrail_selectors::{Event, Matcher, Peek, Scope, Selectors};

pub(crate) use cut::{Cut, unwanted};
pub(crate) use tally::Tally;

use crate::config::{Config, ConfigError, MAX_TRAILS};

/// Records of one frame while a trail selects: more would not leave room in its meta.
pub(crate) const MAX_RECORDS: usize = crate::MAX_BATCH_EVENTS;
/// What a selection takes of a frame's meta: three bytes for a length of at most 256 KiB, a bit for each record and
/// trail, names of at most 128 bytes, times, and tags.
pub(crate) const MAX_ENCODED: usize = MAX_RECORDS * 3 + MAX_TRAILS * (MAX_RECORDS / 8 + 128 + 40) + 32;

const _: () = assert!(MAX_TRAILS <= u8::BITS as usize, "a bit for each trail");

/// What the trails of a collector take, as of now.
#[derive(Debug, Default)]
pub(crate) struct Selection(RwLock<Arc<Choosers>>);

impl Selection {
    /// Takes effect with the next batch of every sender.
    pub(crate) fn set(&self, choosers: Choosers) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(choosers);
    }

    pub(crate) fn now(&self) -> Arc<Choosers> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The trails, each with its selectors. Without selectors a trail takes everything.
#[derive(Debug, Default)]
pub(crate) struct Choosers {
    trails: Vec<(Trail, Option<Matcher>)>,
    /// There is no trail, so nobody takes anything.
    nobody: bool,
}

/// Which trails take an event: a bit for each, in the order of the choosers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken(u8);

impl Choosers {
    /// # Errors
    /// If selectors are not valid, or would record what the collector itself does.
    pub(crate) fn of(config: &Config) -> Result<Self, ConfigError> {
        let names = config.trails.iter().map(|trail| trail.name.clone());
        let choosers = Self::new(names.zip(config.selectors()?));
        Ok(Self { nobody: config.trails.is_empty(), ..choosers })
    }

    /// Of checked selectors. Those that are not valid after all select everything: nothing is lost by that.
    pub(crate) fn new(trails: impl IntoIterator<Item = (Trail, Option<Selectors>)>) -> Self {
        let matcher = |it: Selectors| Matcher::new(&it, Scope::Trail).ok();
        let trails = trails.into_iter().map(|(name, it)| (name, it.and_then(matcher))).collect();
        Self { trails, nobody: false }
    }

    /// Whether nothing needs to be asked: every trail takes everything.
    pub(crate) fn take_everything(&self) -> bool {
        !self.nobody && self.trails.iter().all(|(_, matcher)| matcher.is_none())
    }

    /// Asks for an event.
    pub(crate) fn choose<E: Event + ?Sized>(&self, event: &E) -> Taken {
        if self.take_everything() {
            return Taken::BY_ALL;
        }
        let bits = self.trails.iter().enumerate().map(|(index, (_, matcher))| {
            u8::from(matcher.as_ref().is_none_or(|matcher| matcher.matches(event))) << index
        });
        Taken(bits.fold(0, |all, bit| all | bit))
    }

    /// Asks for a complete record by its text, which is known to be a JSON object.
    pub(crate) fn choose_text(&self, record: &str) -> Taken {
        if self.take_everything() {
            return Taken::BY_ALL;
        }
        if self.nobody {
            return Taken::BY_NONE;
        }
        // What is no record to look at is missing in no trail.
        serde_json::from_str::<Peek<'_>>(record).map_or(Taken::BY_ALL, |peek| self.choose(&peek))
    }

    fn names(&self) -> impl Iterator<Item = &Trail> {
        self.trails.iter().map(|(name, _)| name)
    }
}

impl Taken {
    pub(crate) const BY_ALL: Self = Self(u8::MAX);
    const BY_NONE: Self = Self(0);

    /// Whether nobody needs the record.
    pub(crate) fn by_none(self) -> bool {
        self.0 == 0
    }

    fn by(self, trail: usize) -> bool {
        self.0 >> trail & 1 == 1
    }
}

#[cfg(test)]
mod tests;
