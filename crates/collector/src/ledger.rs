//! What the spool's log has of each source: the one place that decides whether an event is new, and what an intent has
//! come to.
//!
//! An intent ends in exactly one of two ways: a call completes it, or the collector records it as Incomplete. Both are
//! frames, and each names the intents that it ends. `check` sees every frame before it is written, one after the other
//! on the one thread that appends, and refuses a frame that ends what is not open. So of two frames that would end the
//! same intent the second is never written, whoever made it and from whatever view; and as a frame is in the log whole
//! or not at all, a crash cannot part a record from what it ends.

mod intents;
mod scattered;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;
use sidetrail_archive::key::Id;
use sidetrail_spool::{Ledger, MAX_SNAPSHOT, Verdict};
use sidetrail_wire::spool::v1::{FrameMeta, Intent, LedgerSnapshot, SourceState};

pub(crate) use intents::{Full, Known, Original};
use intents::{Intents, Taken};
pub(crate) use scattered::Range;
use scattered::{Scattered, Seen};

/// Sources that are remembered. The least recently heard of goes first; should it come back after that with events
/// that were already acked, they would be recorded twice. A source is one run of one process, so that takes this many
/// restarts beside one collector while a sender is cut off.
pub const MAX_SOURCES: usize = 4096;

/// A source in a snapshot, at most: three numbers, 16 bytes, two flags, and their tags.
const SOURCE_BYTES: usize = 64;

const _: () = assert!(
    MAX_SOURCES * SOURCE_BYTES + intents::MAX_SNAPSHOT + scattered::MAX_SNAPSHOT + 1024 <= MAX_SNAPSHOT
);

/// The ledger's state, shared with the sessions that read it.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    states: HashMap<Id, SourceState>,
    /// Counts uses of sources, to order them by the last.
    uses: u64,
    totals: Totals,
    intents: Intents,
    scattered: Scattered,
}

/// Counts over the life of the spool directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    /// Of these, events without a record.
    pub(crate) dropped: u64,
    /// Of these, intents.
    pub(crate) intents: u64,
    /// Intents recorded as Incomplete.
    pub(crate) incomplete: u64,
    /// Intents that are open now.
    pub(crate) open: u64,
    /// Events that remembered sources say they have assigned, and that have not come.
    pub(crate) missing: u64,
}

/// The spool's ledger over [`Sources`].
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedLedger(Arc<Mutex<Sources>>);

/// Room for an intent on its way into the log, given back when dropped: by then the log counts it, or does not have it.
#[derive(Debug)]
pub(crate) struct Reservation {
    ledger: SharedLedger,
    taken: Taken,
}

impl SharedLedger {
    /// A ledger that leaves room for frames in segments of this size.
    pub(crate) fn for_segments_of(bytes: u64) -> Self {
        let sources = Sources { intents: Intents::for_segments_of(bytes), ..Sources::default() };
        Self(Arc::new(Mutex::new(sources)))
    }

    /// Up to which sequence the log has all of `source`, 0 where it has not the first. It may not be synced yet.
    pub(crate) fn last_sequence(&self, source: Id) -> u64 {
        self.with(|sources| sources.last(source))
    }

    /// The parts of a range that the log does not have of a source.
    pub(crate) fn missing(&self, source: Id, first: u64, last: u64) -> Vec<Range> {
        self.with(|sources| sources.seen(source).missing(first, last))
    }

    /// Counts of everything in the log.
    pub(crate) fn totals(&self) -> Totals {
        self.with(|sources| Totals {
            open: sources.intents.count(),
            missing: sources.missing(),
            ..sources.totals
        })
    }

    /// Up to which number the log has all of a source, and how many it says that it has assigned.
    pub(crate) fn standing(&self, source: Id) -> (u64, u64) {
        self.with(|sources| {
            (sources.last(source), sources.states.get(&source).map_or(0, |state| state.assigned))
        })
    }

    /// The remembered sources that did not say goodbye, the newest last.
    pub(crate) fn not_ended(&self) -> Vec<Id> {
        self.with(|sources| {
            let others = sources.states.iter().filter(|(_, state)| !state.collector && !state.ended);
            let mut others: Vec<_> = others.map(|(id, state)| (state.touched, *id)).collect();
            others.sort_unstable();
            others.into_iter().map(|(_, id)| id).collect()
        })
    }

    /// The intents of a source that a completion may refer to.
    pub(crate) fn known(&self, source: Id) -> Known {
        self.with(|sources| sources.intents.known(source))
    }

