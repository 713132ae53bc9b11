//! Where request threads leave records for the sender's thread: bounded, and locked for moments only.

mod places;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prost::Message;
use sidetrail_record::Record;
use sidetrail_wire::ingest::v1::Call;
use tokio::sync::{Notify, watch};

use self::places::RESERVED_BYTES;
pub(crate) use self::places::Reservation;
use super::{
    Stats,
    deadlines::{Deadlines, Waiter},
    encode,
};
use crate::{
    Draft,
    delivery::{AuditUnavailable, Permit},
};

/// How often a full queue is logged.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Calls whose records are not made yet. Beyond it those who bring them make them: the sender's thread is behind.
const MAX_UNMADE: usize = 2048;

/// How long the sender's thread sleeps between looks, before it wants to be woken.
const LINGER: Duration = Duration::from_millis(5);

const FULL: AuditUnavailable = AuditUnavailable::new("the queue of the audit log is full");
const ENDED: AuditUnavailable = AuditUnavailable::new("the audit log is shutting down");

/// One event without a number yet.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) content: Content,
    /// What it counts in the bound on bytes; 0 for receipts.
    pub(super) weight: usize,
    /// Who waits until it is on disk.
    pub(super) waiter: Option<Waiter>,
    /// The number of an intent: given by the intent, taken by what completes it.
    pub(super) intent: Option<Arc<AtomicU64>>,
}

#[derive(Debug)]
pub(super) enum Content {
    /// A call whose record is not made yet.
    Draft(Box<Draft>),
    /// An encoded call.
    Call(Vec<u8>),
    /// An encoded call that is about to begin.
    Intent(Vec<u8>),
    /// So many records that there was no room for.
    Dropped(u64),
}

#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    max_events: usize,
    max_bytes: usize,
    connected: AtomicBool,
    /// There is something to take, or the end has come.
    pub(super) wake: Notify,
    pub(super) deadlines: Deadlines,
    /// When the sender has to be done.
    deadline: watch::Sender<Option<tokio::time::Instant>>,
}

#[derive(Debug, Default)]
struct State {
    items: Vec<Item>,
    /// How many of them are drafts.
    unmade: usize,
    /// The sender's thread sleeps until it is woken.
    asleep: bool,
    /// Records and their weights, here and in the backlog, and places that are kept.
    events: usize,
    bytes: usize,
    /// Calls that wait for a place.
    blocked: VecDeque<Waiter<Permit>>,
    accepted: u64,
    acked: u64,
    dropped: u64,
    /// How many places are kept.
    reserved: usize,
    closed: bool,
    /// When and at which count dropped records were last logged.
    warned: Option<(Instant, u64)>,
}

