//! What manifests say is lost, set aside, or did not come: findings of their own, which the evidence itself admits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::object::read;
use super::report::{Findings, Kind};
use super::{Checker, Link, Range};
use crate::hash::Sha256;
use crate::key::{Id, LogKey, Trail};
use crate::log::MAX_CONTENT;
use crate::manifest::{Heard, Manifest, Taken};

/// Receipts of all manifests, for what takes more than one of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Manifests in whose frames something could not be read or understood.
    lossy: BTreeSet<(Id, Arc<Trail>, u64)>,
    /// The most that a source says it has numbered, by trail, and the manifest that says so.
    assigned: BTreeMap<(Arc<Trail>, Id), (u64, u64, u32)>,
    /// Log files that were in the way, and the manifest that names them.
    taken: Vec<(String, Sha256, u32)>,
}

impl Tally {
    pub(super) fn note(&mut self, item: u32, trail: &Arc<Trail>, manifest: &Manifest) {
        if !manifest.losses.is_empty() || !manifest.quarantined.is_empty() {
            self.lossy.insert((manifest.chain.collector, trail.clone(), manifest.chain.index));
        }
        for Heard { source, arrived, assigned, .. } in &manifest.heard {
            self.hear((trail.clone(), *source), (*assigned, *arrived, item));
        }
        for Taken { key, sha256 } in &manifest.taken {
            if let (Ok(_), Some(hash)) = (key.parse::<LogKey>(), sha256) {
                self.taken.push((key.clone(), *hash, item));
            }
        }
    }

    fn hear(&mut self, source: (Arc<Trail>, Id), said: (u64, u64, u32)) {
        let most = self.assigned.entry(source).or_insert(said);
        *most = (*most).max(said);
    }
}

/// What one manifest says for itself.
pub(super) fn report(manifest: &Manifest, findings: &mut Findings) {
    for loss in &manifest.losses {
        let (from, to) = (loss.from.clone(), loss.to.clone());
        let size = loss.bytes.map_or("an unknown number of".to_owned(), |bytes| bytes.to_string());
        let detail =
            format!("{size} bytes of the spool could not be read, from {from} to {to}: {}", loss.reason);
        findings.push(&manifest.manifest, Kind::SpoolLoss { from, to }, detail);
    }
    for frame in &manifest.quarantined {
        let detail = format!("a frame could not be understood ({}) and was set aside", frame.reason);
        findings.push(&manifest.manifest, Kind::Quarantined { frame: frame.key.to_string() }, detail);
    }
}

/// Whether gaps of sources are where something was lost.
pub(super) struct Losses<'a> {
    tally: &'a Tally,
    places: HashMap<u32, (Id, u64)>,
}

impl<'a> Losses<'a> {
    pub(super) fn new(tally: &'a Tally, links: &[Link]) -> Self {
        let places = match tally.lossy.is_empty() {
            true => HashMap::new(),
            false => links.iter().map(|link| (link.item, (link.collector, link.index))).collect(),
        };
        Self { tally, places }
    }

    /// Whether something was lost after the range `before`, or the start, and up to the range `after`.
    pub(super) fn between(&self, before: Option<&Range>, after: &Range) -> bool {
        let place = |range: &Range| self.places.get(&range.item).copied();
        let Some((collector, to)) = place(after) else { return false };
        let within = |collector, from, to| {
            let bounds = (collector, after.trail.clone(), from)..=(collector, after.trail.clone(), to);
            self.tally.lossy.range(bounds).next().is_some()
        };
        match before.and_then(place) {
            Some((other, from)) if other != collector => {
                within(other, from, u64::MAX) || within(collector, 0, to)
            }
            Some((_, from)) => from <= to && within(collector, from, to),
            None => within(collector, 0, to),
        }
    }
}

/// What sources say they have numbered, against what came of them. `ranges` are sorted.
pub(super) fn arrivals(checker: &Checker<'_>, tally: &Tally, ranges: &[Range], findings: &mut Findings) {
    // What came after the time range is not seen.
    if checker.options.to.is_some() {
        return;
    }
    let mut last: HashMap<(&Trail, Id), u64> = HashMap::new();
    for range in ranges {
        let most = last.entry((&range.trail, range.source)).or_default();
        *most = (*most).max(range.last);
    }
    for ((trail, source), (assigned, arrived, item)) in &tally.assigned {
        let came = last.get(&(&**trail, *source)).copied().unwrap_or(0).max(*arrived);
        if *assigned > came {
            let (from, to) = (came + 1, *assigned);
            let detail =
                format!("source {source} had numbered its events up to {to}, and {from} to {to} never came");
            let object = checker.inventory.manifest_key(&checker.inventory.items[*item as usize]);
            findings.push(object, Kind::NotArrived { source: *source, from, to }, detail);
        }
    }
}

/// Log files without a manifest that another manifest names with their hash are not evidence, and no wonder.
pub(super) fn excuse(checker: &Checker<'_>, tally: &Tally, findings: &mut Findings) {
    for (key, hash, item) in &tally.taken {
        let Ok(bytes) = read(checker.bucket, key, MAX_CONTENT as usize) else { continue };
        if Sha256::of(&bytes) == *hash {
            let manifest =
                checker.inventory.manifest_key(&checker.inventory.items[*item as usize]).to_string();
            let detail = format!("it was found in the way of another log file, as {manifest} says");
            findings.excuse(key, Kind::Superseded { manifest }, detail);
        }
    }
}
