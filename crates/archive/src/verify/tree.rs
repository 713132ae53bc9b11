//! The logs beside the digests: tiles, checkpoints, what a witness saw, and the records themselves where that is asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use super::report::{Findings, Kind};
use crate::key::{DigestKey, TreePlace};
use crate::tlog::audit::{Audit, Fault, Stated, Wrong};

/// Checks the log of each trail and region whose digests have a tree.
pub(super) fn check(checker: &Checker<'_>, findings: &mut Findings) {
    let options = checker.options;
    let mut logs: BTreeMap<TreePlace, Vec<Stated>> = BTreeMap::new();
    for valid in checker.digests.valid.iter().flatten() {
        let Some(tree) = valid.statement.as_ref().and_then(|statement| statement.tree.clone()) else {
            continue;
        };
        let DigestKey { home, region, trail, .. } = valid.key.clone();
        let stated = Stated { digest: valid.key.clone(), tree };
        logs.entry(TreePlace { home, region, trail }).or_default().push(stated);
    }
    let mut seen = BTreeSet::new();
    for (place, mut states) in logs {
        states.sort_by_key(|state| state.digest.end);
        let audit = Audit::new(checker.bucket, place, &states, options.reads);
        let mut faults = audit.tiles();
        if options.records && checker.digests.whole {
            faults.extend(audit.records());
        }
        let newest = states.last().map(|state| state.tree.origin.to_string());
        for (origin, head) in options.witnessed.iter().filter(|(origin, _)| newest.as_ref() == Some(origin)) {
            seen.insert(origin);
            faults.extend(audit.witnessed(*head));
        }
        for fault in faults {
            // Where digests are missing, which is said, those after them go on from what is not there.
            if fault.wrong != Wrong::Contradicts || checker.digests.whole {
                report(fault, findings);
            }
        }
    }
    gone(checker, &seen, findings);
}

/// Logs that a witness saw and no digest speaks of.
fn gone(checker: &Checker<'_>, seen: &BTreeSet<&String>, findings: &mut Findings) {
    let options = checker.options;
    for (origin, head) in options.witnessed.iter().filter(|(origin, _)| !seen.contains(origin)) {
        let place = TreePlace::of_origin(origin);
        if place.is_some_and(|place| checker.is_other_prefix(&place.home)) || head.size == 0 {
            continue;
        }
        if options.from.is_some() {
            let detail = format!("no digest of the range speaks of the log {origin}, which a witness saw");
            findings.push("", Kind::CouldNotCheck, detail);
        } else {
            let leaves = head.size;
            let detail =
                format!("no valid digest speaks of the log {origin}, and a witness saw {leaves} leaves");
            findings.push("", Kind::RolledBack, detail);
        }
    }
}

fn report(fault: Fault, findings: &mut Findings) {
    let Fault { object, wrong, detail } = fault;
    let kind = match wrong {
        Wrong::Missing => Kind::Missing,
        Wrong::Modified => Kind::Modified,
        Wrong::Contradicts => Kind::Contradicted { by: object.clone() },
        Wrong::RolledBack { .. } => Kind::RolledBack,
        Wrong::Rewritten { .. } => Kind::Contradicted { by: "the checkpoint that a witness saw".to_owned() },
        Wrong::CouldNotCheck => Kind::CouldNotCheck,
    };
    findings.push(object, kind, detail);
}
