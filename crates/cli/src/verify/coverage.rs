//! Which events of each source are accounted for, and which keys were believed, noted while the verifier reads.
//!
//! The verifier's report does not say either. So it is given a bucket that looks at the manifests and keys as they pass,
//! and believes them by the same rule: nothing is read twice.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use sidetrail_archive::dsse::MAX_ENVELOPE;
use sidetrail_archive::key::{Id, KeyObjectKey, ManifestKey, Trail};
use sidetrail_archive::manifest::{Manifest, PublishedKey, Source};
use sidetrail_archive::sign::PublicKey;
use sidetrail_archive::source::{Bucket, Entry};

/// What valid manifests say of one source's events for one trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Coverage {
    pub(super) trail: Trail,
    pub(super) source: Id,
    pub(super) service: String,
    pub(super) instance: String,
    /// Gaps between the two are findings.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) recorded: u64,
    pub(super) filtered: u64,
    pub(super) dropped: u64,
    pub(super) intents: u64,
    /// Of those dropped, how many for which reason, where the sender gave one.
    pub(super) drops: BTreeMap<String, u64>,
    /// The highest number that the source says it has given, where it says so.
    pub(super) assigned: Option<u64>,
    /// It said that it ends.
    pub(super) ended: bool,
}

impl Coverage {
    fn new(trail: &Trail, source: &Source) -> Self {
        Self {
            trail: trail.clone(),
            source: source.source,
            service: source.service.clone(),
            instance: source.instance.clone(),
            first: source.first,
            last: source.last,
            recorded: 0,
            filtered: 0,
            dropped: 0,
            intents: 0,
            drops: BTreeMap::new(),
            assigned: None,
            ended: false,
        }
    }

    fn add(&mut self, source: &Source) {
        self.first = self.first.min(source.first);
        self.last = self.last.max(source.last);
        self.recorded = self.recorded.saturating_add(source.recorded);
        self.filtered = self.filtered.saturating_add(source.filtered);
        self.dropped = self.dropped.saturating_add(source.dropped);
        self.intents = self.intents.saturating_add(source.intents);
    }
}

/// A bucket that takes notes.
pub(super) struct Observed<'a> {
    bucket: &'a dyn Bucket,
    given: Option<&'a [PublicKey]>,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    published: Vec<PublicKey>,
    coverage: BTreeMap<(Trail, Id), Coverage>,
}

impl<'a> Observed<'a> {
    /// `given` are the keys to believe; without, those published.
    pub(super) fn new(bucket: &'a dyn Bucket, given: Option<&'a [PublicKey]>) -> Self {
        Self { bucket, given, notes: Mutex::default() }
    }

    /// The keys that were believed, and every source by trail, service, instance and id.
    pub(super) fn finish(self) -> (Vec<PublicKey>, Vec<Coverage>) {
        let Notes { published, coverage } = self.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut coverage: Vec<_> = coverage.into_values().collect();
        coverage.sort_by(|one, other| {
            let order =
                |it: &Coverage| (it.trail.clone(), it.service.clone(), it.instance.clone(), it.source);
            order(one).cmp(&order(other))
        });
        (self.given.map_or(published, <[_]>::to_vec), coverage)
    }

    fn key(&self, key: &KeyObjectKey, bytes: &[u8]) {
        let Ok(published) = PublishedKey::open(bytes) else { return };
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if published.object == *key && !notes.published.contains(&published.public_key) {
            notes.published.push(published.public_key);
        }
    }

    /// The verifier reads all keys before the first manifest.
    fn manifest(&self, key: &ManifestKey, bytes: &[u8]) {
        let opened = match self.given {
            Some(keys) => Manifest::open(bytes, keys),
            None => {
                let keys = self.notes.lock().unwrap_or_else(PoisonError::into_inner).published.clone();
                Manifest::open(bytes, &keys)
            }
        };
        let Ok(manifest) = opened else { return };
        if manifest.manifest != *key {
            return;
        }
        let trail = &manifest.chain.trail;
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        for source in &manifest.sources {
            notes
                .coverage
                .entry((trail.clone(), source.source))
                .or_insert_with(|| Coverage::new(trail, source))
                .add(source);
        }
        for drop in &manifest.drops {
            let Some(coverage) = notes.coverage.get_mut(&(trail.clone(), drop.source)) else { continue };
            let count = coverage.drops.entry(drop.reason.clone()).or_default();
            *count = count.saturating_add(drop.count);
        }
        for heard in &manifest.heard {
            let Some(coverage) = notes.coverage.get_mut(&(trail.clone(), heard.source)) else { continue };
            coverage.assigned = coverage.assigned.max(Some(heard.assigned));
            coverage.ended |= heard.ended;
        }
    }
}

impl Bucket for Observed<'_> {
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> io::Result<()> {
        self.bucket.list(prefix, visit)
    }

    fn open<'a>(&'a self, key: &str) -> io::Result<Box<dyn Read + 'a>> {
        let object = self.bucket.open(key)?;
        let (manifest, published) = (key.parse::<ManifestKey>(), key.parse::<KeyObjectKey>());
        if manifest.is_err() && published.is_err() {
            return Ok(object);
        }
        // One byte more than the verifier takes, so that it refuses what is larger.
        let mut bytes = Vec::new();
        object.take(MAX_ENVELOPE as u64 + 1).read_to_end(&mut bytes)?;
        match (manifest, published) {
            (Ok(key), _) => self.manifest(&key, &bytes),
            (_, Ok(key)) => self.key(&key, &bytes),
            _ => {}
        }
        Ok(Box::new(Cursor::new(bytes)))
    }
}
