//! What digests say of manifests, against the manifests that are there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::super::chain::holes;
use super::super::inventory::Inventory;
use super::super::object::Tally;
use super::super::report::{Findings, Kind};
use super::super::{Link, Options};
use super::Digests;
use crate::digest::ChainRange;
use crate::key::{DigestKey, Id, ManifestKey, Trail, Unique};

/// Events that a digest says are accounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Expected {
    pub(in super::super) first: u64,
    pub(in super::super) last: u64,
    /// The digest, by its place in the inventory.
    pub(in super::super) digest: u32,
}

/// By trail and source.
pub(in super::super) type ExpectedRanges = BTreeMap<(Trail, Id), Vec<Expected>>;

impl Digests {
    /// Checks the chains of manifests that digests cover; `tally` has the links, sorted. Gives the events that they are said
    /// to account for.
    pub(in super::super) fn against_manifests(
        &self,
        inventory: &Inventory,
        options: &Options,
        unlinked: &HashSet<Unique>,
        tally: &mut Tally,
    ) -> ExpectedRanges {
        let mut chains: HashMap<(Id, Arc<Trail>), &[Link]> = HashMap::new();
        let same = |one: &Link, other: &Link| (one.collector, &one.trail) == (other.collector, &other.trail);
        for links in tally.links.chunk_by(same) {
            chains.insert((links[0].collector, links[0].trail.clone()), links);
        }
        let mut expected = ExpectedRanges::new();
        let mut covered: HashMap<(Id, &Trail), Vec<(u64, u64)>> = HashMap::new();
        let mut findings = Findings::default();
        for (digest, valid) in self.valid.iter().enumerate() {
            let Some(valid) = valid else { continue };
            let Some(statement) = &valid.statement else { continue };
            for chain in &statement.chains {
                let links = chains.get(&(chain.collector, Arc::new(chain.trail.clone()))).copied();
                let links = links.unwrap_or_default();
                // A hole may be filled by a later digest; nothing is covered twice.
                let before = covered.entry((chain.collector, &chain.trail)).or_default();
                let twice = before.iter().find(|(first, last)| *first <= chain.last && chain.first <= *last);
                if let Some((first, last)) = twice {
                    let detail = format!(
                        "it covers manifests {} to {} of collector {}, and {first} to {last} were covered before",
                        chain.first, chain.last, chain.collector
                    );
                    findings.push(&valid.key, Kind::Malformed, detail);
                }
                match before.last_mut().filter(|(_, last)| last.checked_add(1) == Some(chain.first)) {
                    Some((_, last)) => *last = chain.last,
                    None => before.push((chain.first, chain.last)),
                }
                // With a range that begins in the middle, manifests of before it are not among the links.
                let known = links.first().is_some_and(|link| link.index <= chain.first);
                if options.from.is_some() && !known {
                    continue;
                }
                last(inventory, &valid.key, chain, links, unlinked, &mut findings);
                for range in &chain.sources {
                    let ranges = expected.entry((chain.trail.clone(), range.source)).or_default();
                    ranges.push(Expected { first: range.first, last: range.last, digest: digest as u32 });
                }
            }
        }
        expected.values_mut().for_each(|ranges| ranges.sort_unstable());
        tally.findings.append(findings);
        expected
    }

    /// The keys of manifests that are missing although digests list their log files.
    pub(in super::super) fn missing_manifests(&self, inventory: &Inventory, findings: &mut Findings) {
        for listed in &self.listed {
            let item = &inventory.items[listed.item as usize];
            let Some(valid) = self.valid(listed.digest) else { continue };
            if !item.manifest && valid.statement.is_some() {
                let manifest: ManifestKey = inventory.manifest_key(item);
                let detail = format!("it is not there, and the digest {} lists its log file", valid.key);
                findings.push(manifest, Kind::Missing, detail);
            }
        }
    }
}

/// The last manifest that a digest covers is there and has the stated hash, and so are those before it since the newest that
/// is there. Holes below that are found by what follows them.
fn last(
    inventory: &Inventory,
    digest: &DigestKey,
    chain: &ChainRange,
    links: &[Link],
    unlinked: &HashSet<Unique>,
    findings: &mut Findings,
) {
    let at = links.partition_point(|link| link.index < chain.last);
    let mut there = links[at..].iter().take_while(|link| link.index == chain.last).peekable();
    if let Some(link) = there.peek().copied() {
        if !there.any(|link| link.hash == chain.sha256) {
            let object = inventory.manifest_key(&inventory.items[link.item as usize]);
            let detail = format!("the digest {digest} states another hash of manifest {}", chain.last);
            findings.push(object, Kind::Contradicted { by: digest.to_string() }, detail);
        }
        return;
    }
    let newest = links.last().map(|link| link.index);
    if newest.is_some_and(|newest| newest > chain.last) {
        return;
    }
    let next = newest.map_or(0, |newest| newest + 1).max(chain.first);
    let end = chain.last.saturating_add(1);
    for (from, to) in holes(chain.collector, &chain.trail, next, end, unlinked) {
        let trail = chain.trail.to_string();
        let broken = Kind::ChainBroken { collector: chain.collector, trail, from, to };
        let detail = match from == to {
            true => format!("manifest {from} of the chain is missing, and the digest covers it"),
            false => format!("manifests {from} to {to} of the chain are missing, and the digest covers them"),
        };
        findings.push(digest, broken, detail);
    }
}
