//! The digests of a trail in a region: one for each period, each naming the one before it, up to now.

use jiff::{SignedDuration, Timestamp};

use super::super::inventory::Inventory;
use super::super::report::{Findings, Kind};
use super::super::{Head, Options};
use super::{Digests, Valid};
use crate::digest::DigestStart;
use crate::key::{DigestKey, DigestStartKey, Second};
use crate::time;

/// Missing digests are named one by one up to this many in a row, and as a range beyond it.
const MAX_NAMED: usize = 1_000;

/// Checks every chain; whether all digests of the range are there and valid.
pub(super) fn check(
    digests: &mut Digests,
    inventory: &Inventory,
    starts: &[DigestStart],
    options: &Options,
    findings: &mut Findings,
) -> bool {
    let mut whole = none_yet(inventory, starts, options, findings);
    let mut heads = Vec::new();
    let mut first = 0;
    let of_one_trail = |one: &DigestKey, other: &DigestKey| {
        let order = |key: &DigestKey| {
            let DigestKey { home, region, trail, home_region, backfill, .. } = key.clone();
            (home, region, trail, home_region, backfill)
        };
        order(one) == order(other)
    };
    for keys in inventory.digests.chunk_by(of_one_trail) {
        let valid = &digests.valid[first..first + keys.len()];
        first += keys.len();
        whole &= valid.iter().all(Option::is_some);
        // What CloudTrail adds for files that its chain has missed is signed and no part of it.
        if keys[0].backfill {
            continue;
        }
        let start = starts.iter().find(|start| is_of(&start.object, &keys[0]));
        let period =
            period(valid).or_else(|| start.map(|start| start.end_time.duration_since(start.start_time)));
        let mut chain = Chain { options, findings, whole: true, period, start };
        chain.walk(keys, valid);
        whole &= chain.whole;
        heads.extend(valid.iter().rev().flatten().next().map(head));
    }
    digests.heads = heads;
    whole
}

fn is_of(start: &DigestStartKey, key: &DigestKey) -> bool {
    let DigestStartKey { home, region, trail, home_region } = start;
    (home, region, trail, home_region) == (&key.home, &key.region, &key.trail, &key.home_region)
}

/// Trails whose digests have a beginning, and of which there is none: whether all that are due are there.
fn none_yet(
    inventory: &Inventory,
    starts: &[DigestStart],
    options: &Options,
    findings: &mut Findings,
) -> bool {
    let mut whole = true;
    for start in starts {
        let is_out = options.from.is_some_and(|from| start.end_time <= from);
        if is_out || inventory.digests.iter().any(|key| is_of(&start.object, key)) {
            continue;
        }
        let DigestStartKey { home, region, trail, home_region } = start.object.clone();
        // As if the one before the first were there.
        let before = Second::of(start.start_time);
        let last = DigestKey { home, region, trail, home_region, end: before, backfill: false };
        let period = Some(start.end_time.duration_since(start.start_time));
        let mut chain = Chain { options, findings, whole: true, period, start: Some(start) };
        if let Some(until) = chain.due() {
            let missing = chain.periods(&last, until);
            chain.name(
                &missing,
                &format!("{} says that digests begin there, and there is none", start.object),
            );
        }
        whole &= chain.whole;
    }
    whole
}

/// How long periods are, by those that are there.
fn period(valid: &[Option<Valid>]) -> Option<SignedDuration> {
    valid.iter().rev().flatten().map(|valid| valid.end.duration_since(valid.start)).next()
}

fn head(valid: &Valid) -> Head {
    Head::Digests {
        home: Head::home_name(&valid.key.home),
        region: valid.key.region.clone(),
        trail: valid.key.trail.clone(),
        object: valid.key.clone(),
        end: valid.end,
        sha256: valid.content_sha256,
    }
}

struct Chain<'a> {
    options: &'a Options,
    findings: &'a mut Findings,
    whole: bool,
    period: Option<SignedDuration>,
    /// Where the digests begin, if somebody says so.
    start: Option<&'a DigestStart>,
}

