//! Digests: each by itself, then the chain of them, then what they say against what is there.

mod chain;
mod statement;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

pub(super) use self::statement::ExpectedRanges;
use super::inventory::Inventory;
use super::object::unreadable;
use super::report::{Findings, Kind};
use super::trust::DigestKeys;
use super::{Head, Options, each};
use crate::causes;
use crate::digest::{
    Digest, MAX_METADATA, Metadata, Opened, OpenedError, Previous, SIGNATURE_ALGORITHM, Statement,
};
use crate::hash::Sha256;
use crate::key::{AnyKeyId, DigestKey, Home, Id, Region, Trail};
use crate::sign::{PublicKey, RsaSignature};
use crate::source::Bucket;

/// A period, and then some, for whom nothing says how long it is.
const LONGEST_PERIOD: SignedDuration = SignedDuration::from_hours(25);

/// The most stored bytes of a digest that are read.
const MAX_STORED: u64 = 16 << 20;

/// A digest that is signed, by a key in force, and in its place.
#[derive(Debug)]
pub(super) struct Valid {
    pub(super) key: DigestKey,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) previous: Option<Previous>,
    pub(super) content_sha256: Sha256,
    pub(super) signature: RsaSignature,
    pub(super) statement: Option<Statement>,
    /// How many log files it lists.
    pub(super) log_files: u64,
}

/// A log file as a digest lists it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    /// Where it is in the inventory.
    pub(super) item: u32,
    /// The SHA-256 of its content.
    pub(super) hash: Sha256,
    /// The digest, by its place in the inventory.
    pub(super) digest: u32,
}

/// All digests of the range.
#[derive(Debug, Default)]
pub(super) struct Digests {
    /// By place in the inventory: what was found valid.
    pub(super) valid: Vec<Option<Valid>>,
    /// By item.
    listed: Vec<Listed>,
    /// The indices of each chain that digests cover: first and last, sorted.
    covered: HashMap<(Id, Trail), Vec<(u64, u64)>>,
    /// How far digests of a place have come: the end of the newest, and how long a period is.
    newest: HashMap<(Home, Region), (Timestamp, SignedDuration)>,
    /// Where digests say which manifests stand behind them.
    stated: HashSet<(Home, Region)>,
    /// The keys of manifests that digests certify.
    pub(super) certified: Vec<PublicKey>,
    /// Where the digests are all there and valid, so that what none of them lists is in none.
    pub(super) whole: bool,
    /// How far the chains of digests have come.
    pub(super) heads: Vec<Head>,
}

impl Digests {
    /// Reads all digests of the inventory, and checks each, and each trail's chain.
    pub(super) fn read(
        bucket: &dyn Bucket,
        inventory: &Inventory,
        keys: &DigestKeys,
        options: &Options,
        findings: &mut Findings,
    ) -> Self {
        let count = inventory.digests.len();
        let read: Mutex<(Vec<Option<Valid>>, Vec<Listed>, Findings)> = Mutex::default();
        lock(&read).0.resize_with(count, || None);
        each(count, options.reads.get(), &|index| {
            let key = &inventory.digests[index];
            let opened = open(bucket, key, keys, options);
            let mut read = lock(&read);
            match opened {
                Ok((opened, signature)) => {
                    let Digest { start, end, previous, log_files, statement, .. } = opened.digest;
                    // A digest of the listing that is wholly after the range.
                    if options.to.is_some_and(|to| start > to) {
                        return;
                    }
                    let count = log_files.len() as u64;
                    for file in log_files {
                        match inventory.find(&file.object) {
                            Some(item) => {
                                read.1.push(Listed { item, hash: file.hash, digest: index as u32 });
                            }
                            None if options.contains(file.object.0.minute) => {
                                let detail = format!("it is not there, and the digest {key} lists it");
                                read.2.push(&file.object, Kind::Missing, detail);
                            }
                            None => {}
                        }
                    }
                    read.0[index] = Some(Valid {
                        key: key.clone(),
                        start,
                        end,
                        previous,
                        content_sha256: opened.content_sha256,
                        signature,
                        statement,
                        log_files: count,
                    });
                }
                Err((kind, detail)) => read.2.push(key, kind, detail),
            }
        });
        let (valid, mut listed, found) = read.into_inner().unwrap_or_else(PoisonError::into_inner);
        findings.append(found);
        listed.sort_unstable_by_key(|listed| (listed.item, listed.digest));
        for twice in listed.windows(2).filter(|pair| pair[0].item == pair[1].item) {
            let [one, other] = [twice[0], twice[1]].map(|listed| &inventory.digests[listed.digest as usize]);
            let log = inventory.manifest_key(&inventory.items[twice[1].item as usize]).log();
            let detail = format!("the digest {other} lists it, and {one} does too");
            findings.push(log, Kind::Contradicted { by: one.to_string() }, detail);
        }
        let mut this = Self { valid, listed, ..Self::default() };
        this.certify();
        let starts = keys.starts(bucket, &inventory.starts, findings);
        this.whole = chain::check(&mut this, inventory, &starts, options, findings);
        this.cover();
        this
    }

