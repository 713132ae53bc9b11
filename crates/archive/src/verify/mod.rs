//! Verification of a bucket: is everything there that was signed, and nothing changed, moved or left out?
//!
//! It shares the formats with the writer, not its code path, and needs neither network nor runtime of its own. In order:
//!
//! 1. List the bucket. Objects of no known form are counted and left alone.
//! 2. Read the published keys and revocations: each is well-formed, signed by itself, or by a key that is believed, and at its
//!    own key.
//! 3. Read the digests, in parallel: each is signed, by a key in force when its period ended, and at its own place in its own
//!    bucket. Each names the one before it, its hash and its signature; there is one for each period up to now, but for the
//!    last that may not be due ([`Options::now`], [`Options::settle`]). The keys of manifests that they certify are believed.
//! 4. For each manifest, in parallel: it is an envelope in the one accepted form, signed by a key to believe, at its own
//!    key, and does not contradict itself nor the digest that covers it. Its log file is there, has the stated size and hash as
//!    stored and as inflated, is exactly one gzip member, and holds the stated number of records (counted by brackets, not
//!    parsed). Where there are no manifests, as in CloudTrail's own buckets, a log file is what its digest states.
//! 5. Every key that signed is published. Every log file has a manifest that states it, and a digest that lists it if the period
//!    of its delivery is over.
//! 6. Each chain has no hole from index 0, no fork, and each manifest names the hash of the one before it. The manifests that
//!    digests cover are all there.
//! 7. For each trail and source, ranges follow each other from 1 without gap or overlap, up to the last number that the
//!    source says it has given, and that a digest says is accounted for.
//!
//! 8. Where digests have a tree: it goes on from one to the next, tiles lead to its root, checkpoints are of it and signed by the
//!    key that they name, and it extends what a witness saw ([`Options::witnessed`]). With [`Options::records`] the records
//!    are hashed again and compared with its leaves.
//!
//! What is missing and has a receipt in a valid manifest (a part of the spool that was lost, a frame that was set aside,
//! events that never came) is found too, and told apart from what somebody hides: [`Kind::severity`].
//!
//! With a time range, log files and manifests are those delivered in it, and chains and ranges may begin anywhere. Digests are
//! those whose periods overlap it.
//!
//! What cannot be seen: that the newest log files of a chain were removed together with their manifests, from the first
//! removed to the end, where no digest covers them yet. A [`Cursor`] of an earlier run sees it; so does whoever compares the
//! newest index with what the collector reports. And in a bucket that is written to, an object may be listed while one written
//! just before it is not: end the range a minute before now.
//!
//! # Threads and memory
//!
//! Some threads read ([`Options::reads`]), others look into what was read ([`Options::threads`]). Of log files at most
//! 48 MiB are held as stored, and 0.9 MiB for each thread that looks into them: contents are never held whole. With that, some
//! 120 bytes for each log file and its manifest, 90 for each range of events, 300 for each source and each digest, 24 for each
//! file that a cursor remembers, and the findings. Ten million events in some thousands of files take well below 200 MiB.

mod chain;
mod content;
mod cursor;
mod digests;
mod heads;
mod inventory;
mod lanes;
mod object;
mod protection;
mod queue;
mod receipts;
mod report;
mod sources;
#[cfg(test)]
mod tests;
mod tree;
mod trust;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use jiff::{SignedDuration, Timestamp};

use self::content::{Content, Judged};
pub use self::cursor::{Cursor, Head, MAX_CURSOR, Token};
use self::digests::Digests;
use self::inventory::Inventory;
use self::lanes::Vectors;
use self::object::{Reader, Tally};
use self::queue::Queue;
use self::report::Findings;
pub use self::report::{Finding, Kind, MAX_FINDINGS, Outcome, Report, Severity, Totals, Trust};
pub use self::sources::Coverage;
use self::trust::DigestKeys;
use crate::hash::Sha256;
use crate::key::{Home, Id, Minute, Prefix, Region, Trail};
use crate::sign::{KeyId, PublicKey, RsaPublicKey};
use crate::source::Bucket;
use crate::tlog::merkle;

/// How long after the end of a period its digest may come, beside the length of a period.
pub const SETTLE: SignedDuration = SignedDuration::from_mins(15);

