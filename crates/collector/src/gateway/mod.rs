//! Between collectors: what one takes from others and ships for them, and how the others get it there.
//!
//! ```text
//!  collector ── trail::forward ─ frames ─▶ session ─▶ frame (check) ─▶ spool, ledger ─▶ trails, as everything
//!            └─ handover ─ finished batch ─▶ receive ─▶ depot (fsync) ─▶ courier ─▶ bucket, as it is
//! ```
//!
//! A frame is taken once, whoever brings it and however often: the ledger knows the ranges of each source. A batch that
//! is handed over is signed and named by the collector that made it, so whoever stores it, and however often, stores the
//! same.

mod endpoint;
mod frame;
mod metrics;
mod session;

use std::sync::Arc;

use sidetrail_wire::gateway::v1::gateway_server::{Gateway as Service, GatewayServer};
use sidetrail_wire::gateway::v1::{ForwardRequest, ForwardResponse, HandOverRequest, HandOverResponse};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use endpoint::Endpoint;
pub(crate) use metrics::{ForwardMetrics, Metrics};

use crate::config::Forwarders;
use crate::intake::{Intake, Shared};
use session::Session;

/// Answers that wait for a slow collector; beyond it the session waits.
const MAX_ANSWERS: usize = 64;
/// What a message may have beside a frame or a piece of a log file.
const MESSAGE_OVERHEAD: usize = 64 << 10;

/// The gateway service.
#[derive(Clone, Debug)]
pub(crate) struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    forwarders: Forwarders,
    /// One for each collector that forwards.
    places: Semaphore,
}

impl Gateway {
    pub(crate) fn new(intake: &Intake, forwarders: Forwarders) -> Self {
        let places = Semaphore::new(forwarders.max as usize);
        Self(Arc::new(Inner { shared: intake.shared(), forwarders, places }))
    }

    /// The service, to be served beside that for applications.
    pub(crate) fn server(&self) -> GatewayServer<Self> {
        GatewayServer::new(self.clone()).max_decoding_message_size(frame::MAX_FRAME + MESSAGE_OVERHEAD)
    }
}

#[tonic::async_trait]
impl Service for Gateway {
    type ForwardStream = ReceiverStream<Result<ForwardResponse, Status>>;

    async fn forward(
        &self,
        request: Request<Streaming<ForwardRequest>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        let shared = &self.0.shared;
        if shared.closing.is_cancelled() {
            return Err(Status::unavailable("the gateway is shutting down"));
        }
        let (answers, stream) = mpsc::channel(MAX_ANSWERS);
        let session = Session::new(Arc::clone(&self.0), request.into_inner(), answers.clone());
        shared.tasks.spawn(async move {
            if let Err(status) = session.run().await {
                tracing::info!(code = ?status.code(), reason = status.message(), "a collector's stream ended");
                // One that is gone does not need to know.
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn hand_over(
        &self,
        _request: Request<Streaming<HandOverRequest>>,
    ) -> Result<Response<HandOverResponse>, Status> {
        Err(Status::unimplemented("later in this branch"))
    }
}
