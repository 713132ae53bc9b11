//! How sure a call is to be recorded, and what it waits for.

use std::{
    any::Any,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_channel::oneshot;

/// A call waits this long for the collector unless the application says otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// What has to be on the collector's disk, and when.
///
/// Whatever a call waits for it waits [a limited time](crate::Builder::deadline); then the caller gets `503` with a
/// problem document, `AuditUnavailable`, in the place of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Delivery {
    /// The record goes to a queue. The answer does not wait.
    #[default]
    Buffered,
    /// The answer waits until the record is on disk.
    ///
    /// An answer that is ready at once, up to 64 KiB, is held back as a whole. Of a longer or a streamed one the end is
    /// held back; where the record cannot be stored it breaks off with an error.
    Durable,
    /// The handler begins when the intent to call it is on disk, and not at all where that cannot be had. If the process
    /// dies before the record of the outcome is on its way, the collector makes one out of the intent, with the
    /// `errorCode` `Incomplete`. Nothing happens without a trace.
    Guarded,
}

/// What happens to calls while the queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// They go on. Their records are dropped and counted, and the gap is recorded.
    #[default]
    Shed,
    /// They wait, before their handlers begin, until there is room for their records.
    Block,
}

/// Why a call was not served, or not answered: its record cannot be stored in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditUnavailable {
    reason: &'static str,
}

impl AuditUnavailable {
    /// With the reason, in words for whoever reads the answer: no names of hosts, no paths.
    #[must_use]
    pub const fn new(reason: &'static str) -> Self {
        Self { reason }
    }

    /// In words.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for AuditUnavailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "audit unavailable: {}", self.reason)
    }
}

impl std::error::Error for AuditUnavailable {}

/// A place kept in a sink for the record of a call that has begun. What is in it is the sink's own; it goes back when it
/// is dropped.
#[derive(Default)]
pub struct Permit(Option<Box<dyn Any + Send + Sync>>);

impl Permit {
    /// With what the sink wants to find again in [`Draft::take_permit`](crate::Draft::take_permit).
    #[must_use]
    pub fn new(place: impl Any + Send + Sync) -> Self {
        Self(Some(Box::new(place)))
    }

    /// For sinks that keep no places.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// What the sink put into it.
    #[must_use]
    pub fn into_place<T: Any>(self) -> Option<Box<T>> {
        self.0?.downcast().ok()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Permit").field("place", &self.0.is_some()).finish()
    }
}

/// What a sink answers in time: that something is stored, or that there is room for it.
///
/// The sink sees to it that it comes to an end: the layer has no clock.
#[derive(Debug)]
#[must_use = "nothing is certain before it is awaited"]
pub struct Receipt<T = ()>(State<T>);

#[derive(Debug)]
enum State<T> {
    Ready(Option<Result<T, AuditUnavailable>>),
    Waiting(oneshot::Receiver<Result<T, AuditUnavailable>>),
}

impl<T> Receipt<T> {
    /// It is done already.
    pub fn ready(result: Result<T, AuditUnavailable>) -> Self {
        Self(State::Ready(Some(result)))
    }

    /// One to be answered later.
    pub fn pending() -> (Promise<T>, Self) {
        let (promise, receipt) = oneshot::channel();
        (Promise(promise), Self(State::Waiting(receipt)))
    }
}

// Nothing in it is pinned.
impl<T> Unpin for Receipt<T> {}

impl<T> Future for Receipt<T> {
    type Output = Result<T, AuditUnavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(result) => {
                Poll::Ready(result.take().unwrap_or(Err(AuditUnavailable::new("asked twice"))))
            }
            State::Waiting(receiver) => Pin::new(receiver)
                .poll(cx)
                .map(|result| result.unwrap_or(Err(AuditUnavailable::new("the audit log has ended")))),
        }
    }
}

/// The other end of a [`Receipt`]. Dropped, it says that the sink has ended.
#[derive(Debug)]
pub struct Promise<T = ()>(oneshot::Sender<Result<T, AuditUnavailable>>);

impl<T> Promise<T> {
    /// Answers. Where nobody waits any more, a [`Permit`] goes back.
    pub fn resolve(self, result: Result<T, AuditUnavailable>) {
        let _ = self.0.send(result);
    }

    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.is_canceled()
    }
}
