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

mod courier;
mod depot;
mod frame;
pub(crate) mod handover;
mod metrics;
mod parcel;
mod receive;
mod session;
#[cfg(feature = "testing")]
pub mod testing;

use std::collections::HashMap;
use std::sync::Arc;

use sidetrail_archive::key::Trail;
use sidetrail_wire::gateway::v1::gateway_server::{Gateway as Service, GatewayServer};
use sidetrail_wire::gateway::v1::{ForwardRequest, ForwardResponse, HandOverRequest, HandOverResponse};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use handover::{FinishedBatch, HandOver, HandOverError};
pub(crate) use metrics::{ForwardMetrics, Metrics};

use crate::StartError;
use crate::config::{Config, Forwarders};
use crate::intake::{Intake, Shared};
use crate::listen::Link;
use crate::trail::{StoreDestination, Wanted, open_store};
use courier::Buckets;
use depot::Depot;
use parcel::Bounds;
use session::Session;

/// Answers that wait for a slow collector; beyond it the session waits.
const MAX_ANSWERS: usize = 64;
/// Parcels that are received at the same time. Each has a manifest and a piece of a log file in memory.
const MAX_RECEIVING: usize = 8;
/// What a message may have beside a frame or a parcel's head.
const MESSAGE_OVERHEAD: usize = 64 << 10;
/// The directory of parcels, below that of the spool: one volume, one owner.
const PARCELS: &str = "parcels";

/// The gateway service.
#[derive(Clone, Debug)]
pub(crate) struct Gateway(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    forwarders: Forwarders,
    /// One for each collector that forwards.
    places: Semaphore,
    receiving: Semaphore,
    depot: Depot,
    /// Set when a parcel has come.
    arrived: Notify,
    /// The trails that ship to a bucket.
    bounds: HashMap<Trail, Bounds>,
    buckets: Buckets,
}

impl Gateway {
    /// Opens what the trails of `config` need to take parcels, and goes on with those that are here, until `end`.
    pub(crate) fn start(
        intake: &Intake,
        config: &Config,
        forwarders: &Forwarders,
        end: &CancellationToken,
    ) -> Result<Self, StartError> {
        let shared = intake.shared();
        let parcels = config.spool.directory.join(PARCELS);
        let depot = Depot::open(&parcels, forwarders.parcels.as_u64())
            .map_err(|error| StartError::Parcels { reason: crate::chain(&error) })?;
        shared.metrics.gateway.parcels(depot.usage());
        let (mut bounds, mut buckets) = (HashMap::new(), Buckets::new());
        for trail in config.trails.iter().filter(|trail| !trail.forwards()) {
            let store = open_store(trail)?;
            let bound = Bounds {
                own: shared.completion.collector,
                home: trail.home(store.prefix().cloned(), config.account.clone()),
                region: config.region.clone(),
                destination: trail.destination.clone(),
            };
            bounds.insert(trail.name.clone(), bound);
            let bucket = StoreDestination::new(store, Handle::current(), Wanted::of(trail), end.clone());
            buckets.insert(trail.name.clone(), Arc::new(bucket.looking_always()));
        }
        let inner = Arc::new(Inner {
            shared,
            forwarders: forwarders.clone(),
            places: Semaphore::new(forwarders.max as usize),
            receiving: Semaphore::new(MAX_RECEIVING),
            depot,
            arrived: Notify::new(),
            bounds,
            buckets,
        });
        tokio::spawn(courier::run(Arc::clone(&inner), end.clone()));
        Ok(Self(inner))
    }

    /// The service, to be served beside that for applications.
    pub(crate) fn server(&self) -> GatewayServer<Self> {
        GatewayServer::new(self.clone())
            .max_decoding_message_size(frame::MAX_FRAME.max(parcel::MAX_HEAD) + MESSAGE_OVERHEAD)
    }
}

impl Inner {
    fn bounds(&self, trail: &Trail) -> Option<Bounds> {
        self.bounds.get(trail).cloned()
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("depot", &self.depot).finish_non_exhaustive()
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
        let link = link(&request)?;
        let peer = link.peer().to_string();
        let session = Session::new(Arc::clone(&self.0), link, request.into_inner(), answers.clone());
        shared.tasks.spawn(async move {
            if let Err(status) = session.run().await {
                let (code, reason) = (status.code(), status.message());
                tracing::info!(?code, reason, peer, "a collector's stream ended");
                // One that is gone does not need to know.
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn hand_over(
        &self,
        request: Request<Streaming<HandOverRequest>>,
    ) -> Result<Response<HandOverResponse>, Status> {
        if self.0.shared.closing.is_cancelled() {
            return Err(Status::unavailable("the gateway is shutting down"));
        }
        let link = link(&request)?;
        // From the start: who waits for a turn is not idle, and after that each message has its time.
        let _welcomed = link.welcome();
        let taken = receive::run(&self.0, request.into_inner()).await;
        taken
            .inspect_err(|status| {
                let (code, reason, peer) = (status.code(), status.message(), link.peer());
                tracing::warn!(?code, reason, %peer, "a parcel was not taken");
            })
            .map(Response::new)
    }
}

/// The connection of a call: every one of ours has one.
fn link<T>(request: &Request<T>) -> Result<Arc<Link>, Status> {
    let link = request.extensions().get::<Arc<Link>>().cloned();
    link.ok_or_else(|| Status::internal("the connection is not known"))
}
