//! Taking events: the gRPC service, one session per stream, and the rendering of batches into frames. And making the
//! records of calls that nobody is left to report on.

mod complete;
mod emitter;
mod frame;
mod intent;
mod render;
mod session;
mod sessions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sidetrail_archive::key::Id;
use sidetrail_spool::{Committer, Error, Kind};
use sidetrail_wire::ingest::unread::{DeliverRequest, ingest_server::Ingest};
use sidetrail_wire::ingest::v1::DeliverResponse;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Response, Status, Streaming};

pub(crate) use complete::Completion;
pub(crate) use render::event_time;
#[cfg(test)]
pub(crate) use {emitter::frame as incomplete_frame, frame::Sender, render::Renderer};

use crate::environment::Environment;
use crate::ledger::SharedLedger;
use crate::listen::Link;
use crate::metrics::Metrics;
use crate::pressure::Pressure;
use crate::selection::Selection;
use session::Session;
pub(crate) use sessions::Gone;
use sessions::Sessions;

/// Answers that wait for a slow sender; beyond it the session waits.
const MAX_ANSWERS: usize = 64;

/// The ingest service.
#[derive(Clone, Debug)]
pub(crate) struct Intake(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) completion: Completion,
    pub(crate) committer: Committer<SharedLedger>,
    /// The committer's ledger.
    pub(crate) ledger: SharedLedger,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) selection: Arc<Selection>,
    /// Set when the collector stops taking events.
    pub(crate) closing: CancellationToken,
    /// Set when the spool has failed for good: the collector has to be started anew.
    pub(crate) failed: CancellationToken,
    sessions: Sessions,
    /// What ends in order before the collector does: streams, of collectors that forward too.
    pub(crate) tasks: TaskTracker,
    /// How long a source may be away, milliseconds.
    grace_ms: AtomicU64,
}

impl Intake {
    pub(crate) fn new(
        (completion, selection): (Completion, Arc<Selection>),
        committer: Committer<SharedLedger>,
        ledger: SharedLedger,
        environment: Arc<dyn Environment>,
        pressure: Arc<Pressure>,
        metrics: Arc<Metrics>,
        failed: CancellationToken,
    ) -> Self {
        let this = Self(Arc::new(Shared {
            completion,
            committer,
            ledger,
            environment,
            pressure,
            metrics,
            selection,
            closing: CancellationToken::new(),
            failed,
            sessions: Sessions::default(),
            tasks: TaskTracker::new(),
            grace_ms: AtomicU64::new(0),
        }));
        let (shared, unix_ms) = (&this.0, this.unix_ms());
        shared.sessions.begin_silent(shared.ledger.not_ended(), unix_ms);
        this
    }

    /// Records as Incomplete, from now on until the end, what sources leave open for longer than `grace`.
    pub(crate) fn record_incomplete(&self, grace: Duration) {
        self.set_grace(grace);
        self.0.tasks.spawn(emitter::run(Arc::clone(&self.0)));
    }

    /// Changes how long a source may be away, from the next look on.
    pub(crate) fn set_grace(&self, grace: Duration) {
        self.0.grace_ms.store(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The time as the collector sees it.
    pub(crate) fn unix_ms(&self) -> i64 {
        self.0.environment.unix_ms()
    }

    /// How many sources went without a goodbye, and the newest so many of them.
    pub(crate) fn silent(&self, count: usize) -> (usize, Vec<(Id, Gone)>) {
        self.0.sessions.silent(count)
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }

    /// Set once nothing more is taken.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }

    /// Ends every session once what it has read is on disk and acked. New ones are turned away.
    pub(crate) async fn close(&self) {
        self.0.closing.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Shared {
    fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms.load(Ordering::Relaxed))
    }

    /// The spool did not take a frame: says so to those whom it concerns beside the one who made it.
    pub(crate) fn not_taken(&self, error: &Error) {
        match error.kind() {
            Kind::Wait => {
                if matches!(error, Error::Full { .. } | Error::DiskFull { .. }) {
                    self.pressure.set_full();
                }
                tracing::warn!(error = %crate::chain(error), "the spool does not take events now");
            }
            Kind::Reject => {}
            Kind::Stop => {
                tracing::error!(error = %crate::chain(error), "the spool has failed");
                self.failed.cancel();
            }
        }
    }
}

#[tonic::async_trait]
impl Ingest for Intake {
    type DeliverStream = ReceiverStream<Result<DeliverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        if self.0.closing.is_cancelled() {
            return Err(Status::unavailable("the collector is shutting down"));
        }
        let (answers, stream) = mpsc::channel(MAX_ANSWERS);
        // Every connection of ours has one.
        let link = request.extensions().get::<Arc<Link>>().cloned();
        let link = link.ok_or_else(|| Status::internal("the connection is not known"))?;
        let (peer, metrics) = (link.peer().to_string(), Arc::clone(&self.0.metrics));
        let session = Session::new(Arc::clone(&self.0), link, request.into_inner(), answers.clone());
        self.0.tasks.spawn(async move {
            let ended = session.run().await;
            metrics.stream_ended(ended.as_ref().map_or_else(Status::code, |()| Code::Ok));
            if let Err(status) = ended {
                tracing::info!(code = ?status.code(), reason = status.message(), peer, "stream ended");
                // A sender that is gone does not need to know.
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
