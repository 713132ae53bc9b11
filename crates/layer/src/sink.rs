//! Where records go.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sidetrail_record::Record;

use crate::{
    Draft,
    delivery::{AuditUnavailable, Permit, Receipt},
};

/// Takes finished records. [`Sender`](crate::Sender) delivers them to a collector, [`MemorySink`] keeps them for tests.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot take audit records",
    label = "not a sink",
    note = "`sidetrail::Sender` and `sidetrail::MemorySink` are sinks, and so is any type with `fn record(&self, record: Record)`"
)]
pub trait Sink: Send + Sync + 'static {
    /// Takes one record.
    ///
    /// It is called where the request ended, which may be the destructor of its future or body: it must not block, and
    /// must not panic. What it cannot take it has to count.
    fn record(&self, record: Record);

    /// Takes a call that has just ended: by default as its [record](Self::record), made on the spot. A sink with a thread
    /// of its own leaves that to it, and the caller's answer does not wait.
    fn accept(&self, draft: Draft) {
        self.record(draft.into_record());
    }

    /// As [`accept`](Self::accept), and tells when the record is on disk: for calls that are
    /// [`Durable`](crate::Delivery::Durable). The receipt has to be answered within that time.
    ///
    /// By default the record is taken and the receipt says no: the sink promises nothing.
    fn store(&self, draft: Draft, within: Duration) -> Receipt {
        let _ = within;
        self.accept(draft);
        Receipt::ready(Err(NO_PROMISE))
    }

    /// Takes the intent to serve a call, and tells when it is on disk: for calls that are
    /// [`Guarded`](crate::Delivery::Guarded). A draft of the same call follows, with the permit, whatever the receipt
    /// says. The receipt has to be answered within that time.
    ///
    /// By default the receipt says no.
    fn intend(&self, intent: Draft, within: Duration) -> (Permit, Receipt) {
        let _ = (intent, within);
        (Permit::none(), Receipt::ready(Err(NO_PROMISE)))
    }

    /// Keeps a place for the record of a call that is about to be served: for [`Overflow::Block`](crate::Overflow::Block).
    /// The receipt has to be answered within that time.
    ///
    /// By default there is always room.
    fn reserve(&self, within: Duration) -> Receipt<Permit> {
        let _ = within;
        Receipt::ready(Ok(Permit::none()))
    }
}

const NO_PROMISE: AuditUnavailable = AuditUnavailable::new("this sink cannot promise to store records");

impl<S: Sink + ?Sized> Sink for Arc<S> {
    fn record(&self, record: Record) {
        (**self).record(record);
    }

    fn accept(&self, draft: Draft) {
        (**self).accept(draft);
    }

    fn store(&self, draft: Draft, within: Duration) -> Receipt {
        (**self).store(draft, within)
    }

    fn intend(&self, intent: Draft, within: Duration) -> (Permit, Receipt) {
        (**self).intend(intent, within)
    }

    fn reserve(&self, within: Duration) -> Receipt<Permit> {
        (**self).reserve(within)
    }
}

/// Keeps records in memory, for tests. Clones share the records.
///
/// ```
/// use sidetrail::{AuditLayer, MemorySink};
///
/// let records = MemorySink::default();
/// let layer = AuditLayer::builder("orders.example.com").sink(records.clone()).build()?;
/// // … send requests through the layer …
/// assert!(records.take().is_empty());
/// # drop(layer);
/// # Ok::<(), sidetrail::BuildError>(())
/// ```
#[derive(Clone, Default)]
pub struct MemorySink(Arc<Mutex<Vec<Record>>>);

impl MemorySink {
    /// Takes out what was recorded so far.
    #[must_use]
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its memory is all the disk it has: calls of every [`Delivery`](crate::Delivery) are served.
impl Sink for MemorySink {
    fn record(&self, record: Record) {
        self.lock().push(record);
    }

    fn store(&self, draft: Draft, _: Duration) -> Receipt {
        self.accept(draft);
        Receipt::ready(Ok(()))
    }

    fn intend(&self, _: Draft, _: Duration) -> (Permit, Receipt) {
        (Permit::none(), Receipt::ready(Ok(())))
    }
}

impl fmt::Debug for MemorySink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemorySink").field("records", &self.lock().len()).finish()
    }
}
