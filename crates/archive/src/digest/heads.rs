//! Where the chains of a trail stand: up to which manifest digests cover each.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::statement::{ChainRange, Head};
use crate::hash::Sha256;
use crate::key::Id;

/// The most chains that are remembered. Of more, those idle for longest are forgotten; should one go on, its manifests
/// look like those of a new chain that begins in the middle.
pub const MAX_CHAINS: usize = 16_384;

/// The most holes of a chain that are remembered, newest first.
const MAX_HOLES: usize = 64;

/// All chains of a trail in a region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heads(BTreeMap<Id, Chain>);

/// One chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// The index after the last one that is covered.
    pub(super) next: u64,
    /// The hash of the last manifest that is covered.
    pub(super) sha256: Sha256,
    /// When the digest ends that covers it.
    pub(super) at: Timestamp,
    /// Indices below that no digest covers: first and last of each.
    pub(super) holes: Vec<(u64, u64)>,
}

impl Chain {
    pub(super) fn has_hole_at(&self, index: u64) -> bool {
        self.holes.iter().any(|(first, last)| (*first..=*last).contains(&index))
    }

    /// Whether a digest covers the manifest at `index`.
    pub(super) fn covers(&self, index: u64) -> bool {
        index < self.next && !self.has_hole_at(index)
    }
}

impl Heads {
    pub(super) fn of(heads: &[Head]) -> Self {
        let chain = |head: &Head| Chain {
            next: head.last.saturating_add(1),
            sha256: head.sha256,
            at: head.at,
            holes: head.holes.clone(),
        };
        Self(heads.iter().map(|head| (head.collector, chain(head))).collect())
    }

    pub(super) fn snapshot(&self) -> Vec<Head> {
        let head = |(collector, chain): (&Id, &Chain)| Head {
            collector: *collector,
            last: chain.next.saturating_sub(1),
            sha256: chain.sha256,
            at: chain.at,
            holes: chain.holes.clone(),
        };
        self.0.iter().map(head).collect()
    }

    pub(super) fn get(&self, collector: Id) -> Option<&Chain> {
        self.0.get(&collector)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &Chain)> {
        self.0.iter().map(|(collector, chain)| (*collector, chain))
    }

    /// Takes over what the digest that ends at `at` covers of a chain.
    pub(super) fn cover(&mut self, range: &ChainRange, at: Timestamp) {
        let after = range.last.saturating_add(1);
        let new = Chain { next: 0, sha256: range.sha256, at, holes: Vec::new() };
        let chain = self.0.entry(range.collector).or_insert(new);
        if range.first >= chain.next {
            if range.first > chain.next {
                chain.holes.push((chain.next, range.first - 1));
            }
            (chain.next, chain.sha256) = (after, range.sha256);
        } else {
            chain.holes = chain
                .holes
                .iter()
                .flat_map(|(first, last)| {
                    let below = (*first, (*last).min(range.first.saturating_sub(1)));
                    let above = ((*first).max(after), *last);
                    let cut = range.first > *first;
                    [(cut && below.0 <= below.1).then_some(below), (above.0 <= above.1).then_some(above)]
                })
                .flatten()
                .collect();
        }
        chain.at = chain.at.max(at);
        let surplus = chain.holes.len().saturating_sub(MAX_HOLES);
        chain.holes.drain(..surplus);
    }

    /// Forgets the chains that are too many.
    pub(super) fn bound(&mut self) {
        let surplus = self.0.len().saturating_sub(MAX_CHAINS);
        if surplus > 0 {
            let mut idle: Vec<_> = self.0.iter().map(|(id, chain)| (chain.at, *id)).collect();
            idle.sort_unstable();
            for (_, id) in idle.into_iter().take(surplus) {
                self.0.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::Trail;

    fn range(first: u64, last: u64) -> ChainRange {
        ChainRange {
            collector: Id([1; 16]),
            trail: Trail::new("default").unwrap(),
            first,
            last,
            previous: None,
            sha256: Sha256::of(&last.to_be_bytes()),
            sources: Vec::new(),
        }
    }

    proptest! {
        /// Whatever order ranges come in, exactly their indices are covered.
        #[test]
        fn covered_is_what_ranges_say(starts in proptest::collection::btree_map(0_u64..60, 1_u64..6, 1..9), shuffle: u64) {
            let mut ranges: Vec<_> = starts.into_iter().map(|(first, length)| (first, first + length - 1)).collect();
            ranges.dedup_by(|next, range| next.0 <= range.1);
            let middle = (shuffle % ranges.len() as u64) as usize;
            ranges.rotate_left(middle);
            let mut heads = Heads::default();
            for (first, last) in &ranges {
                heads.cover(&range(*first, *last), Timestamp::UNIX_EPOCH);
            }
            let chain = heads.get(Id([1; 16])).unwrap();
            for index in 0..70 {
                let expected = ranges.iter().any(|(first, last)| (*first..=*last).contains(&index));
                prop_assert_eq!(chain.covers(index), expected, "{} of {:?}", index, ranges);
            }
            let highest = ranges.iter().map(|range| range.1).max().unwrap();
            prop_assert_eq!((chain.next, chain.sha256), (highest + 1, Sha256::of(&highest.to_be_bytes())));
            prop_assert_eq!(&Heads::of(&heads.snapshot()), &heads);
        }
    }

    #[test]
    fn those_idle_for_longest_are_forgotten() {
        let mut heads = Heads::default();
        for number in 0..MAX_CHAINS as u128 + 2 {
            let at = Timestamp::from_second(number as i64).unwrap();
            heads.cover(&ChainRange { collector: Id(number.to_be_bytes()), ..range(0, 0) }, at);
        }
        heads.bound();
        assert_eq!(heads.0.len(), MAX_CHAINS);
        assert!(
            heads.get(Id(1_u128.to_be_bytes())).is_none() && heads.get(Id(2_u128.to_be_bytes())).is_some()
        );
    }
}
