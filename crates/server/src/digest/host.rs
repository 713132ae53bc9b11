//! Writes the digests of all trails that record and have log file validation, in all regions that are served.
//!
//! Any number of servers, and collectors with the digest role, may do so at once: see `archive::digest`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sidetrail_archive::digest::{Cadence, Digester, Done, Settings};
use sidetrail_archive::key::{Account, Home, Region, Trail};
use sidetrail_archive::sign::{DigestSigner, RsaSigner};
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::config::{ConfigError, DigestConfig, wrong};
use crate::refusal::Refusal;
use crate::trail::check;

/// How often it is looked which trails there are, and whether a digest is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long after a failure it is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(30);
/// Digests that are written at once; more than trails there may be in any sensible organization.
const MAX_WRITERS: usize = 4096;

/// What the digests of a trail are of. Changed settings are another place, and begin anew from what is in the bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    bucket: String,
    home: Home,
    region: Region,
    trail: Trail,
    home_region: Region,
}

#[derive(Debug)]
struct Writer {
    digester: Digester,
    next: Timestamp,
}

/// The writers of a server.
#[derive(Debug)]
pub(crate) struct Host {
    context: Arc<Context>,
    signers: Vec<Arc<dyn DigestSigner>>,
    cadence: Cadence,
    settle: SignedDuration,
    writers: BTreeMap<Place, Writer>,
}

/// Reads the keys that digests are signed with.
pub(crate) fn read_keys(
    config: &DigestConfig,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Arc<dyn DigestSigner>>, ConfigError> {
    let passphrase = config.passphrase.as_ref().map(|it| it.read("digest.passphrase", env)).transpose()?;
    let passphrase = passphrase.as_ref().map(|it| it.expose().as_bytes());
    let mut signers: Vec<Arc<dyn DigestSigner>> = Vec::new();
    for (index, path) in config.keys.iter().enumerate() {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        match RsaSigner::from_pem_with(&text, passphrase) {
            Ok(signer) => signers.push(Arc::new(signer)),
            Err(error) => return wrong(format!("digest.keys[{index}]"), format!("cannot be used: {error}")),
        }
    }
    Ok(signers)
}

impl Host {
    pub(crate) fn new(
        context: Arc<Context>,
        config: &DigestConfig,
        signers: Vec<Arc<dyn DigestSigner>>,
    ) -> Result<Self, ConfigError> {
        let (cadence, settle) = (config.cadence()?, config.settle);
        Ok(Self { context, signers, cadence, settle, writers: BTreeMap::new() })
    }

    /// Writes what is due until it is told to end.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        loop {
            // A step may be given up at any moment.
            tokio::select! {
                () = closing.cancelled() => return,
                () = self.look() => {}
            }
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn look(&mut self) {
        match places(&self.context).await {
            Ok(places) => self.follow(&places),
            Err(Refusal { error, cause }) => {
                tracing::warn!(%error, ?cause, "cannot see which trails have digests");
            }
        }
        for (place, writer) in &mut self.writers {
            // After an outage there are several to write, one after the other.
            while writer.next <= Timestamp::now() {
                step(place, writer).await;
            }
        }
    }

    fn follow(&mut self, places: &[Place]) {
        self.writers.retain(|place, _| places.contains(place));
        for place in places {
            if self.writers.contains_key(place) || self.writers.len() >= MAX_WRITERS {
                continue;
            }
            let Ok(store) = self.context.buckets.get(&place.bucket) else { continue };
            let Place { home, region, trail, .. } = place.clone();
            let settings = Settings {
                home_region: place.home_region.clone(),
                // As the trail's clients know it, a directory too.
                bucket: place.bucket.clone(),
                cadence: self.cadence,
                settle: self.settle,
                ..Settings::new(&store, home, region, trail)
            };
            let digester = Digester::new((*store).clone(), settings, self.signers.clone());
            self.writers.insert(place.clone(), Writer { digester, next: Timestamp::MIN });
        }
    }
}

/// All that there are digests of.
async fn places(context: &Context) -> Result<Vec<Place>, Refusal> {
    let config = &context.config;
    let mut places = Vec::new();
    for (account, versions) in context.state.accounts() {
        let trails = versions.read().await?.state;
        for stored in trails.trails.iter().filter(|it| it.log_file_validation && it.logging.on) {
            let organization = config.organization.as_ref().filter(|_| stored.organization);
            let members = organization.iter().flat_map(|it| it.accounts.iter());
            let own = Account::new(account).ok();
            let regions = config.regions.iter().filter(|region| stored.is_in(region.as_str()));
            let (Ok(trail), Ok(home_region)) =
                (Trail::new(stored.name.as_str()), Region::new(stored.home_region.as_str()))
            else {
                continue;
            };
            for region in regions {
                for account in own.iter().chain(members.clone()) {
                    places.push(Place {
                        bucket: stored.bucket.clone(),
                        home: check::home(stored, account, organization.map(|it| it.id.clone())),
                        region: region.clone(),
                        trail: trail.clone(),
                        home_region: home_region.clone(),
                    });
                }
            }
        }
    }
    Ok(places)
}

async fn step(place: &Place, writer: &mut Writer) {
    let (trail, region) = (place.trail.as_str(), place.region.as_str());
    let now = Timestamp::now();
    match writer.digester.step(now).await {
        Ok(step) => {
            for warning in &step.warnings {
                tracing::warn!(trail, region, warning, "digest");
            }
            match &step.done {
                Done::Nothing => {}
                Done::Wrote(summary) => {
                    let (end, files) = (summary.end.to_string(), summary.log_files);
                    tracing::info!(trail, region, end, files, object = %summary.object, "digest written");
                }
                Done::Adopted(summary) => {
                    tracing::info!(trail, region, object = %summary.object, "digest of another writer");
                }
                Done::PassedOver(object) => {
                    tracing::error!(trail, region, %object, "something else is in the place of a digest");
                }
            }
            // Where it has nothing to do it says when; a step that did something may have more to do at once.
            let soon = now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now);
            writer.next = if step.done == Done::Nothing { step.next.max(soon) } else { step.next };
        }
        Err(error) => {
            tracing::warn!(trail, region, kind = error.kind(), error = %crate::chain(&error), "no digest yet");
            writer.next = now.saturating_add(RETRY).unwrap_or(now);
        }
    }
}