    fn certify(&mut self) {
        for statement in self.valid.iter().flatten().filter_map(|valid| valid.statement.as_ref()) {
            for key in &statement.keys {
                if !self.certified.contains(&key.0) {
                    self.certified.push(key.0.clone());
                }
            }
        }
    }

    fn cover(&mut self) {
        for valid in self.valid.iter().flatten() {
            let place = (valid.key.home.clone(), valid.key.region.clone());
            if valid.statement.is_some() {
                self.stated.insert(place.clone());
            }
            let period = valid.end.duration_since(valid.start);
            let newest = self.newest.entry(place).or_insert((valid.end, period));
            *newest = (*newest).max((valid.end, period));
            for chain in valid.statement.iter().flat_map(|statement| &statement.chains) {
                let covered = self.covered.entry((chain.collector, chain.trail.clone())).or_default();
                covered.push((chain.first, chain.last));
            }
        }
        self.covered.values_mut().for_each(|covered| covered.sort_unstable());
    }

    /// What a digest says of the log file at an item.
    pub(super) fn listed(&self, item: u32) -> Option<&Listed> {
        let at = self.listed.partition_point(|listed| listed.item < item);
        self.listed.get(at).filter(|listed| listed.item == item)
    }

    /// How many log files digests list.
    pub(super) fn log_files(&self) -> u64 {
        self.valid.iter().flatten().map(|valid| valid.log_files).sum()
    }

    /// Whether digests cover this manifest of a chain.
    pub(super) fn covers(&self, collector: Id, trail: &Trail, index: u64) -> bool {
        let Some(covered) = self.covered.get(&(collector, trail.clone())) else { return false };
        let after = covered.partition_point(|(first, _)| *first <= index);
        after.checked_sub(1).is_some_and(|at| index <= covered[at].1)
    }

    /// The end of the newest digest of a place, and how long a period is.
    pub(super) fn newest(&self, place: &(Home, Region)) -> Option<(Timestamp, SignedDuration)> {
        self.newest.get(place).copied()
    }

    /// Whether digests of a place say which manifests stand behind them.
    pub(super) fn has_statements(&self, place: &(Home, Region)) -> bool {
        self.stated.contains(place)
    }

    /// The digest at a place in the inventory, if it is valid.
    pub(super) fn valid(&self, digest: u32) -> Option<&Valid> {
        self.valid.get(digest as usize).and_then(Option::as_ref)
    }

    /// Says which log files came late, and which are as digests found them not to be.
    pub(super) fn notes(&self, inventory: &Inventory, findings: &mut Findings) {
        for listed in &self.listed {
            let Some(valid) = self.valid(listed.digest) else { continue };
            let item = &inventory.items[listed.item as usize];
            // The minute in the name is not exactly that of delivery where CloudTrail wrote it.
            if valid.statement.is_some() && item.minute.end() <= valid.start {
                let digest = valid.key.to_string();
                let detail = format!("it came after the digest of its period; {digest} lists it");
                findings.push(inventory.manifest_key(item).log(), Kind::Late { digest }, detail);
            }
        }
        for valid in self.valid.iter().flatten() {
            for problem in valid.statement.iter().flat_map(|statement| &statement.problems) {
                let digest = valid.key.to_string();
                let detail = format!("when {digest} was made: {}", problem.reason);
                findings.push(&problem.key, Kind::Reported { digest }, detail);
            }
        }
    }
}

