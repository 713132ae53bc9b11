//! Delivers records to a collector, from a thread of its own.

mod backlog;
mod codec;
mod deadlines;
mod encode;
mod inbox;
mod session;

use std::{
    fmt, io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use sidetrail_record::{Record, limits};
pub use sidetrail_wire::connect::DEFAULT_COLLECTOR;
use sidetrail_wire::connect::{Address, ClientTls, InvalidAddress};
use tokio::sync::watch;

use self::{
    backlog::Backlog,
    inbox::Inbox,
    session::{Lost, Origin},
};
use crate::{
    BuildError, Draft, Sink,
    delivery::{Permit, Receipt},
    id,
};

/// Records that may wait for the collector, unless the application says otherwise.
const DEFAULT_EVENTS: usize = 16 * 1024;

/// Bytes of them: 16 MiB.
const DEFAULT_BYTES: usize = 16 * 1024 * 1024;

/// Names in Hello are cut here.
const MAX_NAME: usize = 256;

/// What a sender that nobody shut down has left to deliver its queue when the last handle is dropped.
const DEADLINE_ON_DROP: Duration = Duration::from_secs(5);

/// Pauses between attempts to connect: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often a collector out of reach is logged.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Delivers records to a collector over gRPC. It is a [`Sink`]; clones share one queue.
///
/// A thread with a small runtime of its own does the work, so neither the application's runtime nor its load has a say
/// in delivery. Records wait in a bounded queue until the collector has them on disk. It may be away: the sender
/// connects when it can, and sends again what was not acked. What comes while the queue is full is dropped, counted,
/// and reported to the collector, which records the gap.
///
/// When the last clone is dropped the thread has five seconds to deliver what it has. The dropper does not wait; to be
/// sure, use [`Sender::shutdown`].
#[derive(Clone, Debug)]
pub struct Sender(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    inbox: Arc<Inbox>,
    /// How many records were lost in the end, once the end has come.
    ended: watch::Receiver<Option<u64>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inbox.close(DEADLINE_ON_DROP);
    }
}

impl Sender {
    /// A sender for the service of this name.
    pub fn builder(service: impl Into<String>) -> SenderBuilder {
        SenderBuilder {
            service: service.into(),
            instance: None,
            collector: None,
            tls: None,
            events: DEFAULT_EVENTS,
            bytes: DEFAULT_BYTES,
        }
    }

    /// What became of the records so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.inbox.stats()
    }

    /// Takes no more records, delivers those it has, and says goodbye to the collector. What is not acked within the
    /// deadline is lost; the error says how many.
    ///
    /// Call it when the server has stopped. The returned future runs on any runtime.
    pub fn shutdown(
        &self,
        deadline: Duration,
    ) -> impl Future<Output = Result<(), ShutdownError>> + Send + 'static {
        self.0.inbox.close(deadline);
        let mut ended = self.0.ended.clone();
        let inbox = Arc::clone(&self.0.inbox);
        async move {
            let undelivered = match ended.wait_for(Option::is_some).await {
                Ok(undelivered) => undelivered.unwrap_or_default(),
                // The thread is gone without a word.
                Err(_) => inbox.give_up(),
            };
            if undelivered == 0 { Ok(()) } else { Err(ShutdownError { undelivered }) }
        }
    }

    /// As [`shutdown`](Self::shutdown), from a thread that may block.
    pub fn shutdown_blocking(&self, deadline: Duration) -> Result<(), ShutdownError> {
        block_on(self.shutdown(deadline))
    }
}

impl Sink for Sender {
    fn record(&self, record: Record) {
        self.0.inbox.push(record);
    }

    /// The record is made on the sender's thread.
    fn accept(&self, draft: Draft) {
        self.0.inbox.push_draft(draft, None);
    }

    fn store(&self, draft: Draft, within: Duration) -> Receipt {
        let (waiter, receipt) = self.0.inbox.deadlines.wait(within);
        self.0.inbox.push_draft(draft, Some(waiter));
        receipt
    }

    fn intend(&self, intent: Draft, within: Duration) -> (Permit, Receipt) {
        self.0.inbox.intend(intent, within)
    }

    fn reserve(&self, within: Duration) -> Receipt<Permit> {
        self.0.inbox.reserve(within)
    }
}

/// What became of a sender's records: `accepted = acked + queued + dropped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Given to the sender, intents included.
    pub accepted: u64,
    /// On the collector's disk.
    pub acked: u64,
    /// Given up: the queue was full, the sender had ended, or the collector refused.
    pub dropped: u64,
    /// Waiting, or on the way.
    pub queued: u64,
    /// Whether there is a connection right now.
    pub connected: bool,
}

/// The deadline passed before everything was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownError {
    /// Records that are lost.
    pub undelivered: u64,
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} audit records were not delivered in time", self.undelivered)
    }
}

impl std::error::Error for ShutdownError {}

/// Configures a [`Sender`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SenderBuilder {
    service: String,
    instance: Option<String>,
    collector: Option<String>,
    tls: Option<ClientTls>,
    events: usize,
    bytes: usize,
}

