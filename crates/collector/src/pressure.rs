//! Whether the spool takes events, for sessions that have to wait and for the readiness probe.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// A file system tells nobody when it has room again, so the next try is after this.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Full or not. Full is what an append said last; it ends when a segment is released, or to try again.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    full: AtomicBool,
    released: Notify,
    /// The queue before the spool has room again.
    queue: Notify,
}

impl Pressure {
    /// An append met a full spool or disk.
    pub(crate) fn set_full(&self) {
        self.full.store(true, Ordering::Release);
    }

    /// Segments were released, or an append succeeded.
    pub(crate) fn set_free(&self) {
        if self.full.swap(false, Ordering::AcqRel) {
            self.released.notify_waiters();
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Waits while full, but not for ever: the caller's next append is how it is found out.
    pub(crate) async fn wait_while_full(&self) {
        let released = self.released.notified();
        if self.is_full() {
            // Either way the caller goes on.
            let _ = tokio::time::timeout(TRY_AGAIN, released).await;
        }
    }

    pub(crate) fn queue(&self) -> &Notify {
        &self.queue
    }
}