impl Inbox {
    pub(super) fn new(max_events: usize, max_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            max_events,
            max_bytes,
            connected: AtomicBool::new(false),
            wake: Notify::new(),
            deadlines: Deadlines::default(),
            deadline: watch::Sender::new(None),
        }
    }

    /// Takes a record, or counts it as dropped.
    pub(super) fn push(&self, record: Record) {
        let call = Call::from(record).encode_to_vec();
        let weight = weight(&call);
        let content = Content::Call(call);
        self.put(self.lock(), Item { content, weight, waiter: None, intent: None }, false);
    }

    /// Takes a call that has ended, or counts its record as dropped.
    pub(super) fn push_draft(&self, mut draft: Draft, waiter: Option<Waiter>) {
        // It goes back at the end, when the record has a place of its own.
        let reservation = draft.take_permit().into_place::<Reservation>();
        let intent = reservation.as_ref().and_then(|reservation| reservation.intent.clone());
        let weight = draft.weight() + size_of::<Item>();
        let mut state = self.lock();
        let content = if state.unmade < MAX_UNMADE {
            Content::Draft(Box::new(draft))
        } else {
            drop(state);
            let call = encode::call(draft);
            state = self.lock();
            Content::Call(call)
        };
        self.put(state, Item { content, weight, waiter, intent }, reservation.is_some());
    }

    fn has_room(&self, state: &State, events: usize, bytes: usize) -> bool {
        state.events + events <= self.max_events && state.bytes + bytes <= self.max_bytes
    }

    fn put(&self, mut state: MutexGuard<'_, State>, item: Item, place_is_kept: bool) {
        state.accepted += 1;
        let refused = if state.closed {
            state.drop_one();
            Some((item, ENDED))
        } else if place_is_kept || self.has_room(&state, 1, item.weight) {
            state.events += 1;
            state.bytes += item.weight;
            state.unmade += usize::from(matches!(item.content, Content::Draft(_)));
            // Somebody waits: the sender's thread is not to linger.
            state.asleep |= item.waiter.is_some();
            state.items.push(item);
            None
        } else {
            state.drop_one();
            state.leave_receipt();
            Some((item, FULL))
        };
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        if let Some((Item { waiter: Some(waiter), .. }, reason)) = refused {
            waiter.resolve(Err(reason));
        }
    }

    /// What came since the last time, in order, in exchange for an empty list.
    pub(super) fn take(&self, spare: Vec<Item>) -> Vec<Item> {
        let mut state = self.lock();
        state.unmade = 0;
        std::mem::replace(&mut state.items, spare)
    }

    /// Ends when there is something to take, or the inbox is closed.
    pub(super) async fn filled(&self) {
        // While much comes nobody has to wake us: that would cost every request a system call.
        tokio::select! {
            () = tokio::time::sleep(LINGER) => {}
            () = self.wake.notified() => {}
        }
        let sleeps = {
            let mut state = self.lock();
            state.asleep = state.items.is_empty() && !state.closed;
            state.asleep
        };
        if sleeps {
            self.wake.notified().await;
        }
    }

    /// Records weigh something else than their drafts.
    pub(super) fn reweigh(&self, before: usize, after: usize) {
        let mut state = self.lock();
        state.bytes = state.bytes + after - before;
    }

    /// Records that the collector has. `given_up` of them it will never store.
    pub(super) fn free(self: &Arc<Self>, events: usize, bytes: usize, given_up: usize) {
        let mut state = self.lock();
        state.events -= events;
        state.bytes -= bytes;
        state.acked += (events - given_up) as u64;
        state.dropped += given_up as u64;
        drop(state);
        self.unblock();
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether nothing waits for its number.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Takes nothing more. What is here has until the deadline, the earliest if there are several.
    pub(super) fn close(&self, time: Duration) {
        const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);
        let blocked = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.blocked)
        };
        for waiter in blocked {
            waiter.resolve(Err(ENDED));
        }
        let deadline = tokio::time::Instant::now() + time.min(FOR_EVER);
        self.deadline.send_if_modified(|current| {
            let earlier = current.is_none_or(|current| deadline < current);
            *current = if earlier { Some(deadline) } else { *current };
            earlier
        });
        self.wake.notify_one();
    }

    /// Ends when the inbox is closed.
    pub(super) async fn closed(&self) {
        // The sending half is in `self`.
        let _ = self.deadline.subscribe().wait_for(Option::is_some).await;
    }

    /// Ends when the deadline has passed.
    pub(super) async fn past_deadline(&self) {
        let mut changes = self.deadline.subscribe();
        loop {
            let deadline = *changes.borrow_and_update();
            let passed = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return,
                // The sending half is in `self`.
                _ = changes.changed() => {}
            }
        }
    }

    /// The end: whatever is still here is lost. Returns how many records that are.
    pub(super) fn give_up(&self) -> u64 {
        let mut state = self.lock();
        let lost = (state.events - state.reserved) as u64;
        state.closed = true;
        state.dropped += lost;
        state.events = state.reserved;
        state.bytes = state.reserved * RESERVED_BYTES;
        let items = std::mem::take(&mut state.items);
        drop(state);
        // Not under the lock: a draft may hold a place that goes back.
        drop(items);
        self.deadlines.end(ENDED);
        lost
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            accepted: state.accepted,
            acked: state.acked,
            dropped: state.dropped,
            queued: (state.events - state.reserved) as u64,
            connected: self.connected.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn drop_one(&mut self) {
        self.dropped += 1;
        let (last, before) = self.warned.map_or((None, 0), |(time, count)| (Some(time), count));
        if last.is_none_or(|time| time.elapsed() >= WARN_EVERY) {
            let count = self.dropped - before;
            let reason = if self.closed { "sender has ended" } else { "queue is full" };
            tracing::warn!(count, total = self.dropped, reason, "audit records dropped");
            self.warned = Some((Instant::now(), self.dropped));
        }
    }

    /// The newest goes, and its place in the sequence says so.
    fn leave_receipt(&mut self) {
        match self.items.last_mut() {
            Some(Item { content: Content::Dropped(count), .. }) => *count += 1,
            _ => {
                let content = Content::Dropped(1);
                self.items.push(Item { content, weight: 0, waiter: None, intent: None });
            }
        }
    }
}

/// What an encoded call counts in the bound on bytes.
fn weight(call: &[u8]) -> usize {
    call.len() + size_of::<Item>()
}
