//! Events with their numbers, kept until the collector has them.

use std::collections::VecDeque;

use sidetrail_wire::ingest::v1::{Batch, Dropped, Event, event::Payload};

use super::inbox::Item;

/// What a number and its framing add to an event at most.
const FRAMING: usize = 32;

#[derive(Debug)]
struct Entry {
    event: Event,
    weight: usize,
    /// The last number that it takes: a receipt takes several.
    last: u64,
    /// It was sent once, so it may be on disk: it must not change any more.
    sent: bool,
    /// A record that will never be stored.
    given_up: bool,
}

/// What left the backlog: how many records, their weight, and how many of them are not stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Freed {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) given_up: usize,
}

/// The most that a batch may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// Unacked events in order of their numbers, which begin with 1 and have no gap.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    entries: VecDeque<Entry>,
    /// How many entries from the front were sent on this connection.
    sent: usize,
    /// The last number given.
    last: u64,
}

impl Backlog {
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives numbers.
    pub(super) fn extend(&mut self, items: Vec<Item>) {
        for Item { payload, weight } in items {
            let sequence = self.last + 1;
            self.last += match &payload {
                Payload::Dropped(dropped) => dropped.count,
                Payload::Call(_) | Payload::Record(_) | Payload::Intent(_) => 1,
            };
            let event = Event { sequence, payload: Some(payload), ..Event::default() };
            self.entries.push_back(Entry { event, weight, last: self.last, sent: false, given_up: false });
        }
    }

    /// A new connection: everything that is not acked goes out again.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// The collector has everything up to this number.
    pub(super) fn ack(&mut self, sequence: u64) -> Freed {
        let mut freed = Freed::default();
        while let Some(entry) = self.entries.front().filter(|entry| entry.last <= sequence && entry.sent) {
            if entry.weight > 0 {
                freed.events += 1;
                freed.bytes += entry.weight;
                freed.given_up += usize::from(entry.given_up);
            }
            self.entries.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
        freed
    }

    /// The collector will not store this event. It acks it like any other.
    pub(super) fn refuse(&mut self, sequence: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.event.sequence == sequence) {
            entry.given_up = true;
        }
    }

    /// The next batch and the last number in it. With `full_only` nothing, unless a limit is reached.
    pub(super) fn next_batch(&mut self, limits: BatchLimits, full_only: bool) -> Option<(Batch, u64)> {
        let mut size = 0;
        let mut count = 0;
        let mut full = false;
        for entry in self.entries.iter_mut().skip(self.sent) {
            if entry.weight + FRAMING > limits.bytes && !entry.sent {
                let dropped = Dropped { count: 1, reason: "too large".to_owned() };
                entry.event.payload = Some(Payload::Dropped(dropped));
                entry.given_up = true;
            }
            let weight = if entry.given_up { FRAMING } else { entry.weight + FRAMING };
            full = count == limits.events || count > 0 && size + weight > limits.bytes;
            if full {
                break;
            }
            size += weight;
            count += 1;
        }
        if count == 0 || full_only && !full {
            return None;
        }
        let batch = self.entries.range_mut(self.sent..self.sent + count);
        let events = batch
            .map(|entry| {
                entry.sent = true;
                entry.event.clone()
            })
            .collect();
        self.sent += count;
        Some((Batch { events }, self.entries[self.sent - 1].last))
    }
}
