//! What lies between those who read objects and those who look into them: log files that were read, as many as fit into
//! [`READ_AHEAD`], and the decision how many read at the same time.
//!
//! Reading waits for the store, looking into files takes a processor, so each has threads of its own. How many readers it
//! takes depends on the store's latency, which nobody knows beforehand: there are few at first, and with each object that was
//! read one more, for as long as those who look have nothing to do. Near a fast store they never have; at 20 milliseconds
//! and small files all readers there may be are at work after a tenth of a second.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::content::Job;

/// The most stored bytes that are held, of files being read, waiting, or looked into; a single file that is larger is read
/// when there is no other.
pub(super) const READ_AHEAD: u64 = 48 << 20;

/// How many readers there are at first.
const FIRST_READERS: usize = 4;

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Bytes that are held.
    held: u64,
    /// Readers that have not ended.
    readers: usize,
    /// Readers that may read.
    allowed: usize,
    /// Somebody looks for a job and found none.
    starved: bool,
    /// There is nothing more to read.
    done: bool,
}

/// The queue of one verification.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// A job came, or the last reader has ended.
    ready: Condvar,
    /// Bytes were given back.
    freed: Condvar,
    /// More readers are allowed, or there is nothing more to read.
    admitted: Condvar,
    max_readers: usize,
}

impl Queue {
    pub(super) fn new(max_readers: usize) -> Self {
        let allowed = FIRST_READERS.min(max_readers);
        let state = State { readers: max_readers, allowed, ..State::default() };
        Self {
            state: Mutex::new(state),
            ready: Condvar::new(),
            freed: Condvar::new(),
            admitted: Condvar::new(),
            max_readers,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the reader with this number may read; false if there is nothing left to.
    pub(super) fn admit(&self, number: usize) -> bool {
        let mut state = self.state();
        while state.allowed <= number && !state.done {
            state = self.admitted.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.done
    }

    /// Waits until there is room for so many bytes.
    pub(super) fn reserve(&self, bytes: u64) {
        let mut state = self.state();
        while state.held > 0 && state.held.saturating_add(bytes) > READ_AHEAD {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.held = state.held.saturating_add(bytes);
    }

    /// Gives back what was reserved.
    pub(super) fn release(&self, bytes: u64) {
        self.state().held -= bytes;
        self.freed.notify_all();
    }

    /// Hands over what was read, with the bytes reserved for it.
    pub(super) fn push(&self, job: Job) {
        self.state().jobs.push_back(job);
        self.ready.notify_one();
    }

    /// An object was read: if that is too slow, one more reader.
    pub(super) fn note_read(&self) {
        let mut state = self.state();
        if state.starved && state.allowed < self.max_readers {
            state.allowed += 1;
            self.admitted.notify_all();
        }
    }

    /// There is nothing more to read.
    pub(super) fn finish(&self) {
        self.state().done = true;
        self.admitted.notify_all();
    }

    fn leave(&self) {
        let mut state = self.state();
        state.readers -= 1;
        if state.readers == 0 {
            self.ready.notify_all();
        }
    }

    /// The next job, if there is one now.
    pub(super) fn try_pop(&self) -> Option<Job> {
        let mut state = self.state();
        let job = state.jobs.pop_front();
        state.starved = job.is_none();
        job
    }

    /// The next job; `None` once there will be none.
    pub(super) fn pop(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.starved = false;
                return Some(job);
            }
            if state.readers == 0 {
                return None;
            }
            state.starved = true;
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A reader that ends, whichever way.
pub(super) struct Leave<'a>(pub(super) &'a Queue);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
