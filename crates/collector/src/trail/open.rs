//! From the configuration of a trail to its running worker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sidetrail_archive::key::{Account, Home, Id, Region};
use sidetrail_archive::manifest::PublishedKey;
use sidetrail_archive::store::Store;
use sidetrail_spool::Committer;
use tokio::runtime::Handle;

use super::destination::StoreDestination;
use super::protection::{Wanted, Watch};
use super::shipper::{Shipper, Trail};
use super::state::{Progress, StateError};
use super::worker::{Surroundings, Worker};
use crate::StartError;
use crate::config::{Config, TrailConfig, is_encryption};
use crate::environment::Environment;
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
    pub(crate) committer: Committer<SharedLedger>,
    pub(crate) ledger: SharedLedger,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) environment: Arc<dyn Environment>,
}

/// A trail whose destination and key can be used. Nothing is written yet.
pub(crate) struct Prepared {
    trail: Trail,
    destination: StoreDestination,
    name: String,
    key: String,
    /// The destination by name.
    place: String,
}

impl Prepared {
    /// The id of the key that signs.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Makes a running trail of this name go on as this.
    pub(crate) fn take_over(self, worker: &Worker) {
        tracing::info!(
            trail = self.name,
            destination = self.place,
            key = self.key,
            "trail changes after the batch that it is at"
        );
        worker.change(self.trail, self.destination);
    }
}

impl Opener {
    /// Opens the destination and the key of a trail.
    pub(crate) fn prepare(&self, config: &TrailConfig) -> Result<Prepared, StartError> {
        let name = config.name.to_string();
        // What the configuration says of encryption takes the place of the variables for it, all of them.
        let env = |variable: &str| match &config.encryption {
            Some(encryption) if is_encryption(variable) => encryption.variable(variable),
            _ => std::env::var(variable).ok(),
        };
        let store = Store::open_or_create(&config.destination, &env)
            .map_err(|source| StartError::Destination { trail: name.clone(), source })?;
        let signer = identity::signer(&self.directory, config.key.as_deref())?;
        let home = Home::new(store.prefix().cloned(), self.account.clone());
        let (key, object) = PublishedKey::seal(home.clone(), &*signer)
            .map_err(|source| StartError::PublicKey { trail: name.clone(), source })?;
        let key_id = signer.key_id().to_string();
        let trail = Trail {
            name: config.name.clone(),
            home,
            region: self.region.clone(),
            collector: self.collector,
            rotate: config.rotate.clone(),
            signer,
            public_key: (key, Bytes::from(object)),
        };
        let place = store.name().to_owned();
        let wanted =
            Wanted { object_lock: config.object_lock.clone(), encryption: config.encryption.clone() };
        let watch = Watch {
            trail: name.clone(),
            store: store.clone(),
            wanted: wanted.clone(),
            key: trail.public_key.0.clone(),
            metrics: self.metrics.trail(&name),
            environment: Arc::clone(&self.environment),
        };
        let destination = StoreDestination::new(store, Handle::current(), wanted, watch);
        Ok(Prepared { trail, destination, name, key: key_id, place })
    }

    /// Goes on with a trail, or begins it at the end of the log, while nothing else runs.
    pub(crate) fn start(&self, prepared: Prepared) -> Result<Worker, StartError> {
        let (accepted, end) = (self.ledger.totals().accepted, self.committer.durable());
        let progress = Progress::load(&self.committer.cursors(), &prepared.name, end, accepted);
        self.run(prepared, progress)
    }

    /// Begins a trail at the end of the log while events come in.
    pub(crate) async fn add(&self, prepared: Prepared) -> Result<Worker, StartError> {
        let closed = || sidetrail_spool::Error::Closed;
        for _ in 0..ATTEMPTS {
            let (tell, told) = tokio::sync::oneshot::channel();
            let (name, committer, cursors) =
                (prepared.name.clone(), self.committer.clone(), self.committer.cursors());
            // On the commit thread the end of the log and the count of events are of the same moment, and no segment goes
            // before the cursor is there to hold it.
            let look = move |ledger: Result<&SharedLedger, sidetrail_spool::Error>| {
                let loaded = ledger.map_err(StateError::from).and_then(|ledger| {
                    Progress::load(&cursors, &name, committer.durable(), ledger.totals().accepted)
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
        let Prepared { trail, destination, name, key, place } = prepared;
        let progress = progress
            .map_err(|error| StartError::Trail { trail: name.clone(), reason: crate::chain(&error) })?;
        let queued = progress.queued(self.ledger.totals().accepted);
        tracing::info!(trail = name, destination = place, key, queued, "trail opened");
        let readers = {
            let committer = self.committer.clone();
            Box::new(move |position| committer.reader(position))
        };
        let shipper = Shipper::new(trail, destination, self.committer.cursors(), readers, progress);
        let (ledger, release) = (self.ledger.clone(), self.committer.clone());
        let surroundings = Surroundings {
            environment: Arc::clone(&self.environment),
            metrics: self.metrics.trail(&name),
            accepted: Box::new(move || ledger.totals().accepted),
            shipped: Box::new(move || release.release()),
        };
        Worker::start(shipper, surroundings).map_err(StartError::Thread)
    }
}

/// A trail that is not in the configuration any more must not hold back the spool for ever, and nobody knows any more
/// where its events were to go: what a running collector did not get to ship is given up, and said.
pub(crate) fn forget_others(
    committer: &Committer<SharedLedger>,
    config: &Config,
    accepted: u64,
) -> Result<(), sidetrail_spool::Error> {
    let cursors = committer.cursors();
    let known: Vec<_> =
        config.trails.iter().map(|trail| Progress::cursor_name(trail.name.as_str())).collect();
    for name in cursors.positions().into_keys().filter(|name| !known.contains(name)) {
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
        cursors.remove(&name)?;
    }
    Ok(())
}
