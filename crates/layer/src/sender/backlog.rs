//! Events with their numbers, kept until the collector has them.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};

use super::{
    deadlines::Waiter,
    encode::{self, Kind},
    inbox::{Content, Inbox, Item},
};
use crate::delivery::AuditUnavailable;

const REFUSED: AuditUnavailable = AuditUnavailable::new("the audit log refused the record");

/// Why records are not delivered: `Dropped.reason`.
const OVERFLOW: &str = "overflow";
const TOO_LARGE: &str = "too large";

/// What a record may leave behind in the place where calls are written.
const MAX_SCRATCH: usize = 64 * 1024;

#[derive(Debug)]
struct Entry {
    /// As it is [encoded](encode::event).
    event: Bytes,
    waiter: Option<Waiter>,
    /// The number of an intent, to be taken back should the collector refuse it.
    intent: Option<Arc<AtomicU64>>,
    /// What it counts in the bound on bytes; 0 for receipts.
    weight: usize,
    /// Its number, and the last one that it takes: a receipt takes several.
    first: u64,
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
    /// Where events are written: memory for many of them at once.
    buffer: BytesMut,
    /// Where a call is written first, since its length comes before it.
    scratch: Vec<u8>,
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
        for Item { content, weight, waiter, intent } in items.drain(..) {
            let first = self.last + 1;
            let mut last = first;
            let mut announced = None;
            let number = intent.as_ref().map_or(0, |number| number.load(Ordering::Relaxed));
            let event = match content {
                Content::Draft(draft) => {
                    self.scratch.clear();
                    encode::write_call(*draft, &mut self.scratch);
                    encode::event(first, Kind::Call, &self.scratch, number, &mut self.buffer)
                }
                Content::Call(call) => encode::event(first, Kind::Call, &call, number, &mut self.buffer),
                Content::Intent(call) => {
                    if let Some(number) = &intent {
                        number.store(first, Ordering::Relaxed);
                    }
                    announced = intent;
                    encode::event(first, Kind::Intent, &call, 0, &mut self.buffer)
                }
                Content::Dropped(count) => {
                    last = self.last + count;
                    encode::dropped(first, count, OVERFLOW, &mut self.buffer)
                }
            };
            self.last = last;
            estimated += weight;
            let weight = if weight == 0 { 0 } else { event.len() + size_of::<Entry>() };
            real += weight;
            self.entries.push_back(Entry {
                event,
                waiter,
                intent: announced,
                weight,
                first,
                last,
                sent: false,
                given_up: false,
            });
        }
        self.scratch.clear();
        self.scratch.shrink_to(MAX_SCRATCH);
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
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.first == sequence) {
            entry.give_up();
        }
    }

    /// The next batch, encoded, and the last number in it. With `full_only` nothing, unless a limit is reached.
    pub(super) fn next_batch(&mut self, limits: BatchLimits, full_only: bool) -> Option<(Vec<u8>, u64)> {
        let mut size = 0;
        let mut count = 0;
        let mut full = false;
        for entry in self.entries.range_mut(self.sent..) {
            if entry.event.len() > limits.bytes && !entry.sent {
                entry.event = encode::dropped(entry.first, 1, TOO_LARGE, &mut self.buffer);
                entry.give_up();
            }
            full = count == limits.events || count > 0 && size + entry.event.len() > limits.bytes;
            if full {
                break;
            }
            size += entry.event.len();
            count += 1;
        }
        if count == 0 || full_only && !full {
            return None;
        }
        let batch = self.entries.range_mut(self.sent..self.sent + count);
        let events = batch.map(|entry| {
            entry.sent = true;
            &*entry.event
        });
        let batch = encode::batch(events, size);
        self.sent += count;
        Some((batch, self.entries[self.sent - 1].last))
    }
}

impl Entry {
    /// It will never be stored, and there will be nothing to complete.
    fn give_up(&mut self) {
        self.given_up = true;
        if let Some(number) = &self.intent {
            number.store(0, Ordering::Relaxed);
        }
        if let Some(waiter) = &self.waiter {
            waiter.resolve(Err(REFUSED));
        }
    }
}
