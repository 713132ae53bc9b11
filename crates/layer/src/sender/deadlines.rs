//! Those who wait for the collector, and for how long.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::delivery::{AuditUnavailable, Promise, Receipt};

const TOO_LATE: AuditUnavailable = AuditUnavailable::new("the audit log did not answer in time");

/// Entries that may be there before those that nobody waits for are looked for.
const PRUNE_AT: usize = 1024;

/// Whoever has a clone can answer; the first answer counts.
pub(crate) struct Waiter<T = ()>(Arc<Slot<T>>);

struct Slot<T>(Mutex<Option<Promise<T>>>);

impl<T> Clone for Waiter<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Waiter<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Waiter").field("waiting", &self.is_waiting()).finish()
    }
}

impl<T> Waiter<T> {
    pub(super) fn resolve(&self, result: Result<T, AuditUnavailable>) {
        if let Some(promise) = self.0.take() {
            promise.resolve(result);
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.0.has_listener()
    }
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, Option<Promise<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Promise<T>> {
        self.lock().take()
    }

    fn has_listener(&self) -> bool {
        self.lock().as_ref().is_some_and(|promise| !promise.is_abandoned())
    }
}

/// A waiter, whatever it waits for.
trait Expire: Send + Sync {
    fn refuse(&self, reason: AuditUnavailable);
    fn is_waiting(&self) -> bool;
}

impl<T: Send> Expire for Slot<T> {
    fn refuse(&self, reason: AuditUnavailable) {
        if let Some(promise) = self.take() {
            promise.resolve(Err(reason));
        }
    }

    fn is_waiting(&self) -> bool {
        self.has_listener()
    }
}

/// When whose time is up.
#[derive(Default)]
pub(super) struct Deadlines {
    entries: Mutex<Entries>,
    /// There is an earlier one.
    changed: Notify,
}

#[derive(Default)]
struct Entries {
    heap: BinaryHeap<Reverse<Entry>>,
    prune_at: usize,
}

struct Entry {
    at: Instant,
    waiter: Arc<dyn Expire>,
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Deadlines").finish_non_exhaustive()
    }
}

impl Deadlines {
    /// One more who waits.
    pub(super) fn wait<T: Send + 'static>(&self, within: Duration) -> (Waiter<T>, Receipt<T>) {
        let (promise, receipt) = Receipt::pending();
        let slot = Arc::new(Slot(Mutex::new(Some(promise))));
        let at = Instant::now().checked_add(within);
        if let Some(at) = at {
            let mut entries = self.lock();
            let is_first = entries.heap.peek().is_none_or(|Reverse(first)| at < first.at);
            let waiter: Arc<dyn Expire> = Arc::clone(&slot) as _;
            entries.heap.push(Reverse(Entry { at, waiter }));
            if entries.heap.len() > entries.prune_at.max(PRUNE_AT) {
                entries.heap.retain(|Reverse(entry)| entry.waiter.is_waiting());
                entries.prune_at = entries.heap.len() * 2;
            }
            drop(entries);
            if is_first {
                self.changed.notify_one();
            }
        }
        (Waiter(slot), receipt)
    }

    /// Tells those whose time is up. Never ends.
    pub(super) async fn watch(&self) {
        loop {
            let (due, next) = self.lock().due(Instant::now());
            for waiter in due {
                waiter.refuse(TOO_LATE);
            }
            let passed = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Tells everybody: nobody will [watch](Self::watch) the time any more.
    pub(super) fn end(&self, reason: AuditUnavailable) {
        let entries = std::mem::take(&mut *self.lock());
        for Reverse(Entry { waiter, .. }) in entries.heap {
            waiter.refuse(reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Takes out whose time is up, and says when the next one's is.
    fn due(&mut self, now: Instant) -> (Vec<Arc<dyn Expire>>, Option<Instant>) {
        let mut due = Vec::new();
        while self.heap.peek().is_some_and(|Reverse(first)| first.at <= now) {
            due.extend(self.heap.pop().map(|Reverse(entry)| entry.waiter));
        }
        (due, self.heap.peek().map(|Reverse(first)| first.at))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}
