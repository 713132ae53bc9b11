//! Where records go without a socket: a queue that somebody empties.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use prost::Message;
use sidetrail::{Record, Sink};
use sidetrail_wire::ingest::v1::Call;

/// Does what the sender does where the request ends. Another thread takes the records and throws them away.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    taken: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    bytes: usize,
    stopped: bool,
}

impl Queue {
    pub(crate) fn start() -> Arc<Self> {
        let queue = Arc::new(Self::default());
        let taker = Arc::clone(&queue);
        thread::spawn(move || {
            while let Some(calls) = taker.take() {
                let count = calls.len() as u64;
                drop(calls);
                taker.taken.fetch_add(count, Ordering::Release);
            }
        });
        queue
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_one();
    }

    fn take(&self) -> Option<Vec<Call>> {
        let state = self.wake.wait_while(self.lock(), |state| state.calls.is_empty() && !state.stopped);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.bytes = 0;
        (!state.stopped).then(|| std::mem::take(&mut state.calls))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Queue {
    fn record(&self, record: Record) {
        let call = Call::from(record);
        let weight = call.encoded_len();
        let mut state = self.lock();
        let was_empty = state.calls.is_empty();
        state.bytes += weight;
        state.calls.push(call);
        drop(state);
        if was_empty {
            self.wake.notify_one();
        }
    }
}
