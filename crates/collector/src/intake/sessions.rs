//! Which sources are connected: one stream each, and the newest one counts. Of sources that are not, how long that is so
//! while they have open intents, and which of them did not say goodbye.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sidetrail_archive::key::Id;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Streams at a time. A sender beyond it is told to come back.
pub(crate) const MAX_SESSIONS: usize = 1024;
/// Sources that went without a goodbye and are remembered for it, the newest.
const MAX_SILENT: usize = 256;

/// The connected sources.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    state: Mutex<State>,
    /// A source said goodbye and left intents open.
    gone: Notify,
}

#[derive(Debug, Default)]
struct State {
    live: HashMap<Id, CancellationToken>,
    /// Sources with open intents and without a stream. There are no more of them than open intents.
    away: HashMap<Id, Away>,
    /// Those that went without a goodbye, the newest last.
    silent: VecDeque<(Id, Gone)>,
}

/// A source that went without a goodbye.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gone {
    /// As it said in its Hello; empty where that was before the collector started.
    pub(crate) service: String,
    pub(crate) instance: String,
    /// When its stream ended, or the collector started.
    pub(crate) since_unix_ms: i64,
}

/// How a source without a stream went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    /// Its stream ended, or the collector started, at this time. It may come back.
    Since(Duration),
    /// It said goodbye.
    ForGood,
}

/// A place among the connected sources, given up when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    sessions: &'a Sessions,
    source: Id,
    token: CancellationToken,
    goodbye: bool,
    /// What is remembered of it if it goes without a goodbye.
    gone: Option<Gone>,
}

impl Sessions {
    /// Enters a source. A stream that it still had is told to end: it is half-open, or the sender would not have come
    /// again. `None` when there is no place left.
    pub(crate) fn enter(&self, source: Id) -> Option<Place<'_>> {
        let mut state = self.lock();
        if state.live.len() >= MAX_SESSIONS && !state.live.contains_key(&source) {
            return None;
        }
        let token = CancellationToken::new();
        if let Some(older) = state.live.insert(source, token.clone()) {
            older.cancel();
        }
        state.away.remove(&source);
        state.silent.retain(|(silent, _)| *silent != source);
        Some(Place { sessions: self, source, token, goodbye: false, gone: None })
    }

    /// The sources of `open`, those with open intents, that said goodbye or have been away for `grace` at `now`. A
    /// clock starts when this first finds a source away, so call it often. Times are since any fixed moment.
    pub(crate) fn due(&self, now: Duration, grace: Duration, open: impl FnOnce() -> Vec<Id>) -> Vec<Id> {
        let mut state = self.lock();
        // Asked for under the lock: a goodbye that is noted here was said after its intents were in the log.
        let open: HashSet<Id> = open().into_iter().collect();
        let State { live, away, .. } = &mut *state;
        away.retain(|source, _| open.contains(source));
        let without_stream = open.into_iter().filter(|source| !live.contains_key(source));
        without_stream
            .filter(|source| match away.entry(*source).or_insert(Away::Since(now)) {
                Away::Since(since) => now.saturating_sub(*since) >= grace,
                Away::ForGood => true,
            })
            .collect()
    }

    /// Does `act` unless the source has a stream; none opens meanwhile. `act` must not wait.
    pub(crate) fn unless_live<T>(&self, source: Id, act: impl FnOnce() -> T) -> Option<T> {
        let state = self.lock();
        (!state.live.contains_key(&source)).then(act)
    }

    /// How many sources went without a goodbye, and the newest so many of them.
    pub(crate) fn silent(&self, count: usize) -> (usize, Vec<(Id, Gone)>) {
        let state = self.lock();
        (state.silent.len(), state.silent.iter().rev().take(count).cloned().collect())
    }

    /// Sources that had not said goodbye when the collector started.
    pub(crate) fn begin_silent(&self, sources: impl IntoIterator<Item = Id>, unix_ms: i64) {
        let mut state = self.lock();
        for source in sources {
            state.silence(source, Gone { since_unix_ms: unix_ms, ..Gone::default() });
        }
    }

    /// Waits for the next goodbye that leaves intents open.
    pub(crate) async fn gone(&self) {
        self.gone.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn silence(&mut self, source: Id, gone: Gone) {
        if self.silent.len() >= MAX_SILENT {
            self.silent.pop_front();
        }
        self.silent.push_back((source, gone));
    }
}

