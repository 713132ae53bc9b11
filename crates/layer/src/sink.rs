//! Where records go.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sidetrail_record::Record;

use crate::Draft;

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
}

impl<S: Sink + ?Sized> Sink for Arc<S> {
    fn record(&self, record: Record) {
        (**self).record(record);
    }

    fn accept(&self, draft: Draft) {
        (**self).accept(draft);
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

impl Sink for MemorySink {
    fn record(&self, record: Record) {
        self.lock().push(record);
    }
}

impl fmt::Debug for MemorySink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemorySink").field("records", &self.lock().len()).finish()
    }
}
