//! Which numbers of a source the log has, where that is not all from 1 to the last.
//!
//! Events that an application delivers come in order. Those that other collectors forward need not: a sender that went
//! from one collector to another comes by way of both, and either may be ahead. So what the log has of such a source are
//! ranges. A number that is in none of them is taken whenever it comes; one that is, never again.

use std::collections::HashMap;

use sidetrail_archive::key::Id;
use sidetrail_wire::spool::v1::Scattered as Message;

use super::{MAX_SOURCES, source_id};

/// Ranges of one source. Of more the lowest is forgotten; should its events come again after that, they would be
/// recorded twice. The other way, to take what is between for had, would lose events that are still to come.
const MAX_RANGES: usize = 64;
/// Ranges beyond the first of each source, of all sources together.
const MAX_MORE: usize = 2048;
/// A source and a range in a snapshot, at most.
const SOURCE_BYTES: usize = 26;
const RANGE_BYTES: usize = 20;

/// The most bytes that scattered sources add to a snapshot.
pub(super) const MAX_SNAPSHOT: usize = MAX_SOURCES * (SOURCE_BYTES + RANGE_BYTES) + MAX_MORE * RANGE_BYTES;

/// First and last number, inclusive.
pub(crate) type Range = (u64, u64);

/// Ranges in order, with at least one number between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen(Vec<Range>);

impl Seen {
    /// All numbers up to `last`.
    pub(super) fn up_to(last: u64) -> Self {
        if last == 0 { Self::default() } else { Self(vec![(1, last)]) }
    }

    pub(super) fn insert(&mut self, first: u64, last: u64) {
        // What touches the new range becomes one with it.
        let from = self.0.partition_point(|range| range.1.saturating_add(1) < first);
        let to = self.0.partition_point(|range| range.0 <= last.saturating_add(1));
        let old = &self.0[from..to];
        let merged = old.iter().fold((first, last), |new, old| (new.0.min(old.0), new.1.max(old.1)));
        self.0.splice(from..to, [merged]);
    }

    /// The parts of a range that are not in it.
    pub(super) fn missing(&self, first: u64, last: u64) -> Vec<Range> {
        let mut missing = Vec::new();
        let mut next = first;
        for had in self.0.iter().filter(|had| had.1 >= first && had.0 <= last) {
            if had.0 > next {
                missing.push((next, had.0 - 1));
            }
            next = had.1.saturating_add(1);
        }
        if next <= last {
            missing.push((next, last));
        }
        missing
    }

    /// Up to where there is nothing missing.
    pub(super) fn contiguous(&self) -> u64 {
        self.0.first().filter(|range| range.0 == 1).map_or(0, |range| range.1)
    }

    pub(super) fn last(&self) -> u64 {
        self.0.last().map_or(0, |range| range.1)
    }

    fn is_scattered(&self) -> bool {
        self.contiguous() != self.last()
    }
}

/// The sources of which something is missing.
#[derive(Debug, Default)]
pub(super) struct Scattered {
    sources: HashMap<Id, Seen>,
    /// Ranges beyond the first of each source.
    more: usize,
}

impl Scattered {
    pub(super) fn get(&self, source: Id) -> Option<&Seen> {
        self.sources.get(&source)
    }

    /// Takes note of what the log has of a source.
    pub(super) fn set(&mut self, source: Id, mut seen: Seen) {
        self.remove(source);
        while seen.0.len() > MAX_RANGES || seen.0.len() > 1 && self.more + seen.0.len() - 1 > MAX_MORE {
            seen.0.remove(0);
        }
        if seen.is_scattered() {
            self.more += seen.0.len() - 1;
            self.sources.insert(source, seen);
        }
    }

    pub(super) fn remove(&mut self, source: Id) {
        if let Some(seen) = self.sources.remove(&source) {
            self.more -= seen.0.len() - 1;
        }
    }

    pub(super) fn snapshot(&self) -> Vec<Message> {
        let message = |(source, seen): (&Id, &Seen)| Message {
            source: source.0.to_vec().into(),
            bounds: seen.0.iter().flat_map(|range| [range.0, range.1]).collect(),
        };
        self.sources.iter().map(message).collect()
    }

