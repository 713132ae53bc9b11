//! What a bucket lists, in a form that stays small: some forty bytes an object.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;

use super::Options;
use crate::key::{Home, KeyObjectKey, LogKey, ManifestKey, Minute, Place, QuarantineKey, Region, Unique};
use crate::source::Bucket;

/// A place that a log file, a manifest, or both lie at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    /// Index into the table of homes and regions.
    region: u32,
    minute: Minute,
    pub(super) unique: Unique,
    pub(super) log: bool,
    pub(super) manifest: bool,
}

/// Everything that is to be checked.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    regions: Vec<(Home, Region)>,
    pub(super) items: Vec<Item>,
    pub(super) keys: Vec<KeyObjectKey>,
    pub(super) log_files: u64,
    pub(super) manifests: u64,
    pub(super) other: u64,
}

impl Inventory {
    /// Lists the bucket. Log files and manifests outside of the time range are left out.
    pub(super) fn list(bucket: &dyn Bucket, options: &Options) -> io::Result<Self> {
        let mut inventory = Self::default();
        let mut known = HashMap::new();
        let prefix = options.prefix.as_ref().map_or_else(String::new, |prefix| format!("{prefix}/"));
        bucket.list(&prefix, &mut |entry| {
            inventory.visit(entry.key, options, &mut known);
            ControlFlow::Continue(())
        })?;
        inventory.pair();
        Ok(inventory)
    }

    fn visit(&mut self, key: &str, options: &Options, known: &mut HashMap<(Home, Region), u32>) {
        let (place, log) = match (key.parse::<LogKey>(), key.parse::<ManifestKey>()) {
            (Ok(LogKey(place)), _) => (place, true),
            (_, Ok(ManifestKey(place))) => (place, false),
            _ => {
                match key.parse() {
                    Ok(key) => self.keys.push(key),
                    // Those that manifests name are read with them.
                    Err(_) if key.parse::<QuarantineKey>().is_ok() => {}
                    Err(_) => self.other += 1,
                }
                return;
            }
        };
        let Place { home, region, minute, unique } = place;
        if !options.contains(minute) {
            return;
        }
        if log {
            self.log_files += 1;
        } else {
            self.manifests += 1;
        }
        let region = *known.entry((home, region)).or_insert_with_key(|entry| {
            self.regions.push(entry.clone());
            (self.regions.len() - 1) as u32
        });
        self.items.push(Item { region, minute, unique, log, manifest: !log });
    }

    /// Puts each log file and its manifest together.
    fn pair(&mut self) {
        self.items.sort_unstable();
        self.items.dedup_by(|next, item| {
            let same = (next.region, next.minute, next.unique) == (item.region, item.minute, item.unique);
            if same {
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
}
