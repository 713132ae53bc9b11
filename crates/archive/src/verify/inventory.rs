//! What a bucket lists, in a form that stays small: some hundred bytes for a log file with its manifest.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;

use jiff::{Timestamp, ToSpan};

use super::Options;
use crate::hash::Sha256;
use crate::key::{
    DigestKey, DigestKeyObjectKey, DigestStartKey, Home, KeyObjectKey, LogKey, ManifestKey, Minute, Place,
    QuarantineKey, Region, RevocationKey, TreeKey, Unique,
};
use crate::source::{Bucket, Entry};

/// How much later than a time range a digest may end that covers its end.
const LONGEST_PERIOD_H: i64 = 25;

/// A place that a log file, a manifest, or both lie at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    /// Index into the table of homes and regions.
    pub(super) region: u32,
    pub(super) minute: Minute,
    pub(super) unique: Unique,
    pub(super) log: bool,
    pub(super) manifest: bool,
    /// Stored bytes of the log file, as listed.
    pub(super) log_size: u32,
    /// Stored bytes of the manifest, as listed.
    pub(super) manifest_size: u32,
    /// What tells these bytes of the log file from others: its size, time and ETag.
    pub(super) version: u64,
    /// When the manifest was stored, or the log file where there is none: seconds of the epoch.
    pub(super) modified: Option<u32>,
}

impl Item {
    /// When what is here was stored.
    pub(super) fn modified(&self) -> Option<Timestamp> {
        self.modified.and_then(|second| Timestamp::from_second(second.into()).ok())
    }
}

/// Everything that is to be checked.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    regions: Vec<(Home, Region)>,
    pub(super) items: Vec<Item>,
    pub(super) keys: Vec<KeyObjectKey>,
    pub(super) digest_keys: Vec<DigestKeyObjectKey>,
    pub(super) revocations: Vec<RevocationKey>,
    pub(super) starts: Vec<DigestStartKey>,
    /// By trail and end.
    pub(super) digests: Vec<DigestKey>,
    pub(super) log_files: u64,
    pub(super) manifests: u64,
    pub(super) other: u64,
    /// Stored bytes of log files and manifests.
    pub(super) bytes: u64,
}

impl Inventory {
    /// Lists the bucket. Log files, manifests and digests outside of the time range are left out.
    pub(super) fn list(bucket: &dyn Bucket, options: &Options) -> io::Result<Self> {
        let mut inventory = Self::default();
        let mut known = HashMap::new();
        let prefix = options.prefix.as_ref().map_or_else(String::new, |prefix| format!("{prefix}/"));
        bucket.list(&prefix, &mut |entry| {
            inventory.visit(entry, options, &mut known);
            ControlFlow::Continue(())
        })?;
        inventory.pair();
        let order = |key: &DigestKey| {
            let DigestKey { home, region, trail, home_region, end, backfill } = key.clone();
            (home, region, trail, home_region, backfill, end)
        };
        inventory.digests.sort_by_cached_key(order);
        Ok(inventory)
    }

    fn visit(&mut self, entry: Entry<'_>, options: &Options, known: &mut HashMap<(Home, Region), u32>) {
        let key = entry.key;
        let (place, log) = match (key.parse::<LogKey>(), key.parse::<ManifestKey>()) {
            (Ok(LogKey(place)), _) => (place, true),
            (_, Ok(ManifestKey(place))) => (place, false),
            _ => return self.visit_other(key, options),
        };
        let Place { home, region, minute, unique } = place;
        if !options.contains(minute) {
            return;
        }
        self.bytes = self.bytes.saturating_add(entry.size);
        if log {
            self.log_files += 1;
        } else {
            self.manifests += 1;
        }
        let region = *known.entry((home, region)).or_insert_with_key(|entry| {
            self.regions.push(entry.clone());
            (self.regions.len() - 1) as u32
        });
        let size = u32::try_from(entry.size).unwrap_or(u32::MAX);
        let (log_size, manifest_size) = if log { (size, 0) } else { (0, size) };
        let modified = entry.modified.and_then(|at| u32::try_from(at.as_second()).ok());
        let version = if log { version(&entry) } else { 0 };
        let manifest = !log;
        self.items.push(Item {
            region,
            minute,
            unique,
            log,
            manifest,
            log_size,
            manifest_size,
            version,
            modified,
        });
    }

    fn visit_other(&mut self, key: &str, options: &Options) {
        if let Ok(key) = key.parse() {
            self.keys.push(key);
        } else if let Ok(key) = key.parse::<DigestKey>() {
            let end = key.end.start();
            let early = options.from.is_some_and(|from| end <= from);
            let late = options
                .to
                .is_some_and(|to| to.checked_add(LONGEST_PERIOD_H.hours()).is_ok_and(|last| end > last));
            if !early && !late {
                self.digests.push(key);
            }
        } else if let Ok(key) = key.parse() {
            self.digest_keys.push(key);
        } else if let Ok(key) = key.parse() {
            self.revocations.push(key);
        } else if let Ok(key) = key.parse() {
            self.starts.push(key);
        } else if key.parse::<QuarantineKey>().is_err()
            && DigestKey::of_companion(key).is_none()
            && key.parse::<TreeKey>().is_err()
        {
            // Quarantined frames are read with the manifests that name them, companions and logs with their digests.
            self.other += 1;
        }
    }

    /// Puts each log file and its manifest together.
    fn pair(&mut self) {
        self.items.sort_unstable();
        self.items.dedup_by(|next, item| {
            let same = (next.region, next.minute, next.unique) == (item.region, item.minute, item.unique);
            if same {
                if next.manifest {
                    (item.manifest_size, item.modified) = (next.manifest_size, next.modified);
                }
                if next.log {
                    (item.log_size, item.version) = (next.log_size, next.version);
                }
                item.log |= next.log;
                item.manifest |= next.manifest;
            }
            same
        });
    }

    pub(super) fn manifest_key(&self, item: &Item) -> ManifestKey {
        let (home, region) = self.regions[item.region as usize].clone();
        ManifestKey(Place { home, region, minute: item.minute, unique: item.unique })
    }

    /// The home and region of an item.
    pub(super) fn place(&self, item: &Item) -> &(Home, Region) {
        &self.regions[item.region as usize]
    }

    /// The item that a log file lies at, or its manifest.
    pub(super) fn find(&self, log: &LogKey) -> Option<u32> {
        let Place { home, region, minute, unique } = &log.0;
        let region = self.regions.iter().position(|known| (&known.0, &known.1) == (home, region))? as u32;
        let wanted = (region, *minute, *unique);
        let at = self.items.binary_search_by(|item| (item.region, item.minute, item.unique).cmp(&wanted));
        at.ok().map(|at| at as u32)
    }
}

/// Two listings of an object that give the same number are of the same bytes, as far as a listing can say.
fn version(entry: &Entry<'_>) -> u64 {
    let modified = entry.modified.map_or(-1, Timestamp::as_nanosecond);
    let text = format!("{} {modified} {}", entry.size, entry.etag.unwrap_or_default());
    let hash = Sha256::of(text.as_bytes());
    hash.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
