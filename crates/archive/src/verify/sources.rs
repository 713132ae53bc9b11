//! Which events of each source valid manifests account for: for the report.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::key::{Id, Trail};
use crate::manifest::{Manifest, Source};

/// What valid manifests say of one source's events for one trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The trail.
    pub trail: Trail,
    /// The source.
    pub source: Id,
    /// The service that sent the events.
    pub service: String,
    /// Which instance of it.
    pub instance: String,
    /// The first number. Gaps between it and the last are findings.
    pub first: u64,
    /// The last number.
    pub last: u64,
    /// Events that are records.
    pub recorded: u64,
    /// Events that the trail does not select.
    pub filtered: u64,
    /// Events that senders lost, and say so.
    pub dropped: u64,
    /// Intents.
    pub intents: u64,
    /// Of those dropped, how many for which reason, where the sender gave one.
    pub drops: BTreeMap<String, u64>,
    /// The highest number that the source says it has given, where it says so.
    pub assigned: Option<u64>,
    /// It said that it ends.
    pub ended: bool,
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

/// All sources, as manifests come.
#[derive(Debug, Default)]
pub(super) struct Sources(BTreeMap<(Trail, Id), Coverage>);

impl Sources {
    pub(super) fn note(&mut self, manifest: &Manifest) {
        let trail = &manifest.chain.trail;
        for source in &manifest.sources {
            let coverage = self.0.entry((trail.clone(), source.source));
            coverage.or_insert_with(|| Coverage::new(trail, source)).add(source);
        }
        for drop in &manifest.drops {
            let Some(coverage) = self.0.get_mut(&(trail.clone(), drop.source)) else { continue };
            let count = coverage.drops.entry(drop.reason.clone()).or_default();
            *count = count.saturating_add(drop.count);
        }
        for heard in &manifest.heard {
            let Some(coverage) = self.0.get_mut(&(trail.clone(), heard.source)) else { continue };
            coverage.assigned = coverage.assigned.max(Some(heard.assigned));
            coverage.ended |= heard.ended;
        }
    }

    /// Every source by trail, service, instance and id.
    pub(super) fn finish(self) -> Vec<Coverage> {
        let mut sources: Vec<_> = self.0.into_values().collect();
        sources.sort_by(|one, other| {
            let order =
                |it: &Coverage| (it.trail.clone(), it.service.clone(), it.instance.clone(), it.source);
            order(one).cmp(&order(other))
        });
        sources
    }
}