    /// The sources that have open intents.
    pub(crate) fn with_open_intents(&self) -> Vec<Id> {
        self.with(|sources| sources.intents.sources())
    }

    /// The first `count` open intents of a source.
    pub(crate) fn open_intents(&self, source: Id, count: usize) -> Vec<Intent> {
        self.with(|sources| sources.intents.of(source, count))
    }

    /// Takes room for an intent. Without it a frame with the intent must not be made.
    pub(crate) fn reserve(&self, intent: &Intent) -> Result<Reservation, Full> {
        let taken = self.with(|sources| sources.intents.reserve(intent))?;
        Ok(Reservation { ledger: self.clone(), taken })
    }

    fn with<T>(&self, read: impl FnOnce(&mut Sources) -> T) -> T {
        // The state is consistent between any two statements that could panic, and there are none.
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.ledger.with(|sources| sources.intents.give_back(self.taken));
    }
}

impl Ledger for SharedLedger {
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let snapshot = LedgerSnapshot::decode(snapshot).map_err(|error| error.to_string())?;
        let LedgerSnapshot {
            sources: states,
            accepted,
            dropped,
            intents,
            incomplete,
            open,
            recorded,
            scattered,
        } = snapshot;
        self.with(|sources| {
            sources.totals = Totals { accepted, dropped, intents, incomplete, open: 0, missing: 0 };
            for state in states {
                let source = source_id(&state.source).ok_or("snapshot has a source that is not 16 bytes")?;
                sources.uses = sources.uses.max(state.touched);
                sources.states.insert(source, state);
            }
            sources.scattered.restore(scattered)?;
            Ok(sources.intents.restore(open, recorded)?)
        })
    }

    fn check(&self, meta: &[u8], _body_len: usize) -> Verdict {
        match decode(meta) {
            Ok((source, meta)) => self.with(|sources| sources.check(source, &meta)),
            Err(reason) => Verdict::Refuse(reason),
        }
    }

    fn apply(&mut self, meta: &[u8], _body_len: usize) {
        // `check` decoded the same bytes; in recovery they are what was checked before they were written.
        let Ok((source, meta)) = decode(meta) else { return };
        self.with(|sources| sources.apply(source, meta));
    }

    fn snapshot(&self, out: &mut Vec<u8>) {
        self.with(|sources| {
            let Totals { accepted, dropped, intents, incomplete, .. } = sources.totals;
            let (open, recorded) = sources.intents.snapshot();
            let states = sources.states.values().cloned().collect();
            let scattered = sources.scattered.snapshot();
            let snapshot = LedgerSnapshot {
                sources: states,
                accepted,
                dropped,
                intents,
                incomplete,
                open,
                recorded,
                scattered,
            };
            out.extend_from_slice(&snapshot.encode_to_vec());
        });
    }
}

impl Sources {
    fn missing(&self) -> u64 {
        self.states.values().map(|state| state.assigned.saturating_sub(state.last_sequence)).sum()
    }

    fn last(&self, source: Id) -> u64 {
        match self.scattered.get(source) {
            Some(seen) => seen.contiguous(),
            None => self.states.get(&source).map_or(0, |state| state.last_sequence),
        }
    }

    fn seen(&self, source: Id) -> Seen {
        self.scattered.get(source).cloned().unwrap_or_else(|| Seen::up_to(self.last(source)))
    }

    fn check(&self, source: Id, meta: &FrameMeta) -> Verdict {
        if !meta.collector.is_empty() {
            return self.check_forwarded(source, meta);
        }
        let last = self.last(source);
        if is_note(meta) {
            return self.check_note(source, meta);
        }
        if meta.last_sequence <= last {
            return Verdict::AlreadyHave;
        }
        if meta.first_sequence != last + 1 && !(meta.begins && last == 0) {
            let first = meta.first_sequence;
            return Verdict::Refuse(format!("sequence {first} does not follow {last}, the last on disk"));
        }
        let incomplete =
            meta.incomplete.as_ref().and_then(|it| Some((source_id(&it.source)?, &it.sequences)));
        let ended = [Some((source, &meta.completed)), incomplete].into_iter().flatten();
        for (source, sequences) in ended {
            if let Some(ended) = sequences.iter().find(|sequence| !self.intents.is_open(source, **sequence)) {
                return Verdict::Refuse(format!("intent {ended} of source {source} is not open"));
            }
        }
        Verdict::Accept
    }

