//! From the configuration of a trail to its running worker.

use std::sync::Arc;

use bytes::Bytes;
use sidetrail_archive::key::{Home, Id};
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

/// What trails need of their collector.
pub(crate) struct Opener<'a> {
    pub(crate) config: &'a Config,
    pub(crate) collector: Id,
    pub(crate) committer: &'a Committer<SharedLedger>,
    pub(crate) ledger: &'a SharedLedger,
    pub(crate) metrics: &'a Metrics,
    pub(crate) environment: &'a Arc<dyn Environment>,
}

impl Opener<'_> {
    /// Opens the destination and the state of a trail, and starts to ship.
    pub(crate) fn start(&self, trail: &TrailConfig) -> Result<Worker, StartError> {
        let Self { config, collector, committer, ledger, metrics, environment } = *self;
        let name = trail.name.to_string();
        // What the configuration says of encryption takes the place of the variables for it, all of them.
        let env = |variable: &str| match &trail.encryption {
            Some(encryption) if is_encryption(variable) => encryption.variable(variable),
            _ => std::env::var(variable).ok(),
        };
        let store = Store::open_or_create(&trail.destination, &env)
            .map_err(|source| StartError::Destination { trail: name.clone(), source })?;
        let signer = identity::signer(&config.spool.directory, trail.key.as_deref())?;
        let home = Home::new(store.prefix().cloned(), config.account.clone());
        let (key, object) = PublishedKey::seal(home.clone(), &*signer)
            .map_err(|source| StartError::PublicKey { trail: name.clone(), source })?;
        let accepted = ledger.totals().accepted;
        let progress = Progress::load(&committer.cursors(), &name, committer.durable(), accepted).map_err(
            |error: StateError| StartError::Trail { trail: name.clone(), reason: crate::chain(&error) },
        )?;
        tracing::info!(
            trail = name,
            destination = store.name(),
            key = %signer.key_id(),
            queued = progress.queued(accepted),
            "trail opened"
        );

        let wanted = Wanted { object_lock: trail.object_lock.clone(), encryption: trail.encryption.clone() };
        let watch = Watch {
            trail: name.clone(),
            store: store.clone(),
            wanted: wanted.clone(),
            key: key.clone(),
            metrics: metrics.trail(&name),
            environment: Arc::clone(environment),
        };
        tokio::spawn(watch.run());

        let readers = {
            let committer = committer.clone();
            Box::new(move |position| committer.reader(position))
        };
        let shipper = Shipper::new(
            Trail {
                name: trail.name.clone(),
                home,
                region: config.region.clone(),
                collector,
                rotate: trail.rotate.clone(),
                signer,
                public_key: (key, Bytes::from(object)),
            },
            StoreDestination::new(store, Handle::current(), wanted),
            committer.cursors(),
            readers,
            progress,
        );
        let (ledger, release) = (ledger.clone(), committer.clone());
        let surroundings = Surroundings {
            environment: Arc::clone(environment),
            metrics: metrics.trail(&name),
            accepted: Box::new(move || ledger.totals().accepted),
            shipped: Box::new(move || release.release()),
        };
        Worker::start(shipper, surroundings).map_err(StartError::Thread)
    }
}

/// A trail that is not in the configuration any more must not hold back the spool for ever.
pub(crate) fn forget_others(
    committer: &Committer<SharedLedger>,
    config: &Config,
) -> Result<(), sidetrail_spool::Error> {
    let cursors = committer.cursors();
    let known: Vec<_> =
        config.trails.iter().map(|trail| Progress::cursor_name(trail.name.as_str())).collect();
    for name in cursors.positions().into_keys().filter(|name| !known.contains(name)) {
        tracing::warn!(
            cursor = name,
            "a trail is gone from the configuration; what it had not shipped is given up"
        );
        cursors.remove(&name)?;
    }
    Ok(())
}