/// What to verify, and what to believe.
#[derive(Debug, Clone)]
pub struct Options {
    /// The keys of manifests to believe; without them and [`Options::digest_keys`], those published in the bucket. Where
    /// keys of digests are believed, so are those of manifests that digests certify.
    pub keys: Option<Vec<PublicKey>>,
    /// The keys of digests to believe, as for manifests. With only the other kind given, none is.
    pub digest_keys: Option<Vec<DigestTrust>>,
    /// Leaves out what was delivered in minutes that end before this.
    pub from: Option<Timestamp>,
    /// Leaves out what was delivered in minutes that begin after this. No digest of a period that ends after it is missed.
    pub to: Option<Timestamp>,
    /// Verifies only what lies under this prefix.
    pub prefix: Option<Prefix>,
    /// The time. With it, or with `to`, a newest digest that is missing is missed.
    pub now: Option<Timestamp>,
    /// How long after the end of a period its digest may come, beside the length of a period.
    pub settle: SignedDuration,
    /// The bucket's name, where it is known: digests say which they belong to. A copy has another, or none.
    pub bucket: Option<String>,
    /// How many threads look into log files: as many as there are cores.
    pub threads: NonZeroUsize,
    /// How many objects are read at the same time at most. For a local directory the number of cores is right. A service
    /// may be given many more: they are put to use only as far as its latency takes it.
    pub reads: NonZeroUsize,
    /// What earlier runs have seen.
    pub cursor: Option<Arc<Cursor>>,
    /// How every object has to be kept from being deleted; without it nobody asks.
    pub object_lock: Option<LockWanted>,
    /// What a witness saw of logs: each has to be there still, and to extend that. Without an end of the time range only.
    pub witnessed: Vec<(String, merkle::Head)>,
    /// Whether records are compared with the leaves of the log. Each log file is read once more for that.
    pub records: bool,
}

/// A key of digests that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestTrust {
    /// The key.
    pub key: RsaPublicKey,
    /// For digests whose periods end after the first and up to the second; without it, for those that the key's published
    /// object says, or any.
    pub validity: Option<(Timestamp, Timestamp)>,
}

/// How objects have to be kept from being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockWanted {
    /// Nobody may shorten it: `COMPLIANCE`. Otherwise `GOVERNANCE` does as well.
    pub compliance: bool,
    /// For how long from the time of the object on; for keys, from now on.
    pub days: u32,
}

impl Default for Options {
    fn default() -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            keys: None,
            digest_keys: None,
            from: None,
            to: None,
            prefix: None,
            now: None,
            settle: SETTLE,
            bucket: None,
            threads,
            reads: threads,
            cursor: None,
            object_lock: None,
            witnessed: Vec::new(),
            records: false,
        }
    }
}

impl Options {
    fn contains(&self, minute: Minute) -> bool {
        self.from.is_none_or(|from| minute.end() > from) && self.to.is_none_or(|to| minute.start() <= to)
    }

    fn is_given(&self) -> bool {
        self.keys.is_some() || self.digest_keys.is_some()
    }

    /// The keys of digests that were given; none of them, if only keys of manifests were.
    fn given_digest_keys(&self) -> Option<&[DigestTrust]> {
        self.is_given().then(|| self.digest_keys.as_deref().unwrap_or_default())
    }
}

/// Is told how far a verification is. Calls come from several threads.
pub trait Progress: Sync {
    /// The bucket was listed: so many places of log files and manifests are to be checked, with so many bytes.
    fn listed(&self, places: u64, bytes: u64) {
        let _ = (places, bytes);
    }

    /// A manifest of so many bytes was read.
    fn read(&self, bytes: u64) {
        let _ = bytes;
    }

    /// A place was checked, whose log file has so many stored bytes.
    fn checked(&self, bytes: u64) {
        let _ = bytes;
    }

    /// A log file was found to be what it should be: what a [`Cursor`] remembers it by.
    fn verified(&self, token: Token) {
        let _ = token;
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

/// What is believed.
struct Keys {
    manifests: Vec<PublicKey>,
    /// Of these, those that are only published where digests should certify them.
    uncertified: HashSet<KeyId>,
    digests: DigestKeys,
}

/// What all threads share.
struct Checker<'a> {
    bucket: &'a dyn Bucket,
    options: &'a Options,
    inventory: &'a Inventory,
    keys: Keys,
    digests: Digests,
    /// Where there are manifests, so that a log file without one is out of place.
    with_manifests: HashSet<(Home, Region)>,
    queue: Queue,
    progress: &'a dyn Progress,
    tally: Mutex<Tally>,
    trails: Mutex<HashSet<Arc<Trail>>>,
}

impl Checker<'_> {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

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

    /// Whether this run does not look there.
    fn is_other_prefix(&self, home: &Home) -> bool {
        let under = |prefix: &Prefix| home.to_string().starts_with(&format!("{prefix}/"));
        self.options.prefix.as_ref().is_some_and(|prefix| !under(prefix))
    }

    /// A log file is what it should be.
    fn valid(&self, stored_bytes: u64, content: Content, remembered: bool) {
        self.tally().totals.add(&Totals {
            valid_log_files: 1,
            remembered_log_files: u64::from(remembered),
            records: content.records,
            stored_bytes,
            content_bytes: content.size,
            ..Totals::default()
        });
    }

    fn judged(&self, Judged { item, token, size, result }: Judged) {
        let listed = self.inventory.items[item as usize];
        match result {
            Ok(content) => {
                self.valid(size, content, false);
                self.progress.verified(token);
            }
            Err((kind, detail)) => {
                let log = self.inventory.manifest_key(&listed).log();
                self.tally().findings.push(log, kind, detail);
            }
        }
        self.progress.checked(u64::from(listed.log_size));
    }
}

