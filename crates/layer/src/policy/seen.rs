//! What was seen of the calls of one action.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use crate::{
    Level, Rule,
    policy::{Action, Naming},
};

/// Identity sources that are told apart on one route.
const MAX_SOURCES: usize = 4;

/// The action is remembered, so that what is seen of it can be found again.
const KEPT: u8 = 1;
const EXERCISED: u8 = 1 << 1;
const ANONYMOUS: u8 = 1 << 2;
const RESOURCE: u8 = 1 << 3;
const BODY: u8 = 1 << 4;

/// Written on the way of a request: once something is seen, to see it again costs a load.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    flags: AtomicU8,
    sources: [OnceLock<Box<str>>; MAX_SOURCES],
    inner: Mutex<Option<Decided>>,
}

/// What a rule around the handler made of an action.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) name: Option<String>,
    pub(crate) naming: Naming,
    pub(crate) level: Level,
    pub(crate) rule: Arc<Rule>,
}

impl Decided {
    /// The action as the last rule around its handler left it.
    pub(crate) fn last(action: &Action) -> Self {
        let inner = action.seen.inner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        inner.unwrap_or_else(|| Self::by(action))
    }

    pub(crate) fn by(action: &Action) -> Self {
        Self {
            name: action.fixed_name().map(str::to_owned),
            naming: action.naming,
            level: action.level,
            rule: Arc::clone(&action.rule),
        }
    }
}

impl Seen {
    pub(crate) fn keep(&self) {
        self.set(KEPT);
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.has(KEPT)
    }

    /// A call has ended; true for the first.
    pub(crate) fn note(&self, source: Option<&str>, resource: bool, body: bool) -> bool {
        let mut flags = EXERCISED;
        match source {
            Some(source) => self.add_source(source),
            None => flags |= ANONYMOUS,
        }
        if resource {
            flags |= RESOURCE;
        }
        if body {
            flags |= BODY;
        }
        self.set(flags) & EXERCISED == 0
    }

    /// A rule around the handler has had its say.
    pub(crate) fn decided(&self, action: &Action) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = Some(Decided::by(action));
    }

    pub(crate) fn sources(&self) -> Vec<String> {
        self.sources.iter().map_while(OnceLock::get).map(|source| String::from(&**source)).collect()
    }

    pub(crate) fn exercised(&self) -> bool {
        self.has(EXERCISED)
    }

    pub(crate) fn anonymous(&self) -> bool {
        self.has(ANONYMOUS)
    }

    pub(crate) fn resource(&self) -> bool {
        self.has(RESOURCE)
    }

    pub(crate) fn body(&self) -> bool {
        self.has(BODY)
    }

    fn add_source(&self, source: &str) {
        for slot in &self.sources {
            if **slot.get_or_init(|| source.into()) == *source {
                return;
            }
        }
    }

    fn has(&self, flags: u8) -> bool {
        self.flags.load(Ordering::Relaxed) & flags == flags
    }

    /// What was set before. Writes only what is new: else the cores would take the line from each other with every request.
    fn set(&self, flags: u8) -> u8 {
        let known = self.flags.load(Ordering::Relaxed);
        if known & flags == flags { known } else { self.flags.fetch_or(flags, Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_stays_seen() {
        let seen = Seen::default();
        assert!(seen.note(None, false, true) && !seen.note(None, false, true));
        assert!(seen.exercised() && seen.anonymous() && seen.body() && !seen.resource() && !seen.is_kept());
        for source in ["jwt", "handler", "jwt", "a", "b", "c"] {
            seen.note(Some(source), true, false);
        }
        assert_eq!(seen.sources(), ["jwt", "handler", "a", "b"]);
        assert!(seen.resource());
    }
}