impl SenderBuilder {
    /// Where the collector listens: `unix:/run/sidetrail/collector.sock`, `http://127.0.0.1:4319` or, with the feature
    /// `tls`, `https://collector.example.com:4319`. By default what `SIDETRAIL_COLLECTOR` says, else
    /// [`DEFAULT_COLLECTOR`].
    pub fn collector(mut self, address: impl Into<String>) -> Self {
        self.collector = Some(address.into());
        self
    }

    /// What an `https` collector is believed by, and what the sender proves itself with. The files are read anew for
    /// each connection. By default those that `SIDETRAIL_COLLECTOR_CA`, `SIDETRAIL_COLLECTOR_CERTIFICATE` and
    /// `SIDETRAIL_COLLECTOR_KEY` name, and as the SPIFFE id of the collector, if it has one, what
    /// `SIDETRAIL_COLLECTOR_ID` says.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Which instance of the service this is. By default what `SIDETRAIL_INSTANCE` says, else what `HOSTNAME` says, else the host's name, else `unknown`.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = Some(name.into());
        self
    }

    /// How many records, and how many bytes of them, may wait for the collector, those on the way included. 16,384
    /// records and 16 MiB by default.
    pub fn queue(mut self, events: usize, bytes: usize) -> Self {
        (self.events, self.bytes) = (events, bytes);
        self
    }

    /// Starts the sender. It connects when it can.
    pub fn build(self) -> Result<Sender, BuildError> {
        let address = self.collector.or_else(|| env("SIDETRAIL_COLLECTOR"));
        let address = reachable(address.as_deref().unwrap_or(DEFAULT_COLLECTOR), self.tls)
            .map_err(|error| BuildError::Address(error.to_string()))?;
        let cut = |mut name: String| {
            limits::cut(&mut name, MAX_NAME);
            name
        };
        let instance = self
            .instance
            .or_else(|| env("SIDETRAIL_INSTANCE"))
            .or_else(|| env("HOSTNAME"))
            .or_else(host_name)
            .unwrap_or_else(|| "unknown".to_owned());
        let origin = Origin { source: id::uuid(), service: cut(self.service), instance: cut(instance) };
        let inbox = Arc::new(Inbox::new(self.events, self.bytes));
        let (end, ended) = watch::channel(None);
        start(address, origin, Arc::clone(&inbox), end).map_err(BuildError::Thread)?;
        Ok(Sender(Arc::new(Handle { inbox, ended })))
    }

    /// As [`build`](Self::build). What goes wrong is logged, and the sender drops and counts whatever it gets.
    pub(crate) fn build_or_log(self) -> Sender {
        self.build().unwrap_or_else(|error| {
            tracing::error!(%error, "no audit record will be delivered");
            let inbox = Arc::new(Inbox::new(0, 0));
            inbox.give_up();
            Sender(Arc::new(Handle { inbox, ended: watch::channel(Some(0)).1 }))
        })
    }
}

/// The address with what it needs for TLS: as the application says, else as the environment does.
fn reachable(text: &str, tls: Option<ClientTls>) -> Result<Address, InvalidAddress> {
    let address = Address::parse(text)?;
    let tls = match tls {
        None if address.needs_tls() => ClientTls::from_env(env)?,
        tls => tls,
    };
    address.with_tls(tls)
}

/// As Linux tells it; other systems have `HOSTNAME`.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn start(
    address: Address,
    origin: Origin,
    inbox: Arc<Inbox>,
    end: watch::Sender<Option<u64>>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let work = move || {
        runtime.block_on(async {
            tokio::select! {
                () = run(&address, &origin, &inbox) => {}
                () = inbox.deadlines.watch() => {}
                () = inbox.past_deadline() => {}
            }
        });
        let undelivered = inbox.give_up();
        if undelivered > 0 {
            tracing::error!(undelivered, "audit records were not delivered in time");
        }
        end.send_replace(Some(undelivered));
    };
    thread::Builder::new().name("sidetrail-sender".to_owned()).spawn(work).map(drop)
}

/// Connects again and again, until everything is delivered and nothing more will come.
async fn run(address: &Address, origin: &Origin, inbox: &Arc<Inbox>) {
    let mut backlog = Backlog::default();
    let mut pause = PAUSES.0;
    let mut warned: Option<Instant> = None;
    while let Err(Lost { was_connected, reason }) = session::run(address, origin, inbox, &mut backlog).await {
        if inbox.is_closed() && inbox.is_empty() && backlog.is_empty() {
            return;
        }
        if was_connected {
            pause = PAUSES.0;
        }
        if was_connected || warned.is_none_or(|time| time.elapsed() >= WARN_EVERY) {
            tracing::warn!(reason, queued = inbox.stats().queued, "collector is out of reach");
            warned = Some(Instant::now());
        }
        // Half of the pause is random, so that services that lost one collector do not come back as one.
        let half = pause / 2;
        let sleep = tokio::time::sleep(half + half.mul_f64(id::random() as f64 / u64::MAX as f64));
        pause = PAUSES.1.min(pause * 2);
        if inbox.is_closed() {
            sleep.await;
        } else {
            tokio::select! {
                () = sleep => {}
                // There is a deadline now: no time for long pauses.
                () = inbox.closed() => pause = PAUSES.0,
            }
        }
    }
}

/// Runs a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