/// Who brings keys of digests expects some: a place that has been written to for longer than any period takes, and has none,
/// has lost them.
pub(super) fn none_at_all(inventory: &Inventory, options: &Options, findings: &mut Findings) {
    let (Some(_), Some(now)) = (&options.digest_keys, options.now) else { return };
    let with: HashSet<_> = inventory.digests.iter().map(|key| (&key.home, &key.region)).collect();
    let mut told = HashSet::new();
    for item in &inventory.items {
        let (home, region) = inventory.place(item);
        let due = item.minute.end().checked_add(LONGEST_PERIOD).is_ok_and(|due| due < now);
        if due && !with.contains(&(home, region)) && told.insert((home, region)) {
            let detail = "there is no digest, and keys of digests were given";
            findings.push(DigestKey::prefix(home, region), Kind::Missing, detail);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a digest and believes it.
fn open(
    bucket: &dyn Bucket,
    key: &DigestKey,
    keys: &DigestKeys,
    options: &Options,
) -> Result<(Opened, RsaSignature), (Kind, String)> {
    let fetched = bucket.fetch(&key.to_string(), MAX_STORED).map_err(|error| unreadable(&error))?;
    let opened = Opened::read(&fetched.bytes).map_err(|error| {
        let kind = match error {
            OpenedError::Gzip(_) | OpenedError::Trailing => Kind::Modified,
            OpenedError::Invalid(_) => Kind::Malformed,
        };
        (kind, causes::chain(&error))
    })?;
    let digest = &opened.digest;
    let elsewhere = options.bucket.as_ref().is_some_and(|name| *name != digest.bucket);
    if digest.object != *key || elsewhere {
        let from = match elsewhere {
            true => format!("s3://{}/{}", digest.bucket, digest.object),
            false => digest.object.to_string(),
        };
        let detail = format!("it belongs at {from}");
        return Err((Kind::Moved { from }, detail));
    }
    let signature = signature(bucket, key, &fetched.metadata)?;
    let fingerprint = digest.fingerprint;
    let Some(trust) = keys.find(fingerprint) else {
        let detail = format!("signed by key {fingerprint}, which is not among those to believe");
        return Err((Kind::KeyUnknown, detail));
    };
    if !opened.is_signed_by(&trust.key, &signature) {
        return Err((Kind::Modified, format!("the signature is not that of key {fingerprint}")));
    }
    if trust.validity.is_some_and(|(start, end)| digest.end <= start || digest.end > end) {
        let detail = format!("key {fingerprint} was not in force when its period ended");
        return Err((Kind::KeyNotInForce, detail));
    }
    if keys.is_revoked(AnyKeyId::Digest(fingerprint), digest.end) {
        let detail = format!("key {fingerprint} was revoked before its period ended");
        return Err((Kind::KeyRevoked, detail));
    }
    Ok((opened, signature))
}

/// The signature: metadata, or a companion where the store has none.
fn signature(
    bucket: &dyn Bucket,
    key: &DigestKey,
    metadata: &BTreeMap<String, String>,
) -> Result<RsaSignature, (Kind, String)> {
    let [name, algorithm] = Metadata::NAMES;
    if let Some(signature) = metadata.get(name) {
        return match metadata.get(algorithm).map(String::as_str) {
            Some(SIGNATURE_ALGORITHM) => signature
                .to_ascii_lowercase()
                .parse()
                .map_err(|error| (Kind::Modified, format!("its metadata {name} is none: {error}"))),
            Some(_) => {
                Err((Kind::Modified, format!("its metadata {algorithm} is not {SIGNATURE_ALGORITHM}")))
            }
            None => Err((Kind::Modified, format!("it has no metadata {algorithm}"))),
        };
    }
    let companion = key.companion();
    match bucket.fetch(&companion, MAX_METADATA as u64) {
        Ok(fetched) => Metadata::parse(&fetched.bytes)
            .map(|metadata| metadata.signature)
            .map_err(|error| (Kind::Modified, format!("{companion} does not hold its signature: {error}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err((Kind::Unsigned, format!("there is neither metadata {name} nor {companion}")))
        }
        Err(error) => Err(unreadable(&error)),
    }
}
