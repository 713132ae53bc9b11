//! Verification of a bucket: is everything there that was signed, and nothing changed, moved or left out?
//!
//! It shares the formats with the writer, not its code path, and needs neither network nor runtime of its own. In order:
//!
//! 1. List the bucket. Objects of no known form are counted and left alone.
//! 2. Read the published keys: each is well-formed, signed by itself, and at its own key.
//! 3. For each manifest, in parallel: it is an envelope in the one accepted form, signed by a key to believe, at its own
//!    key, and does not contradict itself. Its log file is there, has the stated size and hash as stored and as
//!    inflated, is exactly one gzip member, and holds the stated number of records (counted by brackets, not parsed).
//! 4. Every key that signed is published. Every log file has a manifest that states it.
//! 5. Each chain has no hole from index 0, no fork, and each manifest names the hash of the one before it.
//! 6. For each trail and source, ranges follow each other from 1 without gap or overlap, up to the last number that the
//!    source says it has given.
//!
//! What is missing and has a receipt in a valid manifest (a part of the spool that was lost, a frame that was set aside,
//! events that never came) is found too, and told apart from what somebody hides: [`Kind::has_receipt`].
//!
//! With a time range, log files and manifests are those delivered in it, and chains and ranges may begin anywhere.
//!
//! What cannot be seen: that the newest log files of a chain were removed together with their manifests, from the first
//! removed to the end. Compare the newest index with what the collector reports. And in a bucket that is written to, an
//! object may be listed while one written just before it is not: end the range a minute before now.
//!
//! Memory: some 250 bytes for each manifest, and for each thread two buffers and one manifest.

mod chain;
mod inventory;
mod object;
mod receipts;
mod report;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use jiff::Timestamp;

use self::inventory::Inventory;
use self::object::{Tally, Worker};
use self::report::Findings;
pub use self::report::{Finding, Kind, MAX_FINDINGS, Outcome, Report, Totals, Trust};
use crate::hash::Sha256;
use crate::key::{Id, Minute, Prefix, Trail};
use crate::sign::PublicKey;
use crate::source::Bucket;

/// What to verify, and what to believe.
#[derive(Debug, Clone)]
pub struct Options {
    /// The keys to believe; without, those published in the bucket.
    pub keys: Option<Vec<PublicKey>>,
    /// Leaves out what was delivered in minutes that end before this.
    pub from: Option<Timestamp>,
    /// Leaves out what was delivered in minutes that begin after this.
    pub to: Option<Timestamp>,
    /// Verifies only what lies under this prefix.
    pub prefix: Option<Prefix>,
    /// How many objects are read at the same time. For a local directory the number of cores is right, for a service
    /// more hide its latency.
    pub threads: NonZeroUsize,
}

impl Default for Options {
    fn default() -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { keys: None, from: None, to: None, prefix: None, threads }
    }
}

impl Options {
    fn contains(&self, minute: Minute) -> bool {
        self.from.is_none_or(|from| minute.end() > from) && self.to.is_none_or(|to| minute.start() <= to)
    }
}

/// Is told how far a verification is. Calls come from several threads.
pub trait Progress: Sync {
    /// The bucket was listed: so many places of log files and manifests are to be checked.
    fn listed(&self, places: u64) {
        let _ = places;
    }

    /// One of them was checked, for which so many stored bytes were read.
    fn checked(&self, bytes: u64) {
        let _ = bytes;
    }
}

impl Progress for () {}

/// A manifest's place in its chain; ordered by chain and index.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Link {
    collector: Id,
    trail: Arc<Trail>,
    index: u64,
    item: u32,
    previous: Option<Sha256>,
    hash: Sha256,
    events_before: u64,
}

/// Events that a manifest accounts for; ordered by trail, source and number.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    trail: Arc<Trail>,
    source: Id,
    first: u64,
    last: u64,
    item: u32,
}

/// What all threads share.
struct Checker<'a> {
    bucket: &'a dyn Bucket,
    options: &'a Options,
    inventory: &'a Inventory,
    keys: &'a [PublicKey],
    trails: Mutex<HashSet<Arc<Trail>>>,
}

impl Checker<'_> {
    /// One copy of a trail's name for all its manifests.
    fn intern(&self, trail: &Trail) -> Arc<Trail> {
        let mut trails = self.trails.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = trails.get(trail) {
            return known.clone();
        }
        let new = Arc::new(trail.clone());
        trails.insert(new.clone());
        new
    }
}

/// Verifies what `options` select of `bucket`.
///
/// It always ends with a report; what the store did not give is a finding of [`Kind::CouldNotCheck`].
pub fn run(bucket: &dyn Bucket, options: &Options, progress: &dyn Progress) -> Report {
    let trust = if options.keys.is_some() { Trust::Given } else { Trust::Published };
    let mut findings = Findings::default();
    let inventory = match Inventory::list(bucket, options) {
        Ok(inventory) => inventory,
        Err(error) => {
            findings.push("", Kind::CouldNotCheck, crate::causes::chain(&error));
            return Report::new(trust, Totals::default(), findings);
        }
    };
    progress.listed(inventory.items.len() as u64);
    let published = object::published(bucket, &inventory.keys, &mut findings);
    let keys = options.keys.as_ref().unwrap_or(&published);
    let checker = Checker { bucket, options, inventory: &inventory, keys, trails: Mutex::default() };

    let mut tally = each_item(&checker, progress);
    chain::check(&checker, &mut tally);
    findings.append(tally.findings);
    let known: HashSet<_> = inventory.keys.iter().collect();
    for key in tally.signers.iter().filter(|key| !known.contains(key)) {
        findings.push(key, Kind::Missing, "manifests are signed with this key, and it is not published");
    }
    if inventory.items.is_empty() {
        findings.push("", Kind::CouldNotCheck, "nothing to check: no log file and no manifest found");
    }

    let Inventory { keys, log_files, manifests, other, .. } = inventory;
    let keys = keys.len() as u64;
    Report { log_files, manifests, keys, other, ..Report::new(trust, tally.totals, findings) }
}

/// Checks every item, each by the thread that is free next.
fn each_item(checker: &Checker<'_>, progress: &dyn Progress) -> Tally {
    let next = AtomicU32::new(0);
    let count = checker.inventory.items.len();
    let work = || {
        let mut worker = Worker::new(checker);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index as usize >= count {
                return worker.tally;
            }
            progress.checked(worker.check(index));
        }
    };
    let mut all = Tally::default();
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..checker.options.threads.get().min(count)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(tally) => all.append(tally),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    all
}
