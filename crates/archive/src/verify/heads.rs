//! How far chains have come, and whether they have gone back since an earlier run.

use std::collections::{BTreeMap, HashMap};

use super::object::Tally;
use super::report::{Findings, Kind};
use super::{Checker, Head, Link};
use crate::key::{DigestKey, Id, Trail};

/// The newest of each chain of manifests, and of digests.
pub(super) fn of(checker: &Checker<'_>, tally: &Tally) -> Vec<Head> {
    let same = |one: &Link, other: &Link| (one.collector, &one.trail) == (other.collector, &other.trail);
    let newest = tally.links.chunk_by(same).filter_map(<[Link]>::last).map(|link| Head::Manifests {
        collector: link.collector,
        trail: (*link.trail).clone(),
        object: checker.inventory.manifest_key(&checker.inventory.items[link.item as usize]),
        index: link.index,
        sha256: link.hash,
    });
    let mut heads: Vec<_> = newest.collect();
    heads.extend(checker.digests.heads.iter().cloned());
    heads
}

/// What an earlier run has seen must be there still.
pub(super) fn remembered(checker: &Checker<'_>, tally: &Tally, findings: &mut Findings) {
    let Some(cursor) = &checker.options.cursor else { return };
    let mut chains: HashMap<(Id, &Trail), Vec<&Link>> = HashMap::new();
    for link in &tally.links {
        chains.entry((link.collector, &link.trail)).or_default().push(link);
    }
    let digests: BTreeMap<&DigestKey, _> =
        checker.digests.valid.iter().flatten().map(|valid| (&valid.key, valid.content_sha256)).collect();
    for head in cursor.heads() {
        match head {
            Head::Manifests { collector, trail, object, index, sha256 } => {
                // One outside of the range was not looked for.
                if !checker.options.contains(object.0.minute) || checker.is_other_prefix(&object.0.home) {
                    continue;
                }
                let links = chains.get(&(*collector, trail)).map_or(&[][..], Vec::as_slice);
                let there = links.iter().any(|link| link.index == *index && link.hash == *sha256);
                if !there && !tally.unread {
                    let detail = format!(
                        "an earlier run saw it as manifest {index} of its chain, and it is gone or another"
                    );
                    findings.push(object, Kind::RolledBack, detail);
                }
            }
            Head::Digests { object, end, sha256, .. } => {
                let options = checker.options;
                let outside =
                    options.from.is_some_and(|from| *end <= from) || options.to.is_some_and(|to| *end > to);
                if outside || checker.is_other_prefix(&object.home) {
                    continue;
                }
                if digests.get(object) != Some(sha256) {
                    let detail = "an earlier run saw it as the newest digest, and it is gone or another";
                    findings.push(object, Kind::RolledBack, detail);
                }
            }
        }
    }
}
