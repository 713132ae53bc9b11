//! From the configuration of a trail to its running worker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sidetrail_archive::key::{Account, Id, Region};
use sidetrail_archive::manifest::{PublishedKey, Workload};
use sidetrail_archive::store::Store;
use sidetrail_spool::{Committer, Position, Reader};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::destination::StoreDestination;
use super::forward::{Forwarder, Forwarding};
use super::protection::{Wanted, Watch};
use super::retired::Retired;
use super::shipper::{Shipper, Trail};
use super::state::{Progress, StateError};
use super::worker::{Next, Surroundings, Worker};
use crate::StartError;
use crate::config::{Config, Gateway, TrailConfig, is_encryption};
use crate::environment::Environment;
use crate::gateway::{HandOver, handover};
use crate::identity;
use crate::ledger::SharedLedger;
use crate::metrics::Metrics;

/// A queue of the spool that is full has room a moment later, or the disk is stuck.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// What trails need of their collector.
pub(crate) struct Opener {
    /// As of the start; of the trails only what a caller gives counts.
    pub(crate) account: Account,
    pub(crate) region: Region,
    pub(crate) directory: PathBuf,
    pub(crate) collector: Id,
    pub(crate) workload: Option<Workload>,
    pub(crate) committer: Committer<SharedLedger>,
    pub(crate) retired: Retired,
    pub(crate) ledger: SharedLedger,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) environment: Arc<dyn Environment>,
    /// As of the start.
    pub(crate) gateway: Option<Gateway>,
    /// Ends requests to every store: a shutdown has no time left for them.
    pub(crate) give_up: CancellationToken,
}

/// A trail that can be run. Nothing is written yet.
pub(crate) struct Prepared {
    name: String,
    /// What signs, for a trail that does.
    key: String,
    /// Where it goes.
    place: String,
    way: Way,
}

enum Way {
    Ships(Box<Next<StoreDestination>>),
    Forwards(Box<Forwarding>),
}

impl Prepared {
    /// The id of the key that signs.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Makes a running trail of this name go on as this. What a trail that forwards needs does not change while it runs.
    pub(crate) fn take_over(self, worker: &Worker) {
        let Self { name, key, place, way } = self;
        if let Way::Ships(next) = way {
            let (trail, destination) = (name, place);
            tracing::info!(trail, destination, key, "trail changes after the batch that it is at");
            worker.change(*next);
        }
    }
}

impl Opener {
    /// Opens what a trail needs: destination and key, or the way to the gateway.
    pub(crate) fn prepare(&self, config: &TrailConfig) -> Result<Prepared, StartError> {
        if config.forwards() { self.prepare_to_forward(config) } else { self.prepare_to_ship(config) }
    }

    fn prepare_to_ship(&self, config: &TrailConfig) -> Result<Prepared, StartError> {
        let name = config.name.to_string();
        let store = open_store(config)?;
        let signer = identity::signer(&self.directory, config.key.as_deref())?;
        let home = config.home(store.prefix().cloned(), self.account.clone());
        let (public_key, object) = PublishedKey::seal(home.clone(), &*signer)
            .map_err(|source| StartError::PublicKey { trail: name.clone(), source })?;
        let key = signer.key_id().to_string();
        let trail = Trail {
            name: config.name.clone(),
            home,
            region: self.region.clone(),
            collector: self.collector,
            workload: self.workload.clone(),
            rotate: config.rotate.clone(),
            signer,
            public_key: (public_key, Bytes::from(object)),
        };
        let place = store.name().to_owned();
        let wanted = Wanted::of(config);
        let watch = Watch {
            trail: name.clone(),
            store: store.clone(),
            wanted: wanted.clone(),
            key: trail.public_key.0.clone(),
            metrics: self.metrics.trail(&name),
            environment: Arc::clone(&self.environment),
        };
        let runtime = Handle::current();
        let destination = StoreDestination::new(store, runtime.clone(), wanted, self.give_up.clone());
        let destination = destination.watched(watch);
        let gateway = self.gateway.as_ref().map(Gateway::endpoint).transpose()?.map(|endpoint| {
            let destination = config.destination.clone();
            Box::new(handover::Remote { endpoint, destination, runtime }) as Box<dyn HandOver>
        });
        let way = Way::Ships(Box::new(Next { trail, destination, gateway }));
        Ok(Prepared { name, key, place, way })
    }

    fn prepare_to_forward(&self, config: &TrailConfig) -> Result<Prepared, StartError> {
        let name = config.name.to_string();
        let Some(gateway) = &self.gateway else {
            let reason = "it forwards, and there is no gateway".to_owned();
            return Err(StartError::Trail { trail: name, reason });
        };
        let endpoint = gateway.endpoint()?;
        let place = endpoint.as_str().to_owned();
        let way = Way::Forwards(Box::new(Forwarding {
            trail: config.name.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            collector: self.collector,
            endpoint,
            metrics: self.metrics.gateway.trail(&name),
            runtime: Handle::current(),
        }));
        Ok(Prepared { name, key: String::new(), place, way })
    }

    /// Goes on with a trail, or begins it at the end of the log, while nothing else runs.
    pub(crate) fn start(&self, prepared: Prepared) -> Result<Worker, StartError> {
        let (accepted, end) = (self.ledger.totals().accepted, self.committer.durable());
        let retired = self.retired.get(&Progress::cursor_name(&prepared.name)).map_err(StateError::from);
        let progress = retired.and_then(|retired| {
            Progress::resume(&self.committer.cursors(), &prepared.name, end, accepted, retired)
        });
        self.run(prepared, progress)
    }