impl Place<'_> {
    /// The source's stream is ending, and it did not say goodbye.
    pub(crate) fn silent(&mut self, gone: Gone) {
        self.gone = Some(gone);
    }

    /// Set when the same source came again on another stream.
    pub(crate) fn superseded(&self) -> &CancellationToken {
        &self.token
    }

    /// The source leaves open intents in the log and will not come back for them.
    pub(crate) fn goodbye(&mut self) {
        self.goodbye = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Cancelled means that the entry belongs to the newer stream.
        let mut state = self.sessions.lock();
        if !self.token.is_cancelled() {
            state.live.remove(&self.source);
            if let Some(gone) = self.gone.take() {
                state.silence(self.source, gone);
            }
            if self.goodbye {
                state.away.insert(self.source, Away::ForGood);
                self.sessions.gone.notify_one();
            }
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
        assert_eq!(sessions.lock().live.len(), 1);
        drop(second);
        assert!(sessions.lock().live.is_empty());
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

    const GRACE: Duration = Duration::from_secs(30);

    fn due(sessions: &Sessions, seconds: u64, open: &[Id]) -> Vec<Id> {
        sessions.due(Duration::from_secs(seconds), GRACE, || open.to_vec())
    }

    #[test]
    fn a_source_is_due_when_it_was_away_for_the_grace() {
        let (sessions, source) = (Sessions::default(), Id([1; 16]));
        assert_eq!(due(&sessions, 100, &[source]), [], "the clock starts");
        assert_eq!(due(&sessions, 129, &[source]), []);
        assert_eq!(due(&sessions, 130, &[source]), [source]);
        assert_eq!(due(&sessions, 131, &[source]), [source], "until nothing is open");
        assert_eq!(due(&sessions, 132, &[]), []);
        assert_eq!(due(&sessions, 133, &[source]), [], "a new intent, a new clock");
    }

    #[test]
    fn a_stream_stops_the_clock() {
        let (sessions, source) = (Sessions::default(), Id([1; 16]));
        assert_eq!(due(&sessions, 0, &[source]), []);
        let place = sessions.enter(source).unwrap();
        assert_eq!(due(&sessions, 100, &[source]), []);
        assert_eq!(sessions.unless_live(source, || ()), None);
        drop(place);
        assert_eq!(due(&sessions, 101, &[source]), [], "it starts again");
        // Between two looks.
        drop(sessions.enter(source).unwrap());
        assert_eq!(due(&sessions, 131, &[source]), []);
        assert_eq!(due(&sessions, 161, &[source, Id([2; 16])]), [source]);
        assert_eq!(sessions.unless_live(source, || 7), Some(7));
    }

    #[test]
    fn who_goes_without_a_goodbye_is_remembered_until_it_comes_again() {
        let (sessions, source) = (Sessions::default(), Id([1; 16]));
        let gone = Gone { service: "orders".to_owned(), since_unix_ms: 7, ..Gone::default() };
        let mut place = sessions.enter(source).unwrap();
        place.silent(gone.clone());
        drop(place);
        drop(sessions.enter(Id([2; 16])).unwrap());
        assert_eq!(sessions.silent(9), (1, vec![(source, gone.clone())]));

        let mut older = sessions.enter(source).unwrap();
        assert_eq!(sessions.silent(9).0, 0);
        older.silent(gone.clone());
        let newer = sessions.enter(source).unwrap();
        drop(older);
        assert_eq!(sessions.silent(9).0, 0, "it came again on another stream");
        drop(newer);

        sessions.begin_silent((0..1000_u128).map(|id| Id(id.to_be_bytes())), 9);
        let (count, newest) = sessions.silent(1);
        assert_eq!((count, newest[0].0), (MAX_SILENT, Id(999_u128.to_be_bytes())));
    }

    #[test]
    fn a_goodbye_does_not_wait() {
        let (sessions, source) = (Sessions::default(), Id([1; 16]));
        let mut place = sessions.enter(source).unwrap();
        place.goodbye();
        assert_eq!(due(&sessions, 0, &[source]), [], "it is still there");
        drop(place);
        assert_eq!(due(&sessions, 0, &[source]), [source]);

        let mut older = sessions.enter(source).unwrap();
        older.goodbye();
        let newer = sessions.enter(source).unwrap();
        drop(older);
        assert_eq!(due(&sessions, 0, &[source]), [], "it came again");
        drop(newer);
        assert_eq!(due(&sessions, 0, &[source]), []);
    }
}
