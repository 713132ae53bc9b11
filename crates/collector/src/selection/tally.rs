//! The decisions over the records of one frame.

use std::sync::Arc;

use sidetrail_wire::spool::v1::{Selection, TrailSelection};

use super::{Choosers, MAX_RECORDS, Taken};

/// Collects what becomes the `selection` of a frame's meta.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    choosers: Arc<Choosers>,
    filtered: u64,
    lengths: Vec<u32>,
    /// By trail.
    trails: Vec<Trail>,
}

#[derive(Clone, Debug, Default)]
struct Trail {
    taken: Vec<u8>,
    records: usize,
    times: Option<(i64, i64)>,
}

impl Tally {
    pub(crate) fn new(choosers: &Arc<Choosers>) -> Self {
        // Where every trail takes everything there is nothing to collect.
        let trails = if choosers.take_everything() { 0 } else { choosers.trails.len() };
        Self { choosers: Arc::clone(choosers), trails: vec![Trail::default(); trails], ..Self::default() }
    }

    /// The next record of the body: who takes it, its bytes, and its time in seconds.
    pub(crate) fn record(&mut self, taken: Taken, length: usize, seconds: i64) {
        if self.trails.is_empty() {
            return;
        }
        let index = self.lengths.len();
        // A record is at most 256 KiB.
        self.lengths.push(u32::try_from(length).unwrap_or(u32::MAX));
        let takers = self.trails.iter_mut().enumerate().filter(|(trail, _)| taken.by(*trail));
        for (_, trail) in takers {
            trail.taken.resize(index / 8 + 1, 0);
            trail.taken[index / 8] |= 1 << (index % 8);
            trail.records += 1;
            let (oldest, newest) = trail.times.unwrap_or((seconds, seconds));
            trail.times = Some((oldest.min(seconds), newest.max(seconds)));
        }
    }

    /// Events that nobody takes.
    pub(crate) fn filtered(&mut self, count: u64) {
        self.filtered = self.filtered.saturating_add(count);
    }

    /// Whether the frame should end, lest this outgrows its meta.
    pub(crate) fn is_full(&self) -> bool {
        self.lengths.len() >= MAX_RECORDS
    }

    /// `None` where there is nothing to say.
    pub(crate) fn finish(self) -> Option<Selection> {
        let records = self.lengths.len();
        let named = self.choosers.names().zip(self.trails).filter(|(_, trail)| trail.records < records);
        let mut in_parts = false;
        let trails: Vec<_> = named
            .map(|(name, trail)| {
                in_parts |= trail.records > 0;
                let (oldest_event_time, newest_event_time) = trail.times.unwrap_or_default();
                TrailSelection {
                    trail: name.as_str().to_owned(),
                    taken: trail.taken.into(),
                    oldest_event_time,
                    newest_event_time,
                }
            })
            .collect();
        let lengths = if in_parts { self.lengths } else { Vec::new() };
        (self.filtered > 0 || !trails.is_empty()).then_some(Selection {
            filtered: self.filtered,
            lengths,
            trails,
        })
    }
}
