//! Events with their numbers, kept until the collector has them.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sidetrail_wire::ingest::v1::{Batch, Call, Dropped, Event, event::Payload};

use super::{
    deadlines::Waiter,
    inbox::{self, Content, Inbox, Item},
};
use crate::delivery::AuditUnavailable;

const REFUSED: AuditUnavailable = AuditUnavailable::new("the audit log refused the record");

/// What a number and its framing add to an event at most.
const FRAMING: usize = 32;

#[derive(Debug)]
struct Entry {
    event: Event,
    waiter: Option<Waiter>,
    /// The number of an intent, to be taken back should the collector refuse it.
    intent: Option<Arc<AtomicU64>>,
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

    /// Makes the records that are not made yet, and gives numbers. Leaves the list empty.
    pub(super) fn extend(&mut self, items: &mut Vec<Item>, inbox: &Inbox) {
        let (mut estimated, mut real) = (0, 0);
        for Item { content, mut weight, waiter, intent } in items.drain(..) {
            let sequence = self.last + 1;
            let mut event = Event { sequence, ..Event::default() };
            let mut announced = None;
            event.payload = Some(match content {
                Content::Payload(payload) => payload,
                Content::Draft(draft) => {
                    let call = Call::from(draft.into_record());
                    estimated += weight;
                    weight = inbox::weight(&call);
                    real += weight;
                    Payload::Call(call)
                }
                Content::Intent(call) => {
                    if let Some(number) = &intent {
                        number.store(sequence, Ordering::Relaxed);
                    }
                    announced = intent.clone();
                    Payload::Intent(call)
                }
            });
            if let (Some(Payload::Call(_)), Some(number)) = (&event.payload, intent) {
                event.completes = number.load(Ordering::Relaxed);
            }
            self.last += match &event.payload {
                Some(Payload::Dropped(dropped)) => dropped.count,
                _ => 1,
            };
            let last = self.last;
            self.entries.push_back(Entry {
                event,
                waiter,
                intent: announced,
                weight,
                last,
                sent: false,
                given_up: false,
            });
        }
        inbox.reweigh(estimated, real);
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
            // One that was given up has been told.
            if let Some(waiter) = &entry.waiter {
                waiter.resolve(Ok(()));
            }
            self.entries.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
        freed
    }

    /// The collector will not store this event. It acks it like any other.
    pub(super) fn refuse(&mut self, sequence: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.event.sequence == sequence) {
            entry.give_up();
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
                entry.give_up();
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

impl Entry {
    /// It will never be stored, and there will be nothing to complete.
    fn give_up(&mut self) {
        self.given_up = true;
        self.event.completes = 0;
        if let Some(number) = &self.intent {
            number.store(0, Ordering::Relaxed);
        }
        if let Some(waiter) = &self.waiter {
            waiter.resolve(Err(REFUSED));
        }
    }
}