    pub(super) fn restore(&mut self, messages: Vec<Message>) -> Result<(), &'static str> {
        for Message { source, bounds } in messages {
            let source = source_id(&source).ok_or("snapshot has ranges of a source that is not 16 bytes")?;
            let mut seen = Seen::default();
            let (ranges, rest) = bounds.as_chunks::<2>();
            if !rest.is_empty() || ranges.iter().any(|[first, last]| *first == 0 || last < first) {
                return Err("snapshot has ranges that are none");
            }
            ranges.iter().for_each(|[first, last]| seen.insert(*first, *last));
            self.set(source, seen);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn seen(ranges: &[Range]) -> Seen {
        let mut seen = Seen::default();
        ranges.iter().for_each(|(first, last)| seen.insert(*first, *last));
        seen
    }

    #[test]
    fn ranges_become_one_where_they_touch() {
        assert_eq!(seen(&[(1, 3), (4, 6)]).0, [(1, 6)]);
        assert_eq!(seen(&[(7, 9), (1, 3)]).0, [(1, 3), (7, 9)]);
        assert_eq!(seen(&[(7, 9), (1, 3), (4, 6)]).0, [(1, 9)]);
        assert_eq!(seen(&[(7, 9), (2, 3), (1, 20)]).0, [(1, 20)]);
        assert_eq!(seen(&[(u64::MAX, u64::MAX), (5, u64::MAX)]).0, [(5, u64::MAX)]);
        assert_eq!((seen(&[(1, 3), (7, 9)]).contiguous(), seen(&[(7, 9)]).contiguous()), (3, 0));
    }

    /// Every set of three ranges over nine numbers, against a set of numbers.
    #[test]
    fn missing_is_what_a_set_says() {
        let all: Vec<Range> = (1..=9).flat_map(|first| (first..=9).map(move |last| (first, last))).collect();
        for a in &all {
            for b in &all {
                let seen = seen(&[*a, *b]);
                let had: BTreeSet<u64> = (a.0..=a.1).chain(b.0..=b.1).collect();
                for ask in &all {
                    let missing = seen.missing(ask.0, ask.1);
                    let numbers: Vec<u64> = missing.iter().flat_map(|range| range.0..=range.1).collect();
                    let expected: Vec<u64> = (ask.0..=ask.1).filter(|number| !had.contains(number)).collect();
                    assert_eq!(numbers, expected, "{a:?} {b:?} {ask:?}");
                }
            }
        }
    }

    #[test]
    fn the_lowest_ranges_are_forgotten_beyond_a_bound() {
        let mut scattered = Scattered::default();
        let many: Vec<Range> = (1..=MAX_RANGES as u64 + 5).map(|at| (at * 10, at * 10)).collect();
        for source in 0..MAX_MORE as u128 / 16 {
            scattered.set(Id(source.to_be_bytes()), seen(&many));
        }
        assert_eq!(scattered.get(Id([0; 16])).unwrap().0, many[5..]);
        assert_eq!(scattered.more, MAX_MORE);
        let last = Id((MAX_MORE as u128 / 16 - 1).to_be_bytes());
        assert_eq!(scattered.get(last).unwrap().0, many[many.len() - 1..], "there is always one");
        let size: usize = scattered.snapshot().iter().map(|it| prost::Message::encoded_len(it) + 4).sum();
        assert!(size <= MAX_SNAPSHOT);
        scattered.set(last, Seen::up_to(700));
        assert_eq!(scattered.get(last), None, "nothing is missing");

        let mut restored = Scattered::default();
        restored.restore(scattered.snapshot()).unwrap();
        assert_eq!((restored.sources, restored.more), (scattered.sources, scattered.more));
        let message = |bounds| Message { source: vec![1; 16].into(), bounds };
        for bounds in [vec![1], vec![0, 4], vec![5, 4]] {
            assert!(restored_error(message(bounds)), "bad bounds");
        }
    }

    fn restored_error(message: Message) -> bool {
        Scattered::default().restore(vec![message]).is_err()
    }
}
