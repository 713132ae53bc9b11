//! Intents that the log has and that nothing has come of yet, and those that were recorded as Incomplete since.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message;
use sidetrail_archive::key::Id;
use sidetrail_wire::spool::v1::{Incomplete, IncompleteRecord, Intent, OpenIntents};

use super::source_id;

/// Open intents of all sources together. One more is refused by name.
pub(crate) const MAX_OPEN: usize = 4096;
/// Bytes of all open intents together, also never more than [`SEGMENT_SHARE`] of a segment.
pub(crate) const MAX_OPEN_BYTES: usize = 3 << 20;
/// Each segment opens with all open intents: were they larger, there would be no room for anything else.
const SEGMENT_SHARE: u64 = 4;
/// Intents recorded as Incomplete whose ids are remembered, in case their completion comes after all. The oldest goes
/// first; a completion that comes after that is a record like any other.
const MAX_RECORDED: usize = 4096;
/// Bytes of these.
const MAX_RECORDED_BYTES: usize = 512 << 10;
/// What an intent is counted with beside its own bytes: its place in a snapshot, and that of its source.
const OVERHEAD: usize = 32;

/// The most bytes that intents add to a snapshot.
pub(super) const MAX_SNAPSHOT: usize = MAX_OPEN_BYTES + MAX_RECORDED_BYTES;

/// What a completion refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Original {
    pub(crate) event_id: String,
    pub(crate) request_id: Option<String>,
}

/// What the log has of one source's intents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) open: HashSet<u64>,
    /// Recorded as Incomplete.
    pub(crate) recorded: HashMap<u64, Original>,
}

/// Why there is no room for another intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("{MAX_OPEN} intents are open, which is the limit")]
    Count,
    #[error("the open intents are {bytes} bytes, the limit is {limit}")]
    Bytes { bytes: usize, limit: usize },
}

/// The intents of all sources.
#[derive(Debug)]
pub(super) struct Intents {
    open: HashMap<Id, BTreeMap<u64, Intent>>,
    /// Open ones, and those that are on their way into the log.
    taken: Taken,
    limit_bytes: usize,
    /// By the number that its record has in the collector's own source.
    recorded: BTreeMap<u64, IncompleteRecord>,
    recorded_bytes: usize,
}

/// How many, and how large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Default for Intents {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            taken: Taken::default(),
            limit_bytes: MAX_OPEN_BYTES,
            recorded: BTreeMap::new(),
            recorded_bytes: 0,
        }
    }
}

impl Intents {
    pub(super) fn for_segments_of(segment_bytes: u64) -> Self {
        let share = usize::try_from(segment_bytes / SEGMENT_SHARE).unwrap_or(usize::MAX);
        Self { limit_bytes: share.min(MAX_OPEN_BYTES), ..Self::default() }
    }

    /// Takes room for an intent that is not in the log yet.
    pub(super) fn reserve(&mut self, intent: &Intent) -> Result<Taken, Full> {
        let cost = cost(intent);
        if self.taken.count >= MAX_OPEN {
            return Err(Full::Count);
        }
        let bytes = self.taken.bytes + cost;
        if bytes > self.limit_bytes {
            return Err(Full::Bytes { bytes, limit: self.limit_bytes });
        }
        self.taken.count += 1;
        self.taken.bytes = bytes;
        Ok(Taken { count: 1, bytes: cost })
    }

    pub(super) fn give_back(&mut self, taken: Taken) {
        self.taken.count = self.taken.count.saturating_sub(taken.count);
        self.taken.bytes = self.taken.bytes.saturating_sub(taken.bytes);
    }

    /// An intent is in the log.
    pub(super) fn open(&mut self, source: Id, intent: Intent) {
        let new = Taken { count: 1, bytes: cost(&intent) };
        if let Some(old) = self.open.entry(source).or_default().insert(intent.sequence, intent) {
            self.give_back(Taken { count: 1, bytes: cost(&old) });
        }
        self.taken.count += new.count;
        self.taken.bytes += new.bytes;
    }

    /// Something has come of an intent.
    pub(super) fn close(&mut self, source: Id, sequence: u64) -> Option<Intent> {
        let open = self.open.get_mut(&source)?;
        let intent = open.remove(&sequence)?;
        if open.is_empty() {
            self.open.remove(&source);
        }
        self.give_back(Taken { count: 1, bytes: cost(&intent) });
        Some(intent)
    }

    /// Intents have a record that says Incomplete, numbered from `first` in the collector's own source.
    pub(super) fn record(&mut self, incomplete: &Incomplete, first: u64) {
        let Some(source) = source_id(&incomplete.source) else { return };
        for (recorded_as, sequence) in (first..).zip(&incomplete.sequences) {
            if let Some(intent) = self.close(source, *sequence) {
                self.remember(IncompleteRecord {
                    source: incomplete.source.clone(),
                    sequence: *sequence,
                    event_id: intent.event_id,
                    request_id: intent.request_id,
                    recorded_as,
                });
            }
        }
    }

    fn remember(&mut self, record: IncompleteRecord) {
        self.recorded_bytes += record.encoded_len() + OVERHEAD;
        self.recorded.insert(record.recorded_as, record);
        while self.recorded.len() > MAX_RECORDED || self.recorded_bytes > MAX_RECORDED_BYTES {
            let Some((_, oldest)) = self.recorded.pop_first() else { return };
            self.recorded_bytes = self.recorded_bytes.saturating_sub(oldest.encoded_len() + OVERHEAD);
        }
    }

