//! Where records go.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sidetrail_record::Record;

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
}

impl<S: Sink + ?Sized> Sink for Arc<S> {
    fn record(&self, record: Record) {
        (**self).record(record);
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
