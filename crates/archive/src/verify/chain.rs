//! What manifests say together: chains without a hole, and events that are accounted for once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::digests::ExpectedRanges;
use super::object::Tally;
use super::receipts::{self, Losses};
use super::report::{Findings, Kind};
use super::{Checker, Link, Range};
use crate::key::{Id, Trail, Unique};

/// A hole in a chain is looked into index by index up to this size, and reported whole beyond it.
const MAX_HOLE: u64 = 10_000;

/// First and last numbers of events that no manifest accounts for, by trail and source.
type Gaps = HashMap<(Arc<Trail>, Id), Vec<(u64, u64)>>;

/// Checks everything that takes more than one manifest.
pub(super) fn check(checker: &Checker<'_>, tally: &mut Tally) {
    let inventory = checker.inventory;
    // Where a manifest is there but wrong, or could not be read, the chain is not also said to have a hole.
    let unlinked: HashSet<Unique> =
        tally.unlinked.iter().map(|index| inventory.items[*index as usize].unique).collect();
    tally.links.sort_unstable();
    let expected = checker.digests.against_manifests(inventory, checker.options, &unlinked, tally);
    let mut late = Late::default();
    for chain in
        tally.links.chunk_by(|one, other| (one.collector, &one.trail) == (other.collector, &other.trail))
    {
        links(checker, chain, &unlinked, &mut tally.findings);
        late.note(chain);
    }
    tally.ranges.sort_unstable();
    let losses = Losses::new(&tally.receipts, &tally.links);
    let mut gaps = Gaps::new();
    for ranges in tally.ranges.chunk_by(|one, other| (&one.trail, one.source) == (&other.trail, other.source))
    {
        let found = coverage(checker, ranges, &losses, tally.unread, &mut late, &mut tally.findings);
        gaps.insert((ranges[0].trail.clone(), ranges[0].source), found);
    }
    stated(checker, &expected, &gaps, tally);
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
        for (from, to) in holes(link.collector, &link.trail, next, link.index, unlinked) {
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

/// The runs of indexes from `next` up to, and without, `end` that no manifest is there for.
pub(super) fn holes(
    collector: Id,
    trail: &Trail,
    next: u64,
    end: u64,
    unlinked: &HashSet<Unique>,
) -> Vec<(u64, u64)> {
    if end.saturating_sub(next) > MAX_HOLE {
        return vec![(next, end - 1)];
    }
    let mut holes: Vec<(u64, u64)> = Vec::new();
    for index in next..end {
        if unlinked.contains(&Unique::of(collector, trail, index)) {
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
) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
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
            gaps.push((from, to));
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
    gaps
}

/// Events that a digest says a manifest accounted for, and none that is there does. What a hole between ranges has told of
/// already is not told again.
fn stated(checker: &Checker<'_>, expected: &ExpectedRanges, gaps: &Gaps, tally: &mut Tally) {
    for ((trail, source), expected) in expected {
        let range = |range: &Range| (&*range.trail, range.source).cmp(&(trail, *source));
        let from = tally.ranges.partition_point(|it| range(it).is_lt());
        let ranges = tally.ranges[from..].iter().take_while(|it| range(it).is_eq());
        let known = gaps.get(&(Arc::new(trail.clone()), *source)).map_or(&[][..], Vec::as_slice);
        let mut accounted: Vec<_> = ranges.map(|range| (range.first, range.last)).collect();
        accounted.extend(known);
        accounted.sort_unstable();
        for expected in expected {
            for (from, to) in without(expected.first, expected.last, &accounted) {
                let Some(valid) = checker.digests.valid(expected.digest) else { continue };
                let detail = format!(
                    "the digest says that events {from} to {to} of source {source} are accounted for, and no manifest of \
                     trail {trail} does"
                );
                let kind = match tally.unread {
                    // They may be in what the store did not give.
                    true => Kind::CouldNotCheck,
                    false => Kind::Gap { source: *source, from, to },
                };
                tally.findings.push(&valid.key, kind, detail);
            }
        }
    }
}

/// What is left of a range without others, which are sorted by their first number.
fn without(first: u64, last: u64, others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let (mut left, mut next) = (Vec::new(), first);
    for (from, to) in others.iter().filter(|(from, to)| *to >= first && *from <= last) {
        if *from > next {
            left.push((next, from - 1));
        }
        next = next.max(to.saturating_add(1));
    }
    if next <= last {
        left.push((next, last));
    }
    left
}