    /// The completion of an intent came after its record.
    pub(super) fn amend(&mut self, source: Id, sequence: u64) {
        let found = self.recorded.iter().find(|(_, it)| it.sequence == sequence && it.source[..] == source.0);
        if let Some(record) = found.map(|(key, _)| *key).and_then(|key| self.recorded.remove(&key)) {
            self.recorded_bytes = self.recorded_bytes.saturating_sub(record.encoded_len() + OVERHEAD);
        }
    }

    pub(super) fn is_open(&self, source: Id, sequence: u64) -> bool {
        self.open.get(&source).is_some_and(|open| open.contains_key(&sequence))
    }

    pub(super) fn has_open(&self, source: Id) -> bool {
        self.open.contains_key(&source)
    }

    pub(super) fn sources(&self) -> Vec<Id> {
        self.open.keys().copied().collect()
    }

    /// The first `count` open intents of a source, by number.
    pub(super) fn of(&self, source: Id, count: usize) -> Vec<Intent> {
        self.open.get(&source).map(|open| open.values().take(count).cloned().collect()).unwrap_or_default()
    }

    pub(super) fn known(&self, source: Id) -> Known {
        let recorded = self.recorded.values().filter(|record| record.source[..] == source.0);
        let original = |record: &IncompleteRecord| Original {
            event_id: record.event_id.clone(),
            request_id: Some(record.request_id.clone()).filter(|id| !id.is_empty()),
        };
        Known {
            open: self.open.get(&source).map(|open| open.keys().copied().collect()).unwrap_or_default(),
            recorded: recorded.map(|record| (record.sequence, original(record))).collect(),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.open.values().map(|open| open.len() as u64).sum()
    }

    pub(super) fn snapshot(&self) -> (Vec<OpenIntents>, Vec<IncompleteRecord>) {
        let open = self.open.iter().map(|(source, intents)| OpenIntents {
            source: source.0.to_vec().into(),
            intents: intents.values().cloned().collect(),
        });
        (open.collect(), self.recorded.values().cloned().collect())
    }

    pub(super) fn restore(
        &mut self,
        open: Vec<OpenIntents>,
        recorded: Vec<IncompleteRecord>,
    ) -> Result<(), &'static str> {
        for OpenIntents { source, intents } in open {
            let source = source_id(&source).ok_or("snapshot has intents of a source that is not 16 bytes")?;
            intents.into_iter().for_each(|intent| self.open(source, intent));
        }
        recorded.into_iter().for_each(|record| self.remember(record));
        Ok(())
    }
}

/// What an intent takes of [`MAX_OPEN_BYTES`].
fn cost(intent: &Intent) -> usize {
    intent.encoded_len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Id = Id([1; 16]);

    fn intent(sequence: u64, size: usize) -> Intent {
        Intent {
            sequence,
            record: vec![b'x'; size].into(),
            event_id: format!("event {sequence}"),
            request_id: String::new(),
        }
    }

    fn incomplete(sequences: Vec<u64>) -> Incomplete {
        Incomplete { source: SOURCE.0.to_vec().into(), sequences }
    }

    #[test]
    fn count_and_bytes_are_bounded_and_given_back() {
        let mut intents = Intents::default();
        for sequence in 1..=MAX_OPEN as u64 {
            let taken = intents.reserve(&intent(sequence, 1)).unwrap();
            intents.open(SOURCE, intent(sequence, 1));
            intents.give_back(taken);
        }
        assert_eq!(intents.reserve(&intent(9999, 1)), Err(Full::Count));
        for sequence in 1..=MAX_OPEN as u64 {
            intents.close(SOURCE, sequence).unwrap();
        }
        assert_eq!(intents.taken, Taken::default());
        assert!(!intents.has_open(SOURCE));

        let mut intents = Intents::for_segments_of(1 << 20);
        let large = intent(1, 16 << 10);
        let fitting = (0..).take_while(|_| intents.reserve(&large).is_ok()).count();
        assert_eq!(fitting, (256 << 10) / cost(&large), "a quarter of a segment");
        let error = intents.reserve(&large).unwrap_err().to_string();
        assert!(error.ends_with("the limit is 262144"), "{error}");
    }

    #[test]
    fn what_is_recorded_is_remembered_until_it_is_amended() {
        let mut intents = Intents::default();
        (1..=3).for_each(|sequence| intents.open(SOURCE, intent(sequence, 1)));
        intents.record(&incomplete(vec![1, 3]), 7);
        assert!(!intents.is_open(SOURCE, 1) && intents.is_open(SOURCE, 2) && !intents.is_open(SOURCE, 3));
        let known = intents.known(SOURCE);
        assert_eq!(known.open, HashSet::from([2]));
        assert_eq!(known.recorded[&3].event_id, "event 3");
        intents.amend(SOURCE, 3);
        assert_eq!(intents.known(SOURCE).recorded.keys().collect::<Vec<_>>(), [&1]);
        intents.amend(Id([2; 16]), 1);
        assert_eq!(intents.known(SOURCE).recorded.len(), 1, "another source's");
    }

    #[test]
    fn the_oldest_memory_goes_first() {
        let mut intents = Intents::default();
        let all = MAX_RECORDED as u64 + 10;
        for sequence in 1..=all {
            intents.open(SOURCE, intent(sequence, 1));
            intents.record(&incomplete(vec![sequence]), sequence);
        }
        let known = intents.known(SOURCE);
        assert_eq!(known.recorded.len(), MAX_RECORDED);
        assert!(!known.recorded.contains_key(&10) && known.recorded.contains_key(&11));
    }
}
