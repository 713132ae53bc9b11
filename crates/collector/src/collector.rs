//! A running collector: opens everything in the order in which it can fail, and closes it in reverse.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sidetrail_archive::manifest::MakeError;
use sidetrail_archive::store::OpenError;
use sidetrail_spool::{Bounds, Committer, Hooks, Options, OsFs, Writer};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::environment::Environment;
use crate::gateway::Gateway;
use crate::health::{self, Health};
use crate::identity::{self, IdentityError};
use crate::intake::{Completion, Intake};
use crate::ledger::SharedLedger;
use crate::listen::{SocketFile, bind_socket};
use crate::metrics::Metrics;
use crate::pressure::Pressure;
use crate::trail::{Opener, Worker};
use crate::{serve, trail};

/// How often a shutdown looks whether the trails are through.
const DRAIN_POLL: Duration = Duration::from_millis(10);
/// The share of a shutdown, as a divisor, that the stores have. What they have not taken by then is left to the gateway.
const HAND_OVER_AFTER: u32 = 2;

/// Why a collector does not start. Nothing was taken and nothing is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The spool cannot be opened.
    #[error("cannot open the spool in {directory}")]
    Spool {
        /// The spool directory.
        directory: PathBuf,
        /// What is wrong.
        source: sidetrail_spool::Error,
    },
    /// Id or key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The state of a trail.
    #[error("cannot go on with trail {trail}: {reason}")]
    Trail {
        /// The trail.
        trail: String,
        /// What is wrong.
        reason: String,
    },
    /// The destination of a trail.
    #[error("cannot open the destination of trail {trail}")]
    Destination {
        /// The trail.
        trail: String,
        /// What is wrong.
        source: OpenError,
    },
    /// The directory of parcels.
    #[error("cannot open the parcels of other collectors: {reason}")]
    Parcels {
        /// What is wrong.
        reason: String,
    },
    /// The key of a trail cannot be published.
    #[error("cannot make the public key object of trail {trail}")]
    PublicKey {
        /// The trail.
        trail: String,
        /// What is wrong.
        source: MakeError,
    },
    /// An address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Socket path or address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system gave no thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// How a collector ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether every event is in the store of every trail. If not, the rest is in the spool.
    pub drained: bool,
    /// Whether what the trails have done adds up to what was accepted. False is a defect, or damage of the spool.
    pub adds_up: bool,
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    committer: Committer<SharedLedger>,
    ledger: SharedLedger,
    trails: Vec<(String, Worker)>,
    intake: Intake,
    failed: CancellationToken,
    end: CancellationToken,
    servers: TaskTracker,
    health_address: Option<std::net::SocketAddr>,
    /// There is a gateway to leave to what the stores do not take.
    hands_over: bool,
    _socket: Option<SocketFile>,
}

type Wakers = Arc<Mutex<Vec<Box<dyn Fn() + Send>>>>;

impl Collector {
    /// Opens the spool, goes on with what is in it, and listens. Must be called on a multi-threaded tokio runtime.
    pub async fn start(config: Config, environment: Arc<dyn Environment>) -> Result<Self, StartError> {
        let directory = config.spool.directory.clone();
        let spool_error = |source| StartError::Spool { directory: directory.clone(), source };

        let ledger = SharedLedger::for_segments_of(config.spool.segment.as_u64());
        let options =
            Options::new(config.spool.budget.as_u64()).with_segment_bytes(config.spool.segment.as_u64());
        let (writer, recovery) =
            Writer::open(Arc::new(OsFs), &directory, options, ledger.clone()).map_err(spool_error)?;
        tracing::info!(directory = %directory.display(), ?recovery, "spool opened");
        let pressure = Arc::new(Pressure::default());
        let wakers = Wakers::default();
        let committer =
            Committer::start(writer, Bounds::default(), hooks(&wakers, &pressure)).map_err(spool_error)?;

        let metrics = Arc::new(Metrics::new());
        let failed = CancellationToken::new();
        let collector = identity::collector_id(&directory, &*environment)?;
        trail::forget_others(&committer, &config).map_err(spool_error)?;
        let opener = Opener {
            config: &config,
            collector,
            committer: &committer,
            ledger: &ledger,
            metrics: &metrics,
            environment: &environment,
        };
        let mut trails = Vec::new();
        for trail in &config.trails {
            let worker = opener.start(trail)?;
            let mut wakers = wakers.lock().unwrap_or_else(PoisonError::into_inner);
            wakers.push(Box::new(worker.waker()));
            trails.push((trail.name.to_string(), worker));
        }

        let completion =
            Completion { account: config.account.clone(), region: config.region.clone(), collector };
        let intake = Intake::new(
            completion,
            committer.clone(),
            ledger.clone(),
            environment,
            Arc::clone(&pressure),
            Arc::clone(&metrics),
            failed.clone(),
        );
        let mut this = Self {
            committer,
            ledger,
            trails,
            intake,
            failed,
            end: CancellationToken::new(),
            servers: TaskTracker::new(),
            health_address: None,
            hands_over: config.gateway.is_some(),
            _socket: None,
        };
        this.listen(&config, metrics, pressure).await?;
        this.intake.record_incomplete(config.intents.grace());
        Ok(this)
    }

