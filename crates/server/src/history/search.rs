//! Finds the newest events of a query among segments and live events.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::key::{Key, Seconds};
use super::query::Query;
use super::segment::{Cursor, Damaged, FileId, Partition, Segment};

/// An event that was found.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// Its place in history.
    pub(crate) key: Key,
    /// Where it is.
    pub(crate) origin: Origin,
}

/// Where an event is.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// In a segment, from a log file.
    Sealed {
        /// The segment.
        segment: Arc<Segment>,
        /// Which of its events.
        ordinal: u32,
        /// The log file.
        file: FileId,
    },
    /// In memory, on its word.
    Live {
        /// The part of history.
        partition: Arc<Partition>,
        /// The record.
        record: Arc<str>,
    },
}

/// A live event, for [`search`].
#[derive(Clone, Debug)]
pub(super) struct LiveHit {
    pub(super) key: Key,
    pub(super) partition: Arc<Partition>,
    pub(super) record: Arc<str>,
}

/// The newest `limit` events of a query that are older than `after`. An event that is in several places is found once,
/// sealed where it is both. `present` says whether a log file counts.
///
/// `live` are the live events of the query, newest first.
pub(super) fn search(
    segments: &[Arc<Segment>],
    live: Vec<LiveHit>,
    query: &Query,
    after: Option<Key>,
    limit: usize,
    present: &dyn Fn(FileId) -> bool,
) -> Result<Vec<Hit>, Damaged> {
    let newest = query.to.map_or(Key::NEWEST, Key::last_of);
    let Some(newest) = after.map_or(Some(newest), |after| Some(after.before()?.min(newest))) else {
        return Ok(Vec::new());
    };
    let oldest = Key::first_of(query.from.unwrap_or(Seconds(0)));
    let mut heap = BinaryHeap::new();
    for segment in segments {
        if query.covers(segment.partition()) && segment.newest() >= oldest && segment.oldest() <= newest {
            heap.push(Stream { key: segment.newest().min(newest), from: From::Closed(segment) });
        }
    }
    let mut live = live.into_iter().filter(|hit| hit.key <= newest && hit.key >= oldest).peekable();
    let mut hits: Vec<Hit> = Vec::new();
    loop {
        // Of one that is live and sealed, the sealed one is first.
        let next_live = live.peek().map(|hit| hit.key);
        let next_sealed = heap.peek().map(|stream| stream.key);
        let Some(key) = next_live.max(next_sealed).filter(|key| *key >= oldest) else { break };
        if hits.len() == limit && hits.last().is_some_and(|last| last.key != key) {
            break;
        }
        if next_sealed.is_none_or(|sealed| sealed < key) {
            if let Some(hit) = live.next()
                && hits.last().is_none_or(|last| last.key != hit.key)
            {
                let LiveHit { key, partition, record } = hit;
                hits.push(Hit { key, origin: Origin::Live { partition, record } });
            }
            continue;
        }
        let Some(stream) = heap.pop() else { break };
        let (segment, cursor, found) = match stream.from {
            From::Closed(segment) => {
                let mut cursor = query.cursor(segment)?;
                let found = cursor.seek(segment, segment.from(newest)?)?;
                (segment, cursor, found)
            }
            From::Open { segment, mut cursor, ordinal, file } => {
                if present(file) && hits.last().is_none_or(|last| last.key != stream.key) {
                    let origin = Origin::Sealed { segment: Arc::clone(segment), ordinal, file };
                    hits.push(Hit { key: stream.key, origin });
                }
                let found = cursor.seek(segment, ordinal + 1)?;
                (segment, cursor, found)
            }
        };
        if let Some(ordinal) = found {
            let (key, file) = segment.event(ordinal)?;
            heap.push(Stream { key, from: From::Open { segment, cursor, ordinal, file } });
        }
    }
    hits.truncate(limit);
    Ok(hits)
}

/// The next event of a segment, or one that is no older than it.
struct Stream<'a> {
    key: Key,
    from: From<'a>,
}

enum From<'a> {
    /// Not looked into yet.
    Closed(&'a Arc<Segment>),
    /// At an event.
    Open { segment: &'a Arc<Segment>, cursor: Cursor, ordinal: u32, file: FileId },
}

impl Ord for Stream<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Of the same key those that are closed are first: what they have may be the same event.
        let closed = |stream: &Self| matches!(stream.from, From::Closed(_));
        self.key.cmp(&other.key).then_with(|| closed(self).cmp(&closed(other)))
    }
}

impl PartialOrd for Stream<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Stream<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Stream<'_> {}
