//! What a listing of manifests means: whose each name is, without reading the object.
//!
//! Names follow from the place in a chain ([`Unique`]), so those of chains that are known are computed and looked up. What is
//! left has to be read: it is of a chain that is new, or of another trail.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::heads::Heads;
use crate::key::{Id, Minute, Trail, Unique};

/// The most names of a listing that are kept, some 40 bytes each. A day of a trail that writes a file a minute has 1,440.
pub const MAX_NAMES: usize = 500_000;

/// Names that a place in a chain may have had taken and that are tried; what has another is read.
const ATTEMPTS: u32 = 3;

/// So many places that are not listed end a walk along a chain.
const MISSES: u64 = 64;

/// Where a manifest lies, in its home and region.
pub(super) type Spot = (Minute, Unique);

/// The names of a listing that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<Unique, Minute>);

/// There are more names than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_NAMES} manifests were delivered in the days that are looked at")]
pub struct TooManyNames;

impl Names {
    pub(super) fn insert(&mut self, (minute, unique): Spot) -> Result<(), TooManyNames> {
        if self.0.len() == MAX_NAMES {
            return Err(TooManyNames);
        }
        self.0.insert(unique, minute);
        Ok(())
    }

    /// The names that the manifest at a place in a chain may have.
    pub(super) fn of(collector: Id, trail: &Trail, index: u64) -> impl Iterator<Item = Unique> {
        (0..=ATTEMPTS).map(move |attempt| Unique::of_attempt(collector, trail, index, attempt))
    }

    /// The names of a place in a chain that are listed: taken out. There is more than one where the first was taken by
    /// something else.
    pub(super) fn take(&mut self, collector: Id, trail: &Trail, index: u64) -> Vec<Spot> {
        let names = Self::of(collector, trail, index);
        names.filter_map(|unique| self.0.remove(&unique).map(|minute| (minute, unique))).collect()
    }

    /// Takes out what digests cover already, of chains that went on after `since`.
    pub(super) fn leave_out_covered(&mut self, heads: &Heads, trail: &Trail, since: Timestamp) {
        for (collector, chain) in heads.iter().filter(|(_, chain)| chain.at > since) {
            let mut misses = 0;
            for index in (0..chain.next).rev().filter(|index| !chain.has_hole_at(*index)) {
                if misses == MISSES || self.0.is_empty() {
                    break;
                }
                misses = if self.take(collector, trail, index).is_empty() { misses + 1 } else { 0 };
            }
        }
    }

    /// Takes out what is listed of a chain from `index` on, upwards or downwards, until too many are missing.
    pub(super) fn walk(
        &mut self,
        collector: Id,
        trail: &Trail,
        indices: impl Iterator<Item = u64>,
        mut found: impl FnMut(u64, Vec<Spot>),
    ) {
        let mut misses = 0;
        for index in indices {
            let spots = self.take(collector, trail, index);
            if spots.is_empty() {
                misses += 1;
            } else {
                misses = 0;
                found(index, spots);
            }
            if misses == MISSES || self.0.is_empty() {
                return;
            }
        }
    }

    /// Some name that is left.
    pub(super) fn any(&self) -> Option<Spot> {
        self.0.iter().next().map(|(unique, minute)| (*minute, *unique))
    }

    pub(super) fn remove(&mut self, unique: Unique) {
        self.0.remove(&unique);
    }
}
