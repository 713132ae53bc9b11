//! A running collector: opens everything in the order in which it can fail, and closes it in reverse.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sidetrail_archive::manifest::MakeError;
use sidetrail_archive::store::OpenError;
use sidetrail_spool::{Bounds, Committer, Hooks, Options, OsFs, Writer};
use sidetrail_wire::control::v1::Assignment;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::TlsError;
use crate::config::{Config, ConfigError, Workload};
use crate::control::{self, AssignmentError, Assignments, Link, Orders, Reporter, merged};
use crate::digests::{DigestError, Digests};
use crate::environment::Environment;
use crate::flush::Announcement;
use crate::gateway::Gateway;
use crate::health::{self, Health};
use crate::identity::{self, IdentityError};
use crate::intake::{Completion, Intake};
use crate::ledger::SharedLedger;
use crate::listen::{Gate, SocketFile, bind_socket};
use crate::metrics::Metrics;
use crate::pressure::Pressure;
use crate::reload::{self, ReloadError};
use crate::selection::{Choosers, Selection};
use crate::space::{self, Space};
use crate::trail::{Opener, Retired, Roster, Wakers, Worker};
use crate::{digests, serve, trail};

/// How often a shutdown looks whether the trails are through.
const DRAIN_POLL: Duration = Duration::from_millis(10);
/// How long a server may take to hear that the collector ends.
const GOODBYE: Duration = Duration::from_secs(1);
/// The share of a shutdown, as a divisor, that the stores have. What they have not taken by then is left to the gateway.
const HAND_OVER_AFTER: u32 = 2;

