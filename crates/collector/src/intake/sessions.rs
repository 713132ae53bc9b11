//! Which sources are connected: one stream each, and the newest one counts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sidetrail_archive::key::Id;
use tokio_util::sync::CancellationToken;

/// Streams at a time. A sender beyond it is told to come back.
pub(crate) const MAX_SESSIONS: usize = 1024;

/// The connected sources.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<Id, CancellationToken>>);

/// A place among the connected sources, given up when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    sessions: &'a Sessions,
    source: Id,
    token: CancellationToken,
}

impl Sessions {
    /// Enters a source. A stream that it still had is told to end: it is half-open, or the sender would not have come
    /// again. `None` when there is no place left.
    pub(crate) fn enter(&self, source: Id) -> Option<Place<'_>> {
        let mut sessions = self.lock();
        if sessions.len() >= MAX_SESSIONS && !sessions.contains_key(&source) {
            return None;
        }
        let token = CancellationToken::new();
        if let Some(older) = sessions.insert(source, token.clone()) {
            older.cancel();
        }
        Some(Place { sessions: self, source, token })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Set when the same source came again on another stream.
    pub(crate) fn superseded(&self) -> &CancellationToken {
        &self.token
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Cancelled means that the entry belongs to the newer stream.
        let mut sessions = self.sessions.lock();
        if !self.token.is_cancelled() {
            sessions.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stream_of_a_source_counts() {
        let sessions = Sessions::default();
        let first = sessions.enter(Id([1; 16])).unwrap();
        let second = sessions.enter(Id([1; 16])).unwrap();
        assert!(first.superseded().is_cancelled());
        drop(first);
        assert!(!second.superseded().is_cancelled());
        assert_eq!(sessions.lock().len(), 1);
        drop(second);
        assert!(sessions.lock().is_empty());
    }

    #[test]
    fn places_are_bounded() {
        let sessions = Sessions::default();
        let places: Vec<_> =
            (0..MAX_SESSIONS as u128).map(|id| sessions.enter(Id(id.to_be_bytes()))).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(sessions.enter(Id([255; 16])).is_none());
        assert!(sessions.enter(Id([0; 16])).is_some(), "a source that is connected may come again");
    }
}