    /// A frame without events is worth its place if it says something new about a source.
    fn check_note(&self, source: Id, meta: &FrameMeta) -> Verdict {
        let known = self.states.get(&source);
        let (assigned, ended) = known.map_or((0, false), |state| (state.assigned, state.ended));
        // By way of another collector it may come before what it speaks of.
        let follows = !meta.collector.is_empty() || meta.last_sequence == self.last(source);
        if follows && (meta.assigned > assigned || meta.ended && !ended) {
            return Verdict::Accept;
        }
        Verdict::AlreadyHave
    }

    /// Another collector took it and settled its intents: what counts is only whether the log has it.
    fn check_forwarded(&self, source: Id, meta: &FrameMeta) -> Verdict {
        let FrameMeta { first_sequence: first, last_sequence: last, .. } = *meta;
        if is_note(meta) {
            return self.check_note(source, meta);
        }
        match self.seen(source).missing(first, last).as_slice() {
            [] => Verdict::AlreadyHave,
            [range] if *range == (first, last) => Verdict::Accept,
            _ if meta.overlaps => Verdict::Accept,
            _ => Verdict::Refuse(format!("a part of {first} to {last} of source {source} is on disk")),
        }
    }

    fn apply(&mut self, source: Id, meta: FrameMeta) {
        let mut seen = self.seen(source);
        // Applications send in order: what is missing before was acked, and lost to damage.
        if !is_note(&meta) {
            seen.insert(if meta.collector.is_empty() { 1 } else { meta.first_sequence }, meta.last_sequence);
        }
        self.uses += 1;
        let totals = &mut self.totals;
        totals.accepted = totals.accepted.saturating_add(meta.last_sequence + 1 - meta.first_sequence);
        totals.dropped = totals.dropped.saturating_add(meta.dropped);
        totals.intents = totals.intents.saturating_add(meta.intents);
        let state = self.states.entry(source).or_default();
        state.source = meta.source;
        state.last_sequence = seen.last();
        state.touched = self.uses;
        state.assigned = state.assigned.max(meta.assigned);
        state.ended |= meta.ended;
        self.scattered.set(source, seen);
        for sequence in meta.completed {
            self.intents.close(source, sequence);
        }
        for sequence in meta.completed_late {
            self.intents.amend(source, sequence);
        }
        for intent in meta.opened {
            self.intents.open(source, intent);
        }
        if let Some(incomplete) = &meta.incomplete {
            state.collector = true;
            // One for each, whether or not a trail takes it, but for those that are no record.
            let recorded = (incomplete.sequences.len() as u64).saturating_sub(meta.dropped);
            totals.incomplete = totals.incomplete.saturating_add(recorded);
            self.intents.record(incomplete, meta.first_sequence);
        }
        self.forget_beyond(MAX_SOURCES);
    }

    /// A source with open intents is not forgotten while there are others: what comes of them comes from it. The
    /// collector's own never is: its numbers have to go on.
    fn forget_beyond(&mut self, limit: usize) {
        if self.states.len() <= limit {
            return;
        }
        let others = self.states.iter().filter(|(_, state)| !state.collector);
        let oldest = others.min_by_key(|(id, state)| (self.intents.has_open(**id), state.touched));
        if let Some(oldest) = oldest.map(|(id, _)| *id) {
            self.states.remove(&oldest);
            self.scattered.remove(oldest);
        }
    }
}

/// The id in a message, if it is one.
pub(crate) fn source_id(bytes: &[u8]) -> Option<Id> {
    <[u8; 16]>::try_from(bytes).ok().map(Id)
}

/// Whether a frame has no events and only says what its source has assigned.
pub(crate) fn is_note(meta: &FrameMeta) -> bool {
    meta.last_sequence.checked_add(1) == Some(meta.first_sequence) && (meta.assigned > 0 || meta.ended)
}

fn decode(meta: &[u8]) -> Result<(Id, FrameMeta), String> {
    let meta = FrameMeta::decode(meta).map_err(|error| error.to_string())?;
    let is_range = meta.last_sequence >= meta.first_sequence && meta.last_sequence < u64::MAX;
    if meta.first_sequence == 0 || !(is_range || is_note(&meta)) {
        return Err(format!("range {} to {} is not one", meta.first_sequence, meta.last_sequence));
    }
    if !matches!(meta.collector.len(), 0 | 16) {
        return Err(format!("collector is {} bytes, not 16", meta.collector.len()));
    }
    let source = source_id(&meta.source).ok_or("source is not 16 bytes")?;
    Ok((source, meta))
}

#[cfg(test)]
mod tests;