/// Why a collector does not start. Nothing was taken and nothing is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The selectors of a trail.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
    /// What a server said last.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
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
    /// What the writer of digests needs.
    #[error("digests cannot be written")]
    Digest(#[from] DigestError),
    /// The files for TLS.
    #[error("listen.tls cannot be used")]
    Tls(#[from] TlsError),
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
    trails: Roster,
    digests: Digests,
    /// What the file says.
    file: Config,
    /// What a server said, if there is one.
    assignment: Option<Assignment>,
    /// What it goes by: both of these.
    config: Config,
    orders: Option<Orders>,
    /// Ends the link to the server.
    unlink: CancellationToken,
    /// Whether a change of it waits for a restart.
    pending: Vec<&'static str>,
    gate: Arc<Gate>,
    metrics: Arc<Metrics>,
    selection: Arc<Selection>,
    intake: Intake,
    failed: CancellationToken,
    end: CancellationToken,
    servers: TaskTracker,
    health_address: Option<std::net::SocketAddr>,
    announcement: Arc<Announcement>,
    _socket: Option<SocketFile>,
}

impl Collector {
    /// Opens the spool, goes on with what is in it, and listens. Must be called on a multi-threaded tokio runtime.
    ///
    /// Where trails come from a server alone, and it never said any, this waits for it.
    pub async fn start(file: Config, environment: Arc<dyn Environment>) -> Result<Self, StartError> {
        let mut assignment = match &file.control {
            Some(_) => control::kept(&file.spool.directory)?,
            None => None,
        };
        let mut config = merged(&file, assignment.as_ref())?;
        // Before anything is opened: a trail must not take a thing that it should not.
        let selection = Arc::new(Selection::default());
        selection.set(Choosers::of(&config)?);
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
        let (servers, unlink) = (TaskTracker::new(), CancellationToken::new());
        let mut orders = match &file.control {
            Some(control) => {
                let revision = assignment.as_ref().map(|it| it.revision.clone()).unwrap_or_default();
                let hello = control::hello(&file, collector, environment.unix_ms(), revision);
                let (link, orders, copier) =
                    Link::new(control, hello, Arc::clone(&environment), unlink.clone())?;
                // A name that no trail can have.
                let mut wakers = wakers.lock().unwrap_or_else(PoisonError::into_inner);
                wakers.insert(String::new(), Box::new(copier.waker()));
                drop(wakers);
                copier.start(committer.clone()).map_err(StartError::Thread)?;
                servers.spawn(link.run());
                Some(orders)
            }
            None => None,
        };
        if let Some(orders) = &mut orders
            && config.trails.is_empty()
            && assignment.is_none()
        {
            tracing::info!("there are no trails yet: waiting for the server to say some");
            (config, assignment) = first(orders, &file, &selection).await?;
        }
        let retired = Retired::new(&directory);
        trail::forget_others(&committer, &config, &retired, ledger.totals().accepted)?;
        let gate = Gate::new(Gate::check(&config.listen)?, metrics.connections.clone());
        let planned = Digests::plan(&config)?;
        let mut digests = Digests::new(Arc::clone(&metrics), Arc::clone(&environment));
        let opener = Opener {
            account: config.account.clone(),
            region: config.region.clone(),
            directory: directory.clone(),
            collector,
            workload: config.workload.as_ref().map(Workload::to_manifest),
            committer: committer.clone(),
            retired,
            ledger: ledger.clone(),
            metrics: Arc::clone(&metrics),
            environment: Arc::clone(&environment),
            gateway: config.gateway.clone(),
            give_up: CancellationToken::new(),
        };
        let mut trails = Roster::new(opener, wakers);
        trails.start(&config.trails)?;
        digests.apply(planned).await?;

        let completion =
            Completion { account: config.account.clone(), region: config.region.clone(), collector };
        metrics.reload.took(&config.hash, 0, environment.unix_ms());
        let intake = Intake::new(
            (completion, Arc::clone(&selection)),
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
            digests,
            file,
            assignment,
            config,
            orders,
            unlink,
            pending: Vec::new(),
            gate,
            metrics,
            selection,
            intake,
            failed,
            end: CancellationToken::new(),
            servers,
            health_address: None,
            announcement: Arc::default(),
            _socket: None,
        };
        this.listen(pressure).await?;
        this.intake.record_incomplete(this.config.intents.grace());
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

    /// What it goes by now: the configuration that it was last given, but for what needs a restart.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Goes by another configuration from now on, as far as that goes without a restart. If anything in it cannot be used
    /// the old one stays in force as a whole.
    ///
    /// Trails come, go and change; a batch that was decided is stored where it was to be. A trail that is removed ships
    /// what had come, for at most ten minutes. Connections go on, but for those of peers that are no longer allowed.
    pub async fn reload(&mut self, config: Result<Config, ConfigError>) -> Result<(), ReloadError> {
        let result = match config {
            Ok(config) => self.take_over(config, None).await,
            Err(error) => Err(error.into()),
        };
        match &result {
            Ok(()) => self.metrics.reload.succeeded(),
            Err(_) => self.metrics.reload.failed(),
        }
        result
    }

    /// Says when [`obey`](Self::obey) has something to do.
    #[must_use]
    pub fn assignments(&self) -> Assignments {
        Assignments(self.orders.as_ref().map(Orders::watch))
    }

    /// Fills the trails that the server wants filled, if these are others than now. If that cannot be done the server is
    /// told why, and everything stays as it is; call it again every few seconds.
    pub async fn obey(&mut self) {
        let revision = self.assignment.as_ref().map_or("", |assignment| assignment.revision.as_str());
        let Some(assignment) = self.orders.as_ref().and_then(|orders| orders.other_than(revision)) else {
            return;
        };
        let revision = assignment.revision.clone();
        let result = self.take_over(self.file.clone(), Some(assignment)).await;
        let problem = result.as_ref().err().map(|error| crate::chain(error)).unwrap_or_default();
        match &result {
            Ok(()) => {
                tracing::info!(
                    revision,
                    trails = self.config.trails.len(),
                    "trails of the server taken over"
                );
            }
            Err(_) => {
                tracing::error!(
                    revision,
                    problem,
                    "what the server wants cannot be done; all stays as it is"
                );
            }
        }
        if let Some(orders) = &self.orders {
            orders.tell(&revision, problem);
        }
    }

    /// Goes by a file, and by what a server says or, where that is left out, said.
    async fn take_over(&mut self, mut file: Config, said: Option<Assignment>) -> Result<(), ReloadError> {
        let pending = reload::keep_what_needs_a_restart(&self.file, &mut file);
        let config = merged(&file, said.as_ref().or(self.assignment.as_ref()))?;
        config.check()?;
        let rules = Gate::check(&config.listen)?;
        let trails = self.trails.plan(&config.trails)?;
        let digests = Digests::plan(&config)?;
        let choosers = Choosers::of(&config)?;
        self.committer.set_budget(config.spool.budget.as_u64())?;
        if let Some(said) = said {
            // Before it is in force: a start that does not know a trail forgets what that has to ship.
            control::keep(&config.spool.directory, &said)?;
            self.assignment = Some(said);
        }
        // From here on nothing is turned down but by the spool, which then has failed for good.
        // Selectors first: a trail that is added finds itself in the frames from its beginning on.
        self.selection.set(choosers);
        self.trails.apply(trails).await?;
        self.digests.apply(digests).await?;
        self.gate.change(rules);
        self.intake.set_grace(config.intents.grace());
        if !pending.is_empty() && pending != self.pending {
            tracing::warn!(keys = ?pending, "these changes of the configuration need a restart");
        }
        self.metrics.reload.took(&config.hash, pending.len(), self.intake.unix_ms());
        self.pending = pending;
        (self.file, self.config) = (file, config);
        Ok(())
    }

    /// How many senders are connected, and whether one ever sent something.
    #[must_use]
    pub fn senders(&self) -> (u64, bool) {
        (self.metrics.open_streams(), self.ledger.totals().accepted > 0)
    }

    /// Waits until the end is announced over `/flush`. Call [`Collector::flush`] then.
    pub async fn end_announced(&self) {
        self.announcement.made().await;
    }

    /// Ships at once from now on, and takes events as ever.
    pub fn flush(&self) {
        self.trails.flush(true);
    }

    /// What a shutdown that begins now may take: the configured time, counted from when the end was announced.
    #[must_use]
    pub fn shutdown_timeout(&self) -> Duration {
        self.announcement.left_of(self.config.shutdown_timeout(), Instant::now())
    }

    /// Looks after what takes its time, such as trails that were removed. Call it every few seconds.
    pub fn look_after(&mut self) {
        if self.announcement.expire(self.config.shutdown_timeout(), Instant::now()) {
            tracing::warn!(
                "the end was announced and did not come; trails ship as they are configured again"
            );
            self.trails.flush(false);
        }
        self.trails.look_after();
        self.metrics.reload.unsettled(self.trails.unsettled());
    }

    /// Takes nothing more, acks what was taken, and ships what it can before `timeout` is over.
    pub async fn shutdown(mut self, timeout: Duration) -> Ended {
        let began = Instant::now();
        // Nobody waits for a digest: the period that has begun gets it from whoever comes next.
        self.digests.stop().await;
        let deadline = began + timeout;
        if tokio::time::timeout_at(deadline, self.intake.close()).await.is_err() {
            tracing::warn!("streams are still open at the deadline");
        }
        self.end.cancel();
        self.trails.workers().for_each(Worker::drain);
        let mut hand_over_at = Some(began + timeout / HAND_OVER_AFTER);
        while !self.trails.workers().all(Worker::is_finished) && Instant::now() < deadline {
            // Before a shutdown nobody gives up on a store: it may be away for as long as the spool has room.
            if self.config.gateway.is_some() && hand_over_at.take_if(|at| Instant::now() >= *at).is_some() {
                self.trails.hand_over();
            }
            tokio::time::sleep(DRAIN_POLL).await;
        }
        self.unlink.cancel();
        self.trails.workers().for_each(Worker::stop);
        self.servers.close();
        let goodbye = if self.orders.is_some() { GOODBYE } else { DRAIN_POLL * 10 };
        let _ = tokio::time::timeout(goodbye, self.servers.wait()).await;

        let accepted = self.ledger.totals().accepted;
        let mut ended = Ended { drained: true, adds_up: true };
        for (name, worker) in self.trails.into_workers() {
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

    async fn listen(&mut self, pressure: Arc<Pressure>) -> Result<(), StartError> {
        let (config, metrics, gate) = (&self.config, Arc::clone(&self.metrics), Arc::clone(&self.gate));
        let listen_error = |address: String| move |source| StartError::Listen { address, source };
        let health = match config.listen.health {
            Some(address) => Some(health::bind(address).await.map_err(listen_error(address.to_string()))?),
            None => None,
        };
        let gateway = config.forwarders.as_ref();
        let gateway =
            gateway.map(|them| Gateway::start(&self.intake, config, them, &self.end)).transpose()?;
        if let Some(path) = &config.listen.socket {
            let mode = config.listen.socket_mode.0;
            let bound = bind_socket(path, mode).await.map_err(listen_error(path.display().to_string()))?;
            let (listener, file) = bound;
            self._socket = Some(file);
            let incoming = gate.unix(listener, self.end.clone());
            let server = serve::router(&self.intake, gateway.as_ref())
                .serve_with_incoming_shutdown(incoming, self.end.clone().cancelled_owned());
            self.servers.spawn(server);
        }
        if let Some(address) = config.listen.tcp {
            let listener = TcpListener::bind(address).await.map_err(listen_error(address.to_string()))?;
            let incoming = gate.tcp(listener, self.end.clone());
            let server = serve::router(&self.intake, gateway.as_ref())
                .serve_with_incoming_shutdown(incoming, self.end.clone().cancelled_owned());
            self.servers.spawn(server);
        }
        let space = Arc::new(Space::new(&config.spool.directory));
        self.servers.spawn(watch_space(Arc::clone(&space), self.committer.clone(), self.end.clone()));
        if let Some(orders) = &self.orders {
            orders.report(Reporter {
                committer: self.committer.clone(),
                ledger: self.ledger.clone(),
                metrics: Arc::clone(&metrics),
                pressure: Arc::clone(&pressure),
                intake: self.intake.clone(),
            });
            if let Some(assignment) = &self.assignment {
                orders.tell(&assignment.revision, String::new());
            }
        }
        // Last: who is told that the collector is ready can reach it.
        if let Some(listener) = health {
            self.health_address = listener.local_addr().ok();
            let state = Health {
                committer: self.committer.clone(),
                ledger: self.ledger.clone(),
                metrics,
                pressure,
                space,
                digests: self.digests.notes(),
                failed: self.failed.clone(),
                closing: self.intake.closing().clone(),
                announcement: Arc::clone(&self.announcement),
            };
            self.servers.spawn(health::serve(listener, state, self.end.clone()));
        }
        Ok(())
    }
}

/// Waits for the first trails that can be used.
async fn first(
    orders: &mut Orders,
    file: &Config,
    selection: &Selection,
) -> Result<(Config, Option<Assignment>), StartError> {
    while let Some(assignment) = orders.said().await {
        let config = merged(file, Some(&assignment)).and_then(|config| config.check().map(|()| config));
        match config.and_then(|config| Ok((Choosers::of(&config)?, config))) {
            Ok((choosers, config)) => {
                selection.set(choosers);
                control::keep(&file.spool.directory, &assignment)?;
                return Ok((config, Some(assignment)));
            }
            Err(error) => {
                let problem = crate::chain(&error);
                tracing::error!(problem, "the trails of the server cannot be used; waiting for others");
                orders.tell(&assignment.revision, problem);
            }
        }
    }
    // The link ends with the collector.
    std::future::pending().await
}

/// Looks how full spool and disk are, until `end`.
async fn watch_space(space: Arc<Space>, committer: Committer<SharedLedger>, end: CancellationToken) {
    let mut ticks = tokio::time::interval(space::LOOK_EVERY);
    while end.run_until_cancelled(ticks.tick()).await.is_some() {
        space.look(committer.usage());
    }
}

/// Reads the files that a configuration names for TLS, as a start would.
pub fn check_files(config: &Config) -> Result<(), StartError> {
    Gate::check(&config.listen)?;
    config.digest.as_ref().map(digests::check).transpose()?;
    Ok(())
}

fn hooks(wakers: &Wakers, pressure: &Arc<Pressure>) -> Hooks {
    let wakers = Arc::clone(wakers);
    let (room, released) = (Arc::clone(pressure), Arc::clone(pressure));
    Hooks {
        durable: Box::new(move |_| {
            for wake in wakers.lock().unwrap_or_else(PoisonError::into_inner).values() {
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
