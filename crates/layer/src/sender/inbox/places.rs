//! Places in the queue that are kept for records of calls that have begun.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use super::{Content, ENDED, FULL, Inbox, Item, State, weight};
use crate::{
    Draft,
    delivery::{Permit, Receipt},
    sender::{deadlines::Waiter, encode},
};

/// What a place that is kept for a record counts in the bound on bytes.
pub(super) const RESERVED_BYTES: usize = 4096;

/// A place for one record. It goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    inbox: Arc<Inbox>,
    /// The number of the call's intent, once it has one.
    pub(super) intent: Option<Arc<AtomicU64>>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.inbox.lock();
        state.reserved -= 1;
        state.events -= 1;
        state.bytes -= RESERVED_BYTES;
        drop(state);
        self.inbox.unblock();
    }
}

impl Inbox {
    /// Takes the intent to serve a call, and keeps a place for its record.
    pub(in crate::sender) fn intend(self: &Arc<Self>, intent: Draft, within: Duration) -> (Permit, Receipt) {
        let call = encode::call(intent);
        let weight = weight(&call);
        let mut state = self.lock();
        if state.closed || !self.has_room(&state, 2, weight + RESERVED_BYTES) {
            let reason = if state.closed { ENDED } else { FULL };
            return (Permit::none(), Receipt::ready(Err(reason)));
        }
        let number = Arc::new(AtomicU64::new(0));
        let permit = self.keep_place(&mut state, Some(Arc::clone(&number)));
        let (waiter, receipt) = self.deadlines.wait(within);
        let item =
            Item { content: Content::Intent(call), weight, waiter: Some(waiter), intent: Some(number) };
        self.put(state, item, true);
        (permit, receipt)
    }

    /// Keeps a place for a record, as soon as there is one.
    pub(in crate::sender) fn reserve(self: &Arc<Self>, within: Duration) -> Receipt<Permit> {
        let mut state = self.lock();
        if state.closed {
            return Receipt::ready(Err(ENDED));
        }
        if self.has_room(&state, 1, RESERVED_BYTES) {
            return Receipt::ready(Ok(self.keep_place(&mut state, None)));
        }
        let (waiter, receipt) = self.deadlines.wait(within);
        // Those whose time is up do not count: what is left are requests that wait.
        state.blocked.retain(Waiter::is_waiting);
        state.blocked.push_back(waiter);
        receipt
    }

    fn keep_place(self: &Arc<Self>, state: &mut State, intent: Option<Arc<AtomicU64>>) -> Permit {
        state.reserved += 1;
        state.events += 1;
        state.bytes += RESERVED_BYTES;
        Permit::new(Reservation { inbox: Arc::clone(self), intent })
    }

    /// Gives free places to those who wait for one.
    pub(super) fn unblock(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            if state.blocked.is_empty() || !self.has_room(&state, 1, RESERVED_BYTES) {
                return;
            }
            let waiter = state.blocked.pop_front().filter(Waiter::is_waiting);
            let waiter = waiter.map(|waiter| (waiter, self.keep_place(&mut state, None)));
            drop(state);
            if let Some((waiter, permit)) = waiter {
                waiter.resolve(Ok(permit));
            }
        }
    }
}