/// Verifies what `options` select of `bucket`.
///
/// It always ends with a report; what the store did not give is a finding of [`Kind::CouldNotCheck`].
pub fn run(bucket: &dyn Bucket, options: &Options, progress: &dyn Progress) -> Report {
    let trust = if options.is_given() { Trust::Given } else { Trust::Published };
    let mut findings = Findings::default();
    let inventory = match Inventory::list(bucket, options) {
        Ok(inventory) => inventory,
        Err(error) => {
            findings.push("", Kind::CouldNotCheck, crate::causes::chain(&error));
            return Report::new(trust, Totals::default(), findings);
        }
    };
    progress.listed(inventory.items.len() as u64, inventory.bytes);
    let (keys, digests) = believe(bucket, &inventory, options, &mut findings);
    digests::none_at_all(&inventory, options, &mut findings);
    let with_manifests = inventory
        .items
        .iter()
        .filter(|item| item.manifest)
        .map(|item| inventory.place(item).clone())
        .collect();
    let checker = Checker {
        bucket,
        options,
        inventory: &inventory,
        keys,
        digests,
        with_manifests,
        queue: Queue::new(options.reads.get()),
        progress,
        tally: Mutex::default(),
        trails: Mutex::default(),
    };
    each_item(&checker);

    let mut tally = std::mem::take(&mut *checker.tally());
    chain::check(&checker, &mut tally);
    checker.digests.missing_manifests(&inventory, &mut tally.findings);
    checker.digests.notes(&inventory, &mut tally.findings);
    findings.append(std::mem::take(&mut tally.findings));
    let known: HashSet<_> = inventory.keys.iter().collect();
    for key in tally.signers.iter().filter(|key| !known.contains(key)) {
        findings.push(key, Kind::Missing, "manifests are signed with this key, and it is not published");
    }
    if inventory.items.is_empty() && inventory.digests.is_empty() {
        findings.push("", Kind::CouldNotCheck, "nothing to check: no log file and no manifest found");
    }
    tree::check(&checker, &mut findings);
    protection::check(&checker, &mut findings);
    heads::remembered(&checker, &tally, &mut findings);
    let heads = heads::of(&checker, &tally);

    let totals = Totals {
        valid_digests: checker.digests.valid.iter().flatten().count() as u64,
        digested_log_files: checker.digests.log_files(),
        ..tally.totals
    };
    let trusted = |id: &KeyId| !checker.keys.uncertified.contains(id);
    Report {
        log_files: inventory.log_files,
        manifests: inventory.manifests,
        digests: inventory.digests.len() as u64,
        keys: (inventory.keys.len() + inventory.digest_keys.len()) as u64,
        other: inventory.other,
        trusted_keys: checker.keys.manifests.iter().map(PublicKey::id).filter(trusted).collect(),
        trusted_digest_keys: checker.keys.digests.keys.iter().map(|trust| trust.key.fingerprint()).collect(),
        sources: tally.sources.finish(),
        heads,
        ..Report::new(trust, totals, findings)
    }
}

/// Reads keys and digests, and decides which keys of manifests are believed.
fn believe(
    bucket: &dyn Bucket,
    inventory: &Inventory,
    options: &Options,
    findings: &mut Findings,
) -> (Keys, Digests) {
    let published = trust::published(bucket, &inventory.keys, findings);
    let digest_keys =
        DigestKeys::read(bucket, &inventory.digest_keys, &inventory.revocations, options, findings);
    let digests = Digests::read(bucket, inventory, &digest_keys, options, findings);
    let mut manifests = options.keys.clone().unwrap_or_default();
    let mut uncertified = HashSet::new();
    let add = |keys: &[PublicKey], manifests: &mut Vec<PublicKey>| {
        for key in keys {
            if !manifests.contains(key) {
                manifests.push(key.clone());
            }
        }
    };
    add(&digests.certified, &mut manifests);
    if !options.is_given() {
        add(&published, &mut manifests);
    } else if options.keys.is_none() {
        // A collector that is new may have signed manifests that no digest has come to yet. Or it is somebody else's: what
        // only such a key has signed could not be checked.
        uncertified.extend(published.iter().filter(|key| !manifests.contains(key)).map(PublicKey::id));
        add(&published, &mut manifests);
    }
    (Keys { manifests, uncertified, digests: digest_keys }, digests)
}

/// Checks every item: some threads read, others look into log files.
fn each_item(checker: &Checker<'_>) {
    let next = AtomicUsize::new(0);
    let count = checker.inventory.items.len();
    let vectors = Vectors::detect();
    thread::scope(|scope| {
        for number in 0..checker.options.reads.get() {
            let next = &next;
            scope.spawn(move || {
                let _leave = queue::Leave(&checker.queue);
                while checker.queue.admit(number) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        checker.queue.finish();
                        break;
                    }
                    Reader { checker }.check(index as u32);
                }
            });
        }
        for _ in 0..checker.options.threads.get() {
            scope.spawn(move || content::work(&checker.queue, vectors, &|judged| checker.judged(judged)));
        }
    });
}

/// Calls `work` with every number below `count`, so many at a time.
fn each(count: usize, threads: usize, work: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    work(index);
                }
            });
        }
    });
}
