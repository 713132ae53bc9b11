//! What manifests say together: chains without a hole, and events that are accounted for once.

use std::collections::{HashMap, HashSet};

use super::object::Tally;
use super::receipts::{self, Losses};
use super::report::{Findings, Kind};
use super::{Checker, Link, Range};
use crate::key::Unique;

/// A hole in a chain is looked into index by index up to this size, and reported whole beyond it.
const MAX_HOLE: u64 = 10_000;

/// Checks everything that takes more than one manifest.
pub(super) fn check(checker: &Checker<'_>, tally: &mut Tally) {
    let inventory = checker.inventory;
    // Where a manifest is there but wrong, or could not be read, the chain is not also said to have a hole.
    let unlinked: HashSet<Unique> =
        tally.unlinked.iter().map(|index| inventory.items[*index as usize].unique).collect();
    tally.links.sort_unstable();
    let mut late = Late::default();
    for chain in
        tally.links.chunk_by(|one, other| (one.collector, &one.trail) == (other.collector, &other.trail))
    {
        links(checker, chain, &unlinked, &mut tally.findings);
        late.note(chain);
    }
    tally.ranges.sort_unstable();
    let losses = Losses::new(&tally.receipts, &tally.links);
    for ranges in tally.ranges.chunk_by(|one, other| (&one.trail, one.source) == (&other.trail, other.source))
    {
        coverage(checker, ranges, &losses, tally.unread, &mut late, &mut tally.findings);
    }
    receipts::arrivals(checker, &tally.receipts, &tally.ranges, &mut tally.findings);
    receipts::excuse(checker, &tally.receipts, &mut tally.findings);
}

/// One chain, by index.
fn links(checker: &Checker<'_>, chain: &[Link], unlinked: &HashSet<Unique>, findings: &mut Findings) {
    let object = |link: &Link| checker.inventory.manifest_key(&checker.inventory.items[link.item as usize]);
    let broken = |link: &Link, from, to| Kind::ChainBroken {
        collector: link.collector,
        trail: link.trail.to_string(),
        from,
        to,
    };
    let mut before: &[Link] = &[];
    for here in chain.chunk_by(|one, other| one.index == other.index) {
        let link = &here[0];
        for other in &here[1..] {
            let detail = format!("{} is at index {} of the same chain too", object(link), link.index);
            findings.push(object(other), Kind::Forked { other: object(link).to_string() }, detail);
        }
        let next = match before.first() {
            Some(before) => before.index + 1,
            // What lies before the time range is not judged.
            None if checker.options.from.is_some() => link.index,
            None => 0,
        };
        for (from, to) in holes(link, next, unlinked) {
            let detail = match from == to {
                true => format!("manifest {from} of the chain is missing"),
                false => format!("manifests {from} to {to} of the chain are missing"),
            };
            findings.push(object(link), broken(link, from, to), detail);
        }
        if !before.is_empty() && next == link.index {
            for link in here {
                if !before.iter().any(|before| Some(before.hash) == link.previous) {
                    let at = next - 1;
                    let detail = format!("previous is not the hash of {}", object(&before[0]));
                    findings.push(object(link), broken(link, at, at), detail);
                }
            }
        }
        before = here;
    }
}

/// The runs of indexes from `next` up to the link that no manifest is there for.
fn holes(link: &Link, next: u64, unlinked: &HashSet<Unique>) -> Vec<(u64, u64)> {
    if link.index.saturating_sub(next) > MAX_HOLE {
        return vec![(next, link.index - 1)];
    }
    let mut holes: Vec<(u64, u64)> = Vec::new();
    for index in next..link.index {
        if unlinked.contains(&Unique::of(link.collector, &link.trail, index)) {
            continue;
        }
        match holes.last_mut() {
            Some((_, to)) if *to + 1 == index => *to = index,
            _ => holes.push((index, index)),
        }
    }
    holes
}

/// Trails that began when their collector had accepted events already. Of these they say nothing, so the first range of
/// a source may begin anywhere in such a chain, as long as no more is left out by that than had been accepted.
#[derive(Debug, Default)]
struct Late {
    /// Events that may be left out, by chain.
    left: Vec<u64>,
    /// The chains of the items that are part of one of these.
    items: HashMap<u32, usize>,
}

impl Late {
    fn note(&mut self, chain: &[Link]) {
        let before = chain.iter().map(|link| link.events_before).max().unwrap_or(0);
        if before > 0 {
            self.items.extend(chain.iter().map(|link| (link.item, self.left.len())));
            self.left.push(before);
        }
    }

    fn excuses(&mut self, item: u32, events: u64) -> bool {
        let left = self.items.get(&item).and_then(|chain| self.left.get_mut(*chain));
        let rest = left.and_then(|left| Some((left.checked_sub(events)?, left)));
        rest.map(|(rest, left)| *left = rest).is_some()
    }
}

/// The ranges of one source for one trail, by first number.
fn coverage(
    checker: &Checker<'_>,
    ranges: &[Range],
    losses: &Losses<'_>,
    unread: bool,
    late: &mut Late,
    findings: &mut Findings,
) {
    let mut before = None;
    let start = ranges[0].first;
    let excused = start > 1 && (checker.options.from.is_some() || late.excuses(ranges[0].item, start - 1));
    let mut next = if excused { start } else { 1 };
    for range in ranges {
        let Range { trail, source, first, last, item } = range;
        let object = || checker.inventory.manifest_key(&checker.inventory.items[*item as usize]);
        if *first > next {
            let (from, to) = (next, first - 1);
            let detail =
                format!("no manifest of trail {trail} accounts for events {from} to {to} of source {source}");
            let source = *source;
            let (kind, detail) = if unread {
                // The range may be in what the store did not give.
                (Kind::CouldNotCheck, detail)
            } else if losses.between(before, range) {
                (Kind::Lost { source, from, to }, format!("{detail}: a part of the spool was lost there"))
            } else {
                (Kind::Gap { source, from, to }, detail)
            };
            findings.push(object(), kind, detail);
        } else if *first < next {
            let (from, to) = (*first, (*last).min(next - 1));
            let detail = format!("events {from} to {to} of source {source} are accounted for more than once");
            findings.push(object(), Kind::Overlap { source: *source, from, to }, detail);
        }
        next = next.max(last.saturating_add(1));
        before = Some(range);
    }
}