impl Chain<'_> {
    /// `keys` are those of one trail by end, and `valid` what was found of each.
    fn walk(&mut self, keys: &[DigestKey], valid: &[Option<Valid>]) {
        // What lies before the time range is not judged.
        let mut before: Option<(&DigestKey, Option<&Valid>)> = None;
        for (key, valid) in keys.iter().zip(valid) {
            match (before, valid) {
                (None, Some(valid)) => self.first(valid),
                (Some((previous, known)), Some(valid)) => self.link(previous, known, valid),
                // Of one that is not to be believed the key still says when its period ended.
                (Some((previous, _)), None) => {
                    let start = self.period.and_then(|period| key.end.start().checked_sub(period).ok());
                    self.gap(previous, start.unwrap_or(previous.end.start()), None);
                }
                (None, None) => {}
            }
            before = Some((key, valid.as_ref()));
        }
        if let Some((last, _)) = before {
            self.head(last);
        }
    }

    fn first(&mut self, valid: &Valid) {
        let Some(previous) = &valid.previous else {
            if let Some(start) = self.start.filter(|start| start.end_time < valid.end) {
                let before = DigestKey { end: Second::of(start.start_time), ..valid.key.clone() };
                let missing = self.periods(&before, valid.start);
                self.name(&missing, &format!("{} says that digests begin there", start.object));
            }
            return;
        };
        // With a range that begins in the middle, the one before may lie before it.
        if self.options.from.is_none_or(|from| previous.object.end.start() > from) {
            let detail = format!("the digest {} follows it, and it is not there", valid.key);
            self.missing(&previous.object, detail);
        }
    }

    /// Two digests with none in between.
    fn link(&mut self, previous: &DigestKey, known: Option<&Valid>, valid: &Valid) {
        let end = previous.end.start();
        if valid.start > end {
            let named = valid.previous.as_ref().map(|previous| &previous.object);
            match named {
                // It says that nothing came before it, or that the one that is there did: the periods between were left out.
                None => return self.restarted(previous, valid),
                Some(named) if named == previous => {
                    let detail = format!("there is no digest from {end} to {}", valid.start);
                    return self.broken(previous, valid, detail);
                }
                Some(named) => return self.gap(previous, valid.start, Some((named, valid))),
            }
        }
        if valid.start < end {
            let detail = format!("its period begins before that of {previous} has ended");
            return self.broken(previous, valid, detail);
        }
        let Some(link) = &valid.previous else { return self.restarted(previous, valid) };
        if link.object != *previous {
            return self.broken(previous, valid, format!("it names {} as the one before it", link.object));
        }
        let Some(known) = known else { return };
        if link.hash != known.content_sha256 {
            self.broken(previous, valid, format!("previousDigestHashValue is not the hash of {previous}"));
        } else if link.signature != known.signature {
            self.broken(previous, valid, format!("previousDigestSignature is not that of {previous}"));
        }
    }

    /// Names every digest of the periods from the end of `previous` to `until`; `next` is what the one after them names as
    /// the last of them.
    fn gap(&mut self, previous: &DigestKey, until: Timestamp, next: Option<(&DigestKey, &Valid)>) {
        let mut missing = self.periods(previous, until);
        if let Some((named, _)) = next
            && missing.last() != Some(named)
        {
            missing.push(named.clone());
        }
        let after = next.map_or_else(String::new, |(_, valid)| format!(", before {}", valid.key));
        self.name(&missing, &format!("it is not there, after {previous}{after}"));
    }

    fn name(&mut self, missing: &[DigestKey], detail: &str) {
        for key in missing.iter().take(MAX_NAMED) {
            self.missing(key, detail.to_owned());
        }
        if let (Some(first), Some(last)) = (missing.get(MAX_NAMED), missing.last()) {
            let rest = missing.len() - MAX_NAMED;
            self.missing(first, format!("{detail}; nor are the {rest} more up to {last}"));
        }
    }

    /// The keys of the digests of whole periods from the end of `previous` to `until`.
    fn periods(&self, previous: &DigestKey, until: Timestamp) -> Vec<DigestKey> {
        let mut keys = Vec::new();
        let Some(period) = self.period.filter(SignedDuration::is_positive) else { return keys };
        let mut end = previous.end.start();
        while let Ok(next) = end.checked_add(period) {
            if next > until || keys.len() > 100 * MAX_NAMED {
                break;
            }
            end = next;
            keys.push(DigestKey { end: Second::of(end), ..previous.clone() });
        }
        keys
    }

    /// The newest digest that is there: nothing follows it that could name what is missing after it, but the clock.
    fn head(&mut self, last: &DigestKey) {
        let Some(until) = self.due() else { return };
        let missing = self.periods(last, until);
        let detail = format!(
            "it is due, and not there: {last} is the newest. If logging ended, or this is a copy made then, say --to {}",
            time::format(last.end.start())
        );
        self.name(&missing, &detail);
    }

    /// The end of the last period whose digest has to be there.
    fn due(&self) -> Option<Timestamp> {
        let period = self.period?;
        let due = self.options.now.and_then(|now| {
            now.checked_sub(period).and_then(|due| due.checked_sub(self.options.settle)).ok()
        });
        match (due, self.options.to) {
            (Some(due), Some(to)) => Some(due.min(to)),
            (due, to) => due.or(to),
        }
    }

    fn missing(&mut self, key: &DigestKey, detail: String) {
        self.whole = false;
        self.findings.push(key, Kind::Missing, detail);
    }

    fn broken(&mut self, previous: &DigestKey, valid: &Valid, detail: String) {
        let previous = previous.to_string();
        self.findings.push(&valid.key, Kind::DigestChainBroken { previous }, detail);
    }

    /// Ours never begin anew while there are older ones: only CloudTrail's do.
    fn restarted(&mut self, previous: &DigestKey, valid: &Valid) {
        let detail = format!("it names no digest before it, although {previous} is there");
        if valid.statement.is_some() {
            return self.broken(previous, valid, detail);
        }
        let previous = previous.to_string();
        self.findings.push(&valid.key, Kind::DigestChainRestarted { previous }, detail);
    }
}
