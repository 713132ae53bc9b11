//! What a call waits for before its handler begins.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crate::{
    Delivery, Draft, Level, Overflow,
    delivery::{AuditUnavailable, Permit, Receipt},
    exchange::Exchange,
};

/// One call that waits.
#[derive(Debug)]
pub(crate) struct Admission {
    wait: Wait,
    pub(crate) exchange: Arc<Exchange>,
}

#[derive(Debug)]
enum Wait {
    /// Until the intent is on disk.
    Intent(Receipt),
    /// Until there is room for the record.
    Room(Receipt<Permit>),
}

impl Future for Admission {
    type Output = Result<(), AuditUnavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.wait {
            Wait::Intent(receipt) => Pin::new(receipt).poll(cx),
            Wait::Room(receipt) => {
                let room = ready!(Pin::new(receipt).poll(cx));
                Poll::Ready(room.map(|permit| self.exchange.lock().permit = permit))
            }
        }
    }
}

impl Exchange {
    /// What the call has to wait for before its handler begins. A rule around the handler asks again.
    pub(crate) fn admission(self: &Arc<Self>) -> Option<Admission> {
        let policy = &self.policy;
        let mut state = self.lock();
        let guarded = self.delivery_of(&state.action) == Delivery::Guarded;
        if state.finished || state.action.level == Level::None {
            return None;
        }
        let wait = if guarded && !state.intended {
            state.intended = true;
            let action = Arc::clone(&state.action);
            drop(state);
            let (permit, receipt) =
                policy.sink.intend(Draft::intent(Arc::clone(self), action), policy.deadline);
            self.lock().permit = permit;
            Wait::Intent(receipt)
        } else if policy.overflow == Overflow::Block && !guarded && !state.asked_for_room {
            state.asked_for_room = true;
            drop(state);
            Wait::Room(policy.sink.reserve(policy.deadline))
        } else {
            return None;
        };
        Some(Admission { wait, exchange: Arc::clone(self) })
    }
}
