//! Which segments become one: as many of about the same size as make it worth reading them again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::segment::{Partition, Segment};

/// Segments of one size that become one.
const FAN_IN: usize = 8;
/// Events of the smallest size; each further size has up to [`FAN_IN`] times as many.
const SMALLEST: u32 = 1 << 10;
/// Events of a merged segment, at most: their keys are in memory meanwhile, 100 MiB.
const MAX_EVENTS: u64 = 4 << 20;
/// Bytes of its records, at most: their places have four bytes.
const MAX_RECORD_BYTES: u64 = 3 << 30;

/// The segments to merge next, if any are: the oldest of the smallest size of which there are enough.
pub(super) fn next(segments: &[Arc<Segment>]) -> Option<Vec<Arc<Segment>>> {
    let mut sizes: BTreeMap<(u32, &Partition), Vec<&Arc<Segment>>> = BTreeMap::new();
    for segment in segments {
        sizes.entry((size(segment.count()), segment.partition())).or_default().push(segment);
    }
    for of_size in sizes.values_mut().filter(|of_size| of_size.len() >= FAN_IN) {
        of_size.sort_by_key(|segment| segment.newest());
        let (mut events, mut bytes) = (0, 0);
        let chosen: Vec<_> = of_size
            .iter()
            .take_while(|segment| {
                events += u64::from(segment.count());
                bytes += segment.record_bytes();
                events <= MAX_EVENTS && bytes <= MAX_RECORD_BYTES
            })
            .take(FAN_IN)
            .map(|segment| Arc::clone(segment))
            .collect();
        if chosen.len() == FAN_IN {
            return Some(chosen);
        }
    }
    None
}

fn size(mut count: u32) -> u32 {
    let mut size = 0;
    while count > SMALLEST {
        count /= FAN_IN as u32;
        size += 1;
    }
    size
}