    /// Begins a trail at the end of the log while events come in.
    pub(crate) async fn add(&self, prepared: Prepared) -> Result<Worker, StartError> {
        let closed = || sidetrail_spool::Error::Closed;
        let retired = match self.retired.get(&Progress::cursor_name(&prepared.name)) {
            Ok(retired) => retired,
            Err(error) => return self.run(prepared, Err(error.into())),
        };
        for _ in 0..ATTEMPTS {
            let (tell, told) = tokio::sync::oneshot::channel();
            let (name, committer, cursors) =
                (prepared.name.clone(), self.committer.clone(), self.committer.cursors());
            let retired = retired.clone();
            // On the commit thread the end of the log and the count of events are of the same moment, and no segment goes
            // before the cursor is there to hold it.
            let look = move |ledger: Result<&SharedLedger, sidetrail_spool::Error>| {
                let loaded = ledger.map_err(StateError::from).and_then(|ledger| {
                    let accepted = ledger.totals().accepted;
                    Progress::resume(&cursors, &name, committer.durable(), accepted, retired)
                });
                // Who asked has gone: there is no trail, and the next start forgets the cursor.
                let _ = tell.send(loaded);
            };
            match self.committer.inspect(look) {
                Ok(()) => {
                    let progress = told.await.unwrap_or_else(|_| Err(closed().into()));
                    return self.run(prepared, progress);
                }
                Err(sidetrail_spool::Error::Busy) => tokio::time::sleep(PAUSE).await,
                Err(error) => return self.run(prepared, Err(error.into())),
            }
        }
        self.run(prepared, Err(sidetrail_spool::Error::Busy.into()))
    }

    fn run(&self, prepared: Prepared, progress: Result<Progress, StateError>) -> Result<Worker, StartError> {
        let Prepared { name, key, place, way } = prepared;
        let cannot = |reason: String| StartError::Trail { trail: name.clone(), reason };
        let progress = progress.map_err(|error| cannot(crate::chain(&error)))?;
        let queued = progress.queued(self.ledger.totals().accepted);
        let (cursors, readers, surroundings) =
            (self.committer.cursors(), self.readers(), self.surroundings(&name));
        let worker = match way {
            Way::Ships(next) => {
                if progress.is_forwarding() {
                    let reason = "the gateway may have events that are in the spool too; forward once more, until a \
                                  shutdown says drained, before it ships itself";
                    return Err(cannot(reason.to_owned()));
                }
                let Next { trail, destination, gateway } = *next;
                let shipper = Shipper::new(trail, destination, cursors, readers, progress);
                Worker::start(shipper, Surroundings { gateway, ..surroundings })
            }
            Way::Forwards(forwarding) => {
                if progress.plan().map_err(cannot)?.is_some() {
                    let reason = "a batch is under way to its bucket; ship once more, until a shutdown says drained, \
                                  before it forwards";
                    return Err(cannot(reason.to_owned()));
                }
                Worker::spawn(move |signal, _| {
                    Forwarder::new(*forwarding, cursors, readers, progress, surroundings, signal).run()
                })
            }
        };
        tracing::info!(trail = name, destination = place, key, queued, "trail opened");
        worker.map_err(StartError::Thread)
    }

    fn readers(&self) -> Box<dyn Fn(Position) -> Reader + Send> {
        let committer = self.committer.clone();
        Box::new(move |position| committer.reader(position))
    }

    fn surroundings(&self, name: &str) -> Surroundings {
        let (ledger, release) = (self.ledger.clone(), self.committer.clone());
        Surroundings {
            environment: Arc::clone(&self.environment),
            metrics: self.metrics.trail(name),
            accepted: Box::new(move || ledger.totals().accepted),
            shipped: Box::new(move || release.release()),
            gateway: None,
        }
    }
}

/// Opens the store of a trail that ships.
pub(crate) fn open_store(config: &TrailConfig) -> Result<Store, StartError> {
    // What the configuration says of encryption takes the place of the variables for it, all of them.
    let env = |variable: &str| match &config.encryption {
        Some(encryption) if is_encryption(variable) => encryption.variable(variable),
        _ => std::env::var(variable).ok(),
    };
    Store::open_or_create(&config.destination, &env)
        .map_err(|source| StartError::Destination { trail: config.name.to_string(), source })
}

/// A trail that is not in the configuration any more must not hold back the spool for ever, and nobody knows any more
/// where its events were to go: what a running collector did not get to ship is given up, and said.
pub(crate) fn forget_others(
    committer: &Committer<SharedLedger>,
    config: &Config,
    retired: &Retired,
    accepted: u64,
) -> Result<(), StartError> {
    let cursors = committer.cursors();
    let known: Vec<_> =
        config.trails.iter().map(|trail| Progress::cursor_name(trail.name.as_str())).collect();
    let is_idle = |name: &str| name == super::roster::IDLE;
    if !config.trails.is_empty() && cursors.positions().contains_key(super::roster::IDLE) {
        cursors.remove(super::roster::IDLE).map_err(|error| StartError::Trail {
            trail: super::roster::IDLE.to_owned(),
            reason: crate::chain(&error),
        })?;
    }
    for name in cursors.positions().into_keys().filter(|name| !known.contains(name) && !is_idle(name)) {
        let given_up = Progress::left(&cursors, &name, accepted);
        if given_up == Some(0) {
            tracing::info!(
                cursor = name,
                "a trail is gone from the configuration; it had shipped everything"
            );
        } else {
            tracing::error!(
                cursor = name,
                given_up,
                "a trail is gone from the configuration; what it had not shipped is given up"
            );
        }
        Progress::retire(&cursors, retired, &name)
            .map_err(|error| StartError::Trail { reason: crate::chain(&error), trail: name })?;
    }
    Ok(())
}
