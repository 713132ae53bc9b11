//! What one trail takes of a frame, by the frame alone: the configuration may be another by now.

use std::ops::Range;

use sidetrail_wire::spool::v1::{FrameMeta, TrailSelection};

/// A trail's part of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Records that the trail takes.
    pub(crate) recorded: u64,
    /// Events that would be records, and that it does not take.
    pub(crate) filtered: u64,
    /// The oldest and newest time of what it takes, in seconds since the Unix epoch; `None` if that is nothing.
    pub(crate) times: Option<(i64, i64)>,
    /// Where in the body the records lie, and how many in each: runs of them, joined as they are in the body.
    pub(crate) runs: Vec<(Range<usize>, u64)>,
}

/// Events of a frame that no trail takes.
pub(crate) fn unwanted(meta: &FrameMeta) -> u64 {
    meta.selection.as_ref().map_or(0, |selection| selection.filtered)
}

impl Cut {
    /// Of a frame whose records nobody can have.
    pub(crate) fn without_records(meta: &FrameMeta) -> Self {
        Self { recorded: 0, filtered: unwanted(meta), times: None, runs: Vec::new() }
    }

    /// # Errors
    /// If the meta contradicts itself: says how.
    pub(crate) fn of(meta: &FrameMeta, trail: &str) -> Result<Self, String> {
        let records = u64::from(meta.records);
        let unwanted = unwanted(meta);
        let chosen = meta.selection.as_ref().and_then(|selection| {
            Some((selection.trails.iter().find(|chosen| chosen.trail == trail)?, &selection.lengths))
        });
        let Some((chosen, lengths)) = chosen else {
            return Ok(Self {
                recorded: records,
                filtered: unwanted,
                times: (records > 0).then_some((meta.oldest_event_time, meta.newest_event_time)),
                runs: if records > 0 { vec![(0..meta.body_size as usize, records)] } else { Vec::new() },
            });
        };
        let runs = if chosen.taken.is_empty() { Vec::new() } else { runs(meta, chosen, lengths)? };
        let recorded = runs.iter().map(|(_, count)| count).sum();
        Ok(Self {
            recorded,
            filtered: unwanted + (records - recorded),
            times: (recorded > 0).then_some((chosen.oldest_event_time, chosen.newest_event_time)),
            runs,
        })
    }
}

fn runs(
    meta: &FrameMeta,
    chosen: &TrailSelection,
    lengths: &[u32],
) -> Result<Vec<(Range<usize>, u64)>, String> {
    if lengths.len() != meta.records as usize {
        return Err(format!("{} lengths for {} records", lengths.len(), meta.records));
    }
    let bits = chosen.taken.len() * 8;
    let is_taken =
        |index: usize| chosen.taken.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1);
    if (lengths.len()..bits).any(is_taken) {
        return Err(format!("trail {} takes more than the {} records", chosen.trail, lengths.len()));
    }
    let mut runs: Vec<(Range<usize>, u64)> = Vec::new();
    let mut start = 0;
    for (index, length) in lengths.iter().enumerate() {
        let end = start + *length as usize;
        if is_taken(index) {
            match runs.last_mut() {
                // Beside the run before it, but for the comma.
                Some((run, count)) if run.end + 1 == start => (run.end, *count) = (end, *count + 1),
                _ => runs.push((start..end, 1)),
            }
        }
        start = end + 1;
    }
    // After the last record there is no comma.
    if start != meta.body_size as usize + 1 {
        return Err(format!("the records have {} bytes, the body {}", start - 1, meta.body_size));
    }
    Ok(runs)
}
