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

/// Trails that began when their collector had accepted events already, or were gone for a while. Of these events they
/// say nothing, so the ranges of a source may begin, and go on, later than they would, where that is between the
/// manifests that say so, and as long as no more is left out by that than had been accepted.
#[derive(Debug, Default)]
struct Late {
    /// By chain.
    pauses: Vec<Vec<Pause>>,
    /// The items that are part of one of these chains, and where they are in it.
    items: HashMap<u32, (usize, u64)>,
}

/// The index that a chain begins at, or goes on with, and how many events may be left out before it.
#[derive(Debug)]
struct Pause {
    index: u64,
    left: u64,
}

impl Late {
    fn note(&mut self, chain: &[Link]) {
        let pauses = chain.chunk_by(|one, other| one.index == other.index).filter_map(|here| {
            let left = here.iter().map(|link| link.events_before).max().filter(|left| *left > 0)?;
            Some(Pause { index: here[0].index, left })
        });
        let pauses: Vec<_> = pauses.collect();
        if !pauses.is_empty() {
            let place = |link: &Link| (link.item, (self.pauses.len(), link.index));
            self.items.extend(chain.iter().map(place));
            self.pauses.push(pauses);
        }
    }

    /// Whether so many events of a source may be left out before the manifest `item`, and after the one that has those
    /// before.
    fn excuses(&mut self, before: Option<u32>, item: u32, mut events: u64) -> bool {
        let Some(&(chain, index)) = self.items.get(&item) else { return false };
        let before = before.and_then(|before| self.items.get(&before)).filter(|(other, _)| *other == chain);
        let is_between =
            |pause: &Pause| pause.index <= index && before.is_none_or(|(_, at)| pause.index > *at);
        let Some(pauses) = self.pauses.get_mut(chain) else { return false };
        let may = pauses.iter().filter(|pause| is_between(pause)).map(|pause| pause.left);
        if may.fold(0, u64::saturating_add) < events {
            return false;
        }
        for pause in pauses.iter_mut().filter(|pause| is_between(pause)) {
            let taken = events.min(pause.left);
            (pause.left, events) = (pause.left - taken, events - taken);
        }
        true
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
    let mut before: Option<&Range> = None;
    let start = ranges[0].first;
    let excused =
        start > 1 && (checker.options.from.is_some() || late.excuses(None, ranges[0].item, start - 1));
    let mut next = if excused { start } else { 1 };
    for range in ranges {
        let Range { trail, source, first, last, item } = range;
        let object = || checker.inventory.manifest_key(&checker.inventory.items[*item as usize]);
        let is_excused = *first > next && late.excuses(before.map(|before| before.item), *item, first - next);
        if *first > next && !is_excused {
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
