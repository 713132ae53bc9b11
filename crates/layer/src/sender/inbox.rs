//! Where request threads leave records for the sender's thread: bounded, and locked for moments only.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use prost::Message;
use sidetrail_record::Record;
use sidetrail_wire::ingest::v1::{Call, Dropped, event::Payload};
use tokio::sync::{Notify, watch};

use super::Stats;

/// How often a full queue is logged.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// One event without a number yet.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) payload: Payload,
    /// What it counts in the bound on bytes; 0 for receipts.
    pub(super) weight: usize,
}

#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    max_events: usize,
    max_bytes: usize,
    connected: AtomicBool,
    /// There is something to take, or the end has come.
    pub(super) wake: Notify,
    /// When the sender has to be done.
    deadline: watch::Sender<Option<tokio::time::Instant>>,
}

#[derive(Debug, Default)]
struct State {
    items: Vec<Item>,
    /// Records and their weights, here and in the backlog.
    events: usize,
    bytes: usize,
    accepted: u64,
    acked: u64,
    dropped: u64,
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
            deadline: watch::Sender::new(None),
        }
    }

    /// Takes a record, or counts it as dropped.
    pub(super) fn push(&self, record: Record) {
        let call = Call::from(record);
        let weight = call.encoded_len() + size_of::<Item>();
        let mut state = self.lock();
        state.accepted += 1;
        if state.closed {
            state.drop_one();
            return;
        }
        let was_empty = state.items.is_empty();
        if state.events < self.max_events && state.bytes + weight <= self.max_bytes {
            state.events += 1;
            state.bytes += weight;
            state.items.push(Item { payload: Payload::Call(call), weight });
        } else {
            state.drop_one();
            // The newest goes, and its place in the sequence says so.
            match state.items.last_mut() {
                Some(Item { payload: Payload::Dropped(dropped), .. }) => dropped.count += 1,
                _ => {
                    let payload = Payload::Dropped(Dropped { count: 1, reason: "overflow".to_owned() });
                    state.items.push(Item { payload, weight: 0 });
                }
            }
        }
        drop(state);
        if was_empty {
            self.wake.notify_one();
        }
    }

    /// What came since the last time, in order.
    pub(super) fn take(&self) -> Vec<Item> {
        std::mem::take(&mut self.lock().items)
    }

    /// Records that the collector has. `given_up` of them it will never store.
    pub(super) fn free(&self, events: usize, bytes: usize, given_up: usize) {
        let mut state = self.lock();
        state.events -= events;
        state.bytes -= bytes;
        state.acked += (events - given_up) as u64;
        state.dropped += given_up as u64;
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
        self.lock().closed = true;
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
        let lost = state.events as u64;
        state.closed = true;
        state.dropped += lost;
        (state.events, state.bytes, state.items) = (0, 0, Vec::new());
        lost
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            accepted: state.accepted,
            acked: state.acked,
            dropped: state.dropped,
            queued: state.events as u64,
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
}
