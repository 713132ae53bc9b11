//! From the configuration of a trail to its running worker.

use std::sync::Arc;

use bytes::Bytes;
use sidetrail_archive::key::{Home, Id};
use sidetrail_archive::manifest::PublishedKey;
use sidetrail_archive::store::Store;
use sidetrail_spool::{Committer, Position, Reader};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::destination::StoreDestination;
use super::forward::{Forwarder, Forwarding};
use super::shipper::{Shipper, Trail};
use super::state::{Progress, StateError};
use super::worker::{Surroundings, Worker};
use crate::StartError;
use crate::config::{Config, Gateway, TrailConfig};
use crate::environment::Environment;
use crate::gateway::handover;
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
        if trail.forwards() {
            return self.forward(trail);
        }
        let Self { config, collector, committer, ledger, .. } = *self;
        let name = trail.name.to_string();
        let env = |variable: &str| std::env::var(variable).ok();
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
        if progress.is_forwarding() {
            let reason = "the gateway may have events that are in the spool too; forward once more, until a shutdown \
                          says drained, before it ships itself";
            return Err(StartError::Trail { trail: name, reason: reason.to_owned() });
        }
        tracing::info!(
            trail = name,
            destination = store.name(),
            key = %signer.key_id(),
            queued = progress.queued(accepted),
            "trail opened"
        );

        let give_up = CancellationToken::new();
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
            StoreDestination::new(store, Handle::current(), give_up.clone()),
            committer.cursors(),
            self.readers(),
            progress,
        );
        let gateway = config.gateway.as_ref().map(Gateway::endpoint).transpose();
        let gateway =
            gateway.map_err(|error| StartError::Trail { trail: name.clone(), reason: error.to_string() })?;
        let gateway = gateway.map(|endpoint| {
            let (destination, runtime) = (trail.destination.clone(), Handle::current());
            Box::new(handover::Remote { endpoint, destination, runtime }) as Box<dyn handover::HandOver>
        });
        let surroundings = Surroundings { gateway, ..self.surroundings(&name) };
        Worker::start(shipper, surroundings, give_up).map_err(StartError::Thread)
    }

    /// Opens the state of a trail that forwards, and starts to do so.
    fn forward(&self, trail: &TrailConfig) -> Result<Worker, StartError> {
        let name = trail.name.to_string();
        let cannot = |reason: String| StartError::Trail { trail: name.clone(), reason };
        let gateway = self.config.gateway.as_ref().ok_or_else(|| cannot("there is no gateway".to_owned()))?;
        let endpoint = gateway.endpoint().map_err(|error| cannot(error.to_string()))?;
        let (cursors, accepted) = (self.committer.cursors(), self.ledger.totals().accepted);
        let progress = Progress::load(&cursors, &name, self.committer.durable(), accepted)
            .map_err(|error| cannot(crate::chain(&error)))?;
        if progress.plan().map_err(cannot)?.is_some() {
            let reason = "a batch is under way to its bucket; ship once more, until a shutdown says drained, before it \
                          forwards";
            return Err(cannot(reason.to_owned()));
        }
        let (queued, at) = (progress.queued(accepted), &gateway.endpoint);
        tracing::info!(trail = name, gateway = at, queued, "trail opened");
        let forwarding = Forwarding {
            trail: trail.name.clone(),
            account: self.config.account.clone(),
            region: self.config.region.clone(),
            collector: self.collector,
            endpoint,
            metrics: self.metrics.gateway.trail(&name),
            runtime: Handle::current(),
        };
        let (readers, surroundings) = (self.readers(), self.surroundings(&name));
        Worker::spawn(move |signal| {
            Forwarder::new(forwarding, cursors, readers, progress, surroundings, signal).run()
        })
        .map_err(StartError::Thread)
    }

    fn readers(&self) -> Box<dyn Fn(Position) -> Reader + Send> {
        let committer = self.committer.clone();
        Box::new(move |position| committer.reader(position))
    }

    fn surroundings(&self, name: &str) -> Surroundings {
        let (ledger, release) = (self.ledger.clone(), self.committer.clone());
        Surroundings {
            environment: Arc::clone(self.environment),
            metrics: self.metrics.trail(name),
            accepted: Box::new(move || ledger.totals().accepted),
            shipped: Box::new(move || release.release()),
            gateway: None,
        }
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
