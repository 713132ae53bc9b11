//! The sizes of a spool.

use crate::{
    Error, Result,
    frame::{self, MAX_BODY, MAX_META},
    segment::{self, MAX_SEGMENT_BYTES, MAX_SNAPSHOT, MIN_SEGMENT_BYTES},
};

/// The sizes of a spool. They can differ from one start to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub(crate) segment_bytes: u64,
    pub(crate) budget: u64,
    pub(crate) spares: usize,
    pub(crate) max_body: usize,
    pub(crate) max_snapshot: usize,
}

impl Options {
    /// Segments of 16 MiB, two spare ones, and all limits at their maximum.
    ///
    /// `budget` is the most that all segment files together take. It has to hold two segments with the largest frame
    /// and snapshot each, for then a full spool always has something that can be released.
    #[must_use]
    pub const fn new(budget: u64) -> Self {
        Self { segment_bytes: 16 << 20, budget, spares: 2, max_body: MAX_BODY, max_snapshot: MAX_SNAPSHOT }
    }

    /// A segment is closed before it grows beyond this; only a frame that is alone in one may be larger.
    #[must_use]
    pub const fn with_segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// How many released segments are kept to be overwritten, which is far cheaper than new files. They count in the
    /// budget, and are given up as soon as it is needed.
    #[must_use]
    pub const fn with_spares(mut self, spares: usize) -> Self {
        self.spares = spares;
        self
    }

    /// The largest body that is taken, at most [`MAX_BODY`].
    #[must_use]
    pub const fn with_max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// The largest snapshot of the ledger, at most [`MAX_SNAPSHOT`].
    #[must_use]
    pub const fn with_max_snapshot(mut self, bytes: usize) -> Self {
        self.max_snapshot = bytes;
        self
    }

    /// The smallest budget that goes with the other sizes.
    #[must_use]
    pub fn min_budget(&self) -> u64 {
        let largest = segment::HEADER + self.max_snapshot + frame::HEADER + MAX_META + self.max_body;
        2 * self.segment_bytes.max(largest as u64)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let problem = if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&self.segment_bytes) {
            format!(
                "segments of {} bytes, not {MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES}",
                self.segment_bytes
            )
        } else if self.max_body > MAX_BODY {
            format!("bodies of {} bytes, over the limit of {MAX_BODY}", self.max_body)
        } else if self.max_snapshot > MAX_SNAPSHOT {
            format!("snapshots of {} bytes, over the limit of {MAX_SNAPSHOT}", self.max_snapshot)
        } else if self.budget < self.min_budget() {
            format!(
                "a budget of {} bytes, under the {} that two segments take",
                self.budget,
                self.min_budget()
            )
        } else {
            return Ok(());
        };
        Err(Error::Options(problem))
    }
}
