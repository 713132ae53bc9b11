//! What the spool's log has of each source: the one place that decides whether an event is new.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;
use sidetrail_archive::key::Id;
use sidetrail_spool::{Ledger, Verdict};
use sidetrail_wire::spool::v1::{FrameMeta, LedgerSnapshot, SourceState};

/// Sources that are remembered. The least recently heard of goes first; should it come back after that with events
/// that were already acked, they would be recorded twice. A source is one run of one process, so that takes this many
/// restarts beside one collector while a sender is cut off.
pub const MAX_SOURCES: usize = 4096;

/// The ledger's state, shared with the sessions that read it.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    states: HashMap<Id, SourceState>,
    /// Counts uses of sources, to order them by the last.
    uses: u64,
    accepted: u64,
    dropped: u64,
}

/// The spool's ledger over [`Sources`].
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedLedger(Arc<Mutex<Sources>>);

impl SharedLedger {
    /// The highest sequence of `source` in the log, 0 where there is none. It may not be synced yet.
    pub(crate) fn last_sequence(&self, source: Id) -> u64 {
        self.with(|sources| sources.states.get(&source).map_or(0, |state| state.last_sequence))
    }

    /// Events accepted and, of these, dropped over the life of the spool.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.with(|sources| (sources.accepted, sources.dropped))
    }

    fn with<T>(&self, read: impl FnOnce(&mut Sources) -> T) -> T {
        // The state is consistent between any two statements that could panic, and there are none.
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ledger for SharedLedger {
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let snapshot = LedgerSnapshot::decode(snapshot).map_err(|error| error.to_string())?;
        self.with(|sources| {
            sources.accepted = snapshot.accepted;
            sources.dropped = snapshot.dropped;
            for state in snapshot.sources {
                let source = source_id(&state.source).ok_or("snapshot has a source that is not 16 bytes")?;
                sources.uses = sources.uses.max(state.touched);
                sources.states.insert(source, state);
            }
            Ok(())
        })
    }

    fn check(&self, meta: &[u8], _body_len: usize) -> Verdict {
        let meta = match decode(meta) {
            Ok(meta) => meta,
            Err(reason) => return Verdict::Refuse(reason),
        };
        let last = source_id(&meta.source).map_or(0, |source| self.last_sequence(source));
        if meta.last_sequence <= last {
            Verdict::AlreadyHave
        } else if meta.first_sequence == last + 1 {
            Verdict::Accept
        } else {
            Verdict::Refuse(format!(
                "sequence {} does not follow {last}, the last on disk",
                meta.first_sequence
            ))
        }
    }

    fn apply(&mut self, meta: &[u8], _body_len: usize) {
        // `check` decoded the same bytes; in recovery they are what was checked before they were written.
        let Ok(meta) = decode(meta) else { return };
        let Some(source) = source_id(&meta.source) else { return };
        self.with(|sources| {
            sources.uses += 1;
            sources.accepted = sources.accepted.saturating_add(meta.last_sequence - meta.first_sequence + 1);
            sources.dropped = sources.dropped.saturating_add(meta.dropped);
            let state = sources.states.entry(source).or_default();
            state.source = meta.source;
            state.last_sequence = meta.last_sequence;
            state.touched = sources.uses;
            sources.forget_beyond(MAX_SOURCES);
        });
    }

    fn snapshot(&self, out: &mut Vec<u8>) {
        self.with(|sources| {
            let snapshot = LedgerSnapshot {
                sources: sources.states.values().cloned().collect(),
                accepted: sources.accepted,
                dropped: sources.dropped,
            };
            out.extend_from_slice(&snapshot.encode_to_vec());
        });
    }
}

impl Sources {
    fn forget_beyond(&mut self, limit: usize) {
        if self.states.len() <= limit {
            return;
        }
        let oldest = self.states.iter().min_by_key(|(_, state)| state.touched).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.states.remove(&oldest);
        }
    }
}

/// The id in a message, if it is one.
pub(crate) fn source_id(bytes: &[u8]) -> Option<Id> {
    <[u8; 16]>::try_from(bytes).ok().map(Id)
}

fn decode(meta: &[u8]) -> Result<FrameMeta, String> {
    let meta = FrameMeta::decode(meta).map_err(|error| error.to_string())?;
    if meta.first_sequence == 0 || meta.last_sequence < meta.first_sequence {
        return Err(format!("range {} to {} is not one", meta.first_sequence, meta.last_sequence));
    }
    Ok(meta)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(source: u8, first: u64, last: u64) -> Vec<u8> {
        FrameMeta {
            source: vec![source; 16].into(),
            first_sequence: first,
            last_sequence: last,
            ..FrameMeta::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn takes_the_next_knows_the_old_refuses_a_gap() {
        let mut ledger = SharedLedger::default();
        assert_eq!(ledger.check(&meta(1, 1, 5), 0), Verdict::Accept);
        ledger.apply(&meta(1, 1, 5), 0);
        assert_eq!(ledger.check(&meta(1, 1, 5), 0), Verdict::AlreadyHave);
        assert_eq!(ledger.check(&meta(1, 6, 6), 0), Verdict::Accept);
        assert!(matches!(ledger.check(&meta(1, 7, 8), 0), Verdict::Refuse(_)), "a gap");
        assert!(matches!(ledger.check(&meta(1, 5, 6), 0), Verdict::Refuse(_)), "an overlap");
        assert!(matches!(ledger.check(&meta(1, 0, 6), 0), Verdict::Refuse(_)), "no range");
        assert!(matches!(ledger.check(b"\xff", 0), Verdict::Refuse(_)), "no message");
        assert_eq!(ledger.check(&meta(2, 1, 1), 0), Verdict::Accept, "another source");
    }

    #[test]
    fn a_snapshot_carries_the_state() {
        let mut ledger = SharedLedger::default();
        ledger.apply(&meta(1, 1, 5), 0);
        ledger.apply(&meta(2, 1, 2), 0);
        let mut snapshot = Vec::new();
        ledger.snapshot(&mut snapshot);
        let mut restored = SharedLedger::default();
        restored.restore(&snapshot).unwrap();
        assert_eq!(restored.last_sequence(Id([1; 16])), 5);
        assert_eq!(restored.totals(), (7, 0));
        assert_eq!(restored.check(&meta(2, 3, 3), 0), Verdict::Accept);
        assert!(restored.restore(b"\xff").is_err());
    }

    #[test]
    fn forgets_the_least_recent() {
        let mut sources = Sources::default();
        for id in 0..4_u8 {
            let state = SourceState { touched: 4 - u64::from(id), ..SourceState::default() };
            sources.states.insert(Id([id; 16]), state);
        }
        sources.forget_beyond(3);
        assert!(!sources.states.contains_key(&Id([3; 16])));
        assert_eq!(sources.states.len(), 3);
    }
}