    /// Where the probes are served, with the port that the system chose if it was to choose.
    #[must_use]
    pub fn health_address(&self) -> Option<std::net::SocketAddr> {
        self.health_address
    }

    /// Waits until the spool has failed for good. The process should end and be started anew: what is on disk is read
    /// again, and senders resend what was not acked.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Takes nothing more, acks what was taken, and ships what it can before `timeout` is over.
    pub async fn shutdown(self, timeout: Duration) -> Ended {
        let began = Instant::now();
        let deadline = began + timeout;
        if tokio::time::timeout_at(deadline, self.intake.close()).await.is_err() {
            tracing::warn!("streams are still open at the deadline");
        }
        self.end.cancel();
        for (_, worker) in &self.trails {
            worker.drain();
        }
        let finished = |(_, worker): &(String, Worker)| worker.is_finished();
        let mut hand_over_at = Some(began + timeout / HAND_OVER_AFTER);
        while !self.trails.iter().all(finished) && Instant::now() < deadline {
            // Before a shutdown nobody gives up on a store: it may be away for as long as the spool has room.
            if self.hands_over && hand_over_at.take_if(|at| Instant::now() >= *at).is_some() {
                for (_, worker) in self.trails.iter().filter(|it| !finished(it)) {
                    worker.hand_over();
                }
            }
            tokio::time::sleep(DRAIN_POLL).await;
        }
        for (_, worker) in &self.trails {
            worker.stop();
        }
        self.servers.close();
        let _ = tokio::time::timeout(DRAIN_POLL * 10, self.servers.wait()).await;

        let accepted = self.ledger.totals().accepted;
        let mut ended = Ended { drained: true, adds_up: true };
        for (name, worker) in self.trails {
            if !worker.is_finished() {
                // In the middle of a request; the process ends with it, and the next start repeats the plan.
                tracing::warn!(trail = name, "the store did not answer; the rest stays in the spool");
                ended.drained = false;
                continue;
            }
            let Some(progress) = worker.join() else {
                ended.drained = false;
                continue;
            };
            if !progress.adds_up(accepted) {
                tracing::error!(trail = name, accepted, counts = ?progress.counts(), "accounting does not add up");
                ended.adds_up = false;
            }
        }
        let committer = self.committer;
        let _ = tokio::task::spawn_blocking(move || committer.shutdown()).await;
        ended
    }

    async fn listen(
        &mut self,
        config: &Config,
        metrics: Arc<Metrics>,
        pressure: Arc<Pressure>,
    ) -> Result<(), StartError> {
        let listen_error = |address: String| move |source| StartError::Listen { address, source };
        let health = match config.listen.health {
            Some(address) => Some(health::bind(address).await.map_err(listen_error(address.to_string()))?),
            None => None,
        };
        let gateway = config.forwarders.as_ref();
        let gateway =
            gateway.map(|them| Gateway::start(&self.intake, config, them, &self.end)).transpose()?;
        if let Some(path) = &config.listen.socket {
            let bound = bind_socket(path).await.map_err(listen_error(path.display().to_string()))?;
            let (listener, file) = bound;
            self._socket = Some(file);
            let incoming = UnixListenerStream::new(listener);
            let server = serve::router(&self.intake, gateway.as_ref())
                .serve_with_incoming_shutdown(incoming, self.end.clone().cancelled_owned());
            self.servers.spawn(server);
        }
        if let Some(address) = config.listen.tcp {
            let listener = TcpListener::bind(address).await.map_err(listen_error(address.to_string()))?;
            let incoming = TcpListenerStream::new(listener);
            let server = serve::router(&self.intake, gateway.as_ref())
                .serve_with_incoming_shutdown(incoming, self.end.clone().cancelled_owned());
            self.servers.spawn(server);
        }
        // Last: who is told that the collector is ready can reach it.
        if let Some(listener) = health {
            self.health_address = listener.local_addr().ok();
            let state = Health {
                committer: self.committer.clone(),
                ledger: self.ledger.clone(),
                metrics,
                pressure,
                failed: self.failed.clone(),
                closing: self.intake.closing().clone(),
            };
            self.servers.spawn(health::serve(listener, state, self.end.clone()));
        }
        Ok(())
    }
}

fn hooks(wakers: &Wakers, pressure: &Arc<Pressure>) -> Hooks {
    let wakers = Arc::clone(wakers);
    let (room, released) = (Arc::clone(pressure), Arc::clone(pressure));
    Hooks {
        durable: Box::new(move |_| {
            for wake in wakers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                wake();
            }
        }),
        released: Box::new(move |result| match result {
            Ok(bytes) if bytes > 0 => released.set_free(),
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %crate::chain(&error), "cannot delete shipped segments now"),
        }),
        room: Box::new(move || room.queue().notify_waiters()),
    }
}
