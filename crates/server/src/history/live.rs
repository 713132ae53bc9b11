//! Events that collectors told of before their log files were there.
//!
//! They are shown on the collector's word until they are sealed, or for a quarter of an hour: the bucket is the truth. A
//! copy that does not come, or is given up here, is only late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::Event;
use super::key::{Key, Seconds};
use super::query::Query;
use super::search::LiveHit;
use super::segment::Partition;

/// Events that are kept.
const MAX_EVENTS: usize = 8192;
/// Bytes of records that are kept.
const MAX_BYTES: usize = 32 << 20;
/// How long one is kept.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// The live events, by their place in history.
#[derive(Debug, Default)]
pub(super) struct Live {
    events: BTreeMap<Key, Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    partition: Arc<Partition>,
    record: Arc<str>,
    since: Instant,
}

impl Live {
    /// Takes a record of an account and region. Where there is no room the oldest events are given up.
    pub(super) fn push(&mut self, account: &str, region: &str, record: &str, at: Seconds, now: Instant) {
        if record.len() > MAX_BYTES {
            return;
        }
        let event = Event::read(record);
        let key = event.key(at);
        let partition = Partition { account: account.into(), region: region.into(), class: event.class() };
        let kept = Kept { partition: Arc::new(partition), record: record.into(), since: now };
        self.bytes += record.len();
        if let Some(again) = self.events.insert(key, kept) {
            self.bytes -= again.record.len();
        }
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            match self.events.pop_first() {
                Some((_, given_up)) => self.bytes -= given_up.record.len(),
                None => break,
            }
        }
    }

    /// These events are sealed now.
    pub(super) fn sealed(&mut self, keys: impl IntoIterator<Item = Key>) {
        if self.events.is_empty() {
            return;
        }
        for key in keys {
            if let Some(kept) = self.events.remove(&key) {
                self.bytes -= kept.record.len();
            }
        }
    }

    /// Gives up what has been here for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        self.events.retain(|_, kept| {
            let keep = now.saturating_duration_since(kept.since) < MAX_AGE;
            if !keep {
                self.bytes -= kept.record.len();
            }
            keep
        });
    }

    /// The newest `limit` live events of a query before `after`, newest first.
    pub(super) fn find(&self, query: &Query, after: Option<Key>, limit: usize) -> Vec<LiveHit> {
        let newest = self.events.iter().rev().filter(|(key, _)| after.is_none_or(|after| **key < after));
        let found = newest.filter(|(key, kept)| {
            query.spans(key.at())
                && query.covers(&kept.partition)
                && query.matches(&Event::read(&kept.record))
        });
        let hit = |(key, kept): (&Key, &Kept)| LiveHit {
            key: *key,
            partition: Arc::clone(&kept.partition),
            record: Arc::clone(&kept.record),
        };
        found.take(limit).map(hit).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::query::Condition;
    use crate::history::term::Field;

    #[test]
    fn live_events_are_found_until_they_are_sealed_or_old() {
        let (mut live, now) = (Live::default(), Instant::now());
        let record = |at| format!(r#"{{"eventTime":"2026-01-15T10:00:{at:02}Z","eventName":"GetOrder"}}"#);
        for at in 0..3 {
            live.push("123456789012", "r", &record(at), Seconds(0), now);
        }
        live.push("123456789012", "r", &record(2), Seconds(0), now);
        let find = |live: &Live, name| {
            let query = Query { conditions: vec![Condition::is(Field::EventName, name)], ..Query::default() };
            live.find(&query, None, 2)
        };
        let found = find(&live, "GetOrder");
        assert_eq!(found.iter().map(|hit| &*hit.record).collect::<Vec<_>>(), [record(2), record(1)]);
        assert!(find(&live, "ListOrders").is_empty());
        live.sealed([found[0].key]);
        assert_eq!(live.len(), 2);
        live.expire(now + MAX_AGE);
        assert_eq!((live.len(), live.bytes), (0, 0));
    }

    #[test]
    fn the_oldest_make_room() {
        let (mut live, now) = (Live::default(), Instant::now());
        for at in 0..MAX_EVENTS + 5 {
            live.push("a", "r", "{}", Seconds(u32::try_from(at).unwrap()), now);
        }
        assert_eq!(live.len(), MAX_EVENTS);
        assert_eq!(live.events.first_key_value().unwrap().0.at(), Seconds(5));
        live.push("a", "r", &" ".repeat(MAX_BYTES + 1), Seconds(9), now);
        assert_eq!((live.len(), live.bytes), (MAX_EVENTS, MAX_EVENTS * 2));
    }
}
