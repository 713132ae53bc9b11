//! From the spool to the store, one step at a time and without a thread or a clock of its own.
//!
//! A batch goes through four states, and a crash in any of them is repaired by going on from the last one on disk:
//!
//! 1. *gathering*: frames are read and compressed; nothing is decided.
//! 2. *planned*: the cursor's payload says where the batch ends and when that was decided. From here on the same frames
//!    become the same objects under the same names, whoever carries it out and however often.
//! 3. *stored*: log file, then manifest, both create-only, both confirmed. The manifest is the commit. If their names are
//!    taken by something else, see [`super::conflict`].
//! 4. *completed*: the cursor is past the batch, and the spool may forget it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use sidetrail_archive::dsse::{Envelope, MAX_ENVELOPE};
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Home, Id, KeyObjectKey, Region};
use sidetrail_archive::log;
use sidetrail_archive::manifest::{Chain, LogEntry, MakeError, Manifest, PublishedKey, Taken, Workload};
use sidetrail_archive::sign::Signer;
use sidetrail_archive::store::{Failure, Put};
use sidetrail_spool::{Cursors, Item, Position, Reader};
use sidetrail_wire::spool::v1::Unlocked;

use super::batch::{Batch, FrameError};
use super::destination::{Destination, DestinationError};
use super::state::{Counts, Plan, Progress};
use super::{conflict, quarantine};
use crate::config::Rotate;
use crate::gateway::HandOverError;

/// A stored log file is no larger than its content may be, but for what gzip adds to what does not compress.
pub(crate) const MAX_STORED_LOG: usize = 51_000_000;

/// What stays the same over all batches of a trail.
pub(crate) struct Trail {
    pub(crate) name: sidetrail_archive::key::Trail,
    pub(crate) home: Home,
    pub(crate) region: Region,
    pub(crate) collector: Id,
    /// Where it runs, which its manifests say.
    pub(crate) workload: Option<Workload>,
    pub(crate) rotate: Rotate,
    pub(crate) signer: Arc<dyn Signer>,
    /// The object that publishes the signer's key.
    pub(crate) public_key: (KeyObjectKey, Bytes),
}

/// Why a step failed. The same step can be tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShipError {
    #[error(transparent)]
    Spool(#[from] sidetrail_spool::Error),
    #[error(transparent)]
    Destination(#[from] DestinationError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the log file cannot be written")]
    Log(#[from] log::LogError),
    #[error("the manifest cannot be made")]
    Manifest(#[from] MakeError),
    /// Something else has the name of an object: it is left as it is, and the batch takes another name.
    #[error("{key} exists and is not what this batch makes: {reason}")]
    Conflict { key: String, reason: &'static str, found: Option<Sha256> },
    #[error("a frame to set aside cannot be written")]
    Quarantine(#[from] serde_json::Error),
    #[error("the plan of the batch is damaged: {0}")]
    Plan(String),
    #[error("cannot hand over")]
    HandOver(#[from] HandOverError),
}

impl ShipError {
    pub(super) fn conflict(key: String, found: Option<&Bytes>, reason: &'static str) -> Self {
        Self::Conflict { key, reason, found: found.map(|bytes| Sha256::of(bytes)) }
    }

    /// What kind of failure it is, in one word for metrics and logs.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Destination(error) => error.failure().name(),
            Self::Conflict { .. } => Failure::Conflict.name(),
            Self::Spool(_) => SPOOL,
            Self::HandOver(_) => GATEWAY,
            Self::Frame(_) | Self::Log(_) | Self::Manifest(_) | Self::Plan(_) | Self::Quarantine(_) => BATCH,
        }
    }
}

/// Kinds of failures that are not the store's.
pub(super) const SPOOL: &str = "spool";
pub(super) const BATCH: &str = "batch";
pub(super) const GATEWAY: &str = "gateway";

/// Every kind of failure.
pub(crate) fn failure_kinds() -> impl Iterator<Item = &'static str> {
    Failure::ALL.into_iter().map(Failure::name).chain([SPOOL, BATCH, GATEWAY])
}

/// What a step came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A batch is in the store.
    Shipped(Shipped),
    /// Nothing to do before there are more frames or, where it is given, this time.
    Idle { until_unix_ms: Option<i64> },
}

/// What is in the store now, for those who look on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shipped {
    pub(crate) log: Option<String>,
    pub(crate) manifest: String,
    pub(crate) records: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) content_bytes: u64,
    /// Parts of the spool that were lost, and frames that were set aside.
    pub(crate) losses: usize,
    pub(crate) quarantined: usize,
}

/// A batch that only has to be stored. Kept while the store is away: compressed, so it is small.
struct Sealed {
    log: Option<Bytes>,
    manifest: Manifest,
    counts: Counts,
    end: Position,
    first_received_unix_ms: Option<i64>,
}

/// Carries out the batches of one trail.
pub(crate) struct Shipper<D> {
    trail: Trail,
    destination: D,
    cursors: Cursors,
    readers: Box<dyn Fn(Position) -> Reader + Send>,
    reader: Reader,
    progress: Progress,
    batch: Option<Batch>,
    sealed: Option<Sealed>,
    key_published: bool,
    /// Whether the store honours conditional create, once that is known.
    conditional: Option<bool>,
    /// Where the trail ends, once it is to end.
    end: Option<Position>,
}

impl<D: Destination> Shipper<D> {
    /// `readers` makes a reader of the spool that starts at a position.
    pub(crate) fn new(
        trail: Trail,
        destination: D,
        cursors: Cursors,
        readers: Box<dyn Fn(Position) -> Reader + Send>,
        progress: Progress,
    ) -> Self {
        let reader = readers(progress.position);
        Self {
            trail,
            destination,
            cursors,
            readers,
            reader,
            progress,
            batch: None,
            sealed: None,
            key_published: false,
            conditional: None,
            end: None,
        }
    }

    /// Whether nothing is decided that is not done. Only then may the trail change.
    pub(crate) fn is_between_batches(&self) -> bool {
        self.sealed.is_none() && matches!(self.progress.plan(), Ok(None))
    }

    /// Goes on as another trail of the same name, in another place. Only [between batches](Self::is_between_batches): a
    /// batch is carried out as it was decided.
    pub(crate) fn change(&mut self, trail: Trail, destination: D) {
        (self.trail, self.destination) = (trail, destination);
        (self.key_published, self.conditional) = (false, None);
        // What was gathered is read again from the cursor, by the new rules.
        self.batch = None;
    }

    /// Takes nothing from here on.
    pub(crate) fn end_at(&mut self, end: Position) {
        self.end = Some(end);
    }

    /// When the oldest event came that is read and not in the store, `None` where there is none.
    pub(crate) fn oldest_unix_ms(&self) -> Option<i64> {
        let sealed = self.sealed.as_ref().and_then(|sealed| sealed.first_received_unix_ms);
        sealed.or_else(|| self.batch.as_ref()?.first_received_unix_ms())
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn into_progress(self) -> Progress {
        self.progress
    }

    pub(crate) fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Does the next thing that is due at `now_unix_ms`. With `flush` a batch is due as soon as it holds anything.
    pub(crate) fn step(&mut self, now_unix_ms: i64, flush: bool) -> Result<Step, ShipError> {
        if !self.key_published {
            self.publish_key(now_unix_ms.div_euclid(1000))?;
            self.key_published = true;
        }
        match self.prepare(now_unix_ms, flush)? {
            Some(idle) => Ok(idle),
            None => self.store(),
        }
    }

    /// Sees that there is a sealed batch; if none is due, says so.
    fn prepare(&mut self, now_unix_ms: i64, flush: bool) -> Result<Option<Step>, ShipError> {
        if self.sealed.is_none() {
            let plan = match self.progress.plan().map_err(ShipError::Plan)? {
                Some(plan) => {
                    self.gather(Some(plan.end))?;
                    plan
                }
                None => match self.decide(now_unix_ms, flush)? {
                    Ok(plan) => plan,
                    Err(until_unix_ms) => return Ok(Some(Step::Idle { until_unix_ms })),
                },
            };
            self.seal(plan)?;
        }
        Ok(None)
    }

    /// Publishes the public key that the manifests are checked with, before the first of them. Creating it once more where
    /// it is known to be shows whether the store honours conditional create, before anything depends on it; should it
    /// not, the bytes are those that are there.
    fn publish_key(&mut self, now_unix_s: i64) -> Result<(), ShipError> {
        let (key, object) = &self.trail.public_key;
        let key = key.to_string();
        let stored = match self.destination.read(&key, MAX_ENVELOPE) {
            Err(error) if error.is_not_found() => {
                self.destination.create(&key, object)?;
                object.clone()
            }
            stored => stored?,
        };
        let published = PublishedKey::open(&stored);
        if !published.is_ok_and(|it| it.public_key == *self.trail.signer.public_key()) {
            return Err(ShipError::conflict(key, Some(&stored), "it holds another key"));
        }
        let refused = self.destination.create(&key, &stored)? == Put::AlreadyExists;
        self.destination.refuses_second(refused);
        self.conditional = Some(refused);
        self.destination.confirm(&key, stored.len() as u64)?;
        // One that could not be locked now is locked by those who watch the bucket.
        self.destination.lock(&key, now_unix_s)?;
        Ok(())
    }

    /// Gathers what there is, and decides on a batch if one is due; if not, says when.
    fn decide(&mut self, now_unix_ms: i64, flush: bool) -> Result<Result<Plan, Option<i64>>, ShipError> {
        self.gather(None)?;
        let Some(batch) = &self.batch else { return Ok(Err(None)) };
        // What is lost is said soon, though nothing else has come.
        let alarm = batch.is_alarming();
        let Some(first) = batch.first_received_unix_ms().or(alarm.then_some(now_unix_ms)) else {
            return Ok(Err(None));
        };
        let age_ms = i64::try_from(self.trail.rotate.age.as_millis()).unwrap_or(i64::MAX);
        let due = first.saturating_add(age_ms);
        // A clock that was set back must not hold the batch for more than twice its age. Less than that is no such clock:
        // frames come after the caller has looked at it.
        let clock_went_back = now_unix_ms < first.saturating_sub(age_ms);
        if !(flush || alarm || self.is_full(batch) || now_unix_ms >= due || clock_went_back) {
            return Ok(Err(Some(due)));
        }
        Ok(Ok(self.progress.decide(&self.cursors, batch.end(), now_unix_ms.div_euclid(1000))?))
    }

    /// Reads frames into the batch: up to the planned end, or until the batch is full or the log ends.
    fn gather(&mut self, plan: Option<Position>) -> Result<(), ShipError> {
        let mut batch = match self.batch.take() {
            Some(batch) => batch,
            None => {
                // A batch begins at the cursor, wherever an earlier attempt had read to.
                self.reader = (self.readers)(self.progress.position);
                Batch::new(self.progress.position, self.trail.name.clone())?
            }
        };
        let result = self.fill(&mut batch, plan);
        // The reader is past a frame that could neither be taken in nor set aside: that batch is given up, to begin again.
        if matches!(result, Ok(()) | Err(ShipError::Spool(_))) {
            self.batch = Some(batch);
        }
        result
    }

    fn fill(&mut self, batch: &mut Batch, plan: Option<Position>) -> Result<(), ShipError> {
        loop {
            let done = match plan {
                Some(end) => self.reader.position() >= end,
                None => self.is_full(batch) || self.end.is_some_and(|end| self.reader.position() >= end),
            };
            if done {
                return Ok(());
            }
            match self.reader.read()? {
                Some(Item::Frame(frame)) => match batch.push(&frame) {
                    Ok(()) => {}
                    Err(error @ FrameError::Log(_)) => return Err(error.into()),
                    Err(error) => {
                        let set_aside = quarantine::store(&self.destination, &self.trail, &frame, &error)?;
                        batch.set_aside(&frame, set_aside);
                    }
                },
                Some(Item::Damage(damage)) => {
                    tracing::error!(%damage, "events may be lost: a part of the spool cannot be read");
                    batch.pass(&damage);
                }
                None => return Ok(()),
            }
        }
    }

    fn is_full(&self, batch: &Batch) -> bool {
        batch.content_size() >= self.trail.rotate.size.as_u64() || batch.is_crowded()
    }

    fn seal(&mut self, plan: Plan) -> Result<(), ShipError> {
        let Some(batch) = self.batch.take() else {
            return Err(ShipError::Plan("there is no batch".to_owned()));
        };
        let first_received_unix_ms = batch.first_received_unix_ms();
        let finished = batch.finish()?;
        let created = Timestamp::from_second(plan.created_unix_s)
            .map_err(|error| ShipError::Plan(error.to_string()))?;
        let chain = Chain {
            collector: self.trail.collector,
            trail: self.trail.name.clone(),
            index: self.progress.chain_index(),
            previous: self.progress.previous().map_err(ShipError::Plan)?,
        };
        let mut manifest = Manifest::new(
            self.trail.home.clone(),
            self.trail.region.clone(),
            created,
            chain,
            finished.log.as_ref(),
            finished.times,
            finished.ranges,
        )
        .with_receipts(finished.receipts)
        .renamed(plan.attempt, plan.taken);
        manifest.events_before = self.progress.events_before();
        manifest.workload.clone_from(&self.trail.workload);
        let log = finished.log.map(|log| Bytes::from(log.bytes));
        // Not the plan's end: a log whose damaged end was cut goes on before it, and what comes there is not in this batch.
        self.sealed = Some(Sealed {
            log,
            manifest,
            counts: finished.counts,
            end: finished.end,
            first_received_unix_ms,
        });
        Ok(())
    }

    /// Puts log file and manifest, confirms both, moves the cursor. What fails stays sealed, to be tried again.
    fn store(&mut self) -> Result<Step, ShipError> {
        let Some(sealed) = &mut self.sealed else { return Ok(Step::Idle { until_unix_ms: None }) };
        let sha256 = match put(&self.destination, sealed, &*self.trail.signer) {
            Ok(sha256) => sha256,
            Err(error @ ShipError::Conflict { .. }) => {
                match conflict::committed(&self.destination, &sealed.manifest, &*self.trail.signer)? {
                    Some(stored) => {
                        tracing::warn!(manifest = %stored.manifest.manifest, "this batch was stored already, whole");
                        (sealed.manifest, sealed.counts) = (stored.manifest, stored.counts);
                        stored.sha256
                    }
                    None => return Err(self.evade(error)),
                }
            }
            Err(error) => return Err(error),
        };
        let unlocked = lock(&self.destination, &sealed.manifest)?;
        self.complete(sha256, unlocked)
    }

    /// The sealed batch is where it is to be: moves the cursor.
    fn complete(&mut self, manifest: Sha256, unlocked: Vec<Unlocked>) -> Result<Step, ShipError> {
        let Some(sealed) = &self.sealed else { return Ok(Step::Idle { until_unix_ms: None }) };
        self.progress.complete(&self.cursors, sealed.end, manifest, sealed.counts, unlocked)?;

        let entry = sealed.manifest.log_file.as_ref();
        let shipped = Shipped {
            log: entry.map(|entry| entry.key.to_string()),
            manifest: sealed.manifest.manifest.to_string(),
            records: sealed.counts.shipped,
            stored_bytes: entry.map_or(0, |entry| entry.size),
            content_bytes: entry.map_or(0, |entry| entry.content_size),
            losses: sealed.manifest.losses.len(),
            quarantined: sealed.manifest.quarantined.len(),
        };
        self.sealed = None;
        Ok(Step::Shipped(shipped))
    }

    /// Takes the name of the next attempt, on disk first, and gives the error that it is because of.
    fn evade(&mut self, error: ShipError) -> ShipError {
        let (ShipError::Conflict { key, found, .. }, Some(sealed)) = (&error, &mut self.sealed) else {
            return error;
        };
        let mut taken = vec![Taken { key: key.clone(), sha256: *found }];
        // A log file of ours beside a manifest that is not stays behind, without a manifest.
        if let Some(log) = &sealed.manifest.log_file
            && *key == sealed.manifest.manifest.to_string()
        {
            taken.push(Taken { key: log.key.to_string(), sha256: Some(log.sha256) });
        }
        if let Err(error) = self.progress.evade(&self.cursors, taken) {
            return error.into();
        }
        match self.progress.plan() {
            Ok(Some(Plan { attempt, taken, .. })) => {
                sealed.manifest = sealed.manifest.clone().renamed(attempt, taken);
                error
            }
            Ok(None) => ShipError::Plan("there is none".to_owned()),
            Err(reason) => ShipError::Plan(reason),
        }
    }

    /// Whether the store honours conditional create, once that is known.
    pub(crate) fn conditional(&self) -> Option<bool> {
        self.conditional
    }

    /// How many objects still have to be locked.
    pub(crate) fn unlocked(&self) -> usize {
        self.progress.unlocked().len()
    }

    /// Tries to lock what could not be locked when it was stored, oldest first, until one fails again.
    pub(crate) fn lock_rest(&mut self) -> Result<(), ShipError> {
        while let Some(unlocked) = self.progress.unlocked().first() {
            self.destination.lock_again(unlocked)?;
            self.progress.locked_first(&self.cursors)?;
        }
        Ok(())
    }
}

fn put(
    destination: &impl Destination,
    sealed: &mut Sealed,
    signer: &dyn Signer,
) -> Result<Sha256, ShipError> {
    if let (Some(bytes), Some(entry)) = (&sealed.log, &mut sealed.manifest.log_file) {
        put_log(destination, bytes, entry)?;
    }
    put_manifest(destination, &sealed.manifest, signer)
}

/// Locks what a manifest is about, and gives what could not be locked.
fn lock(destination: &impl Destination, manifest: &Manifest) -> Result<Vec<Unlocked>, DestinationError> {
    let created = manifest.created_at.as_second();
    let quarantined = manifest.quarantined.iter().map(|frame| frame.key.to_string());
    let log = manifest.log_file.iter().map(|entry| entry.key.to_string());
    let keys = quarantined.chain(log).chain([manifest.manifest.to_string()]);
    keys.filter_map(|key| destination.lock(&key, created).transpose()).collect()
}

/// Reads what lies under a name of ours; what is too large to be ours is a conflict.
fn read_back(destination: &impl Destination, key: &str, limit: usize) -> Result<Bytes, ShipError> {
    destination.read(key, limit).map_err(|error| match error.is_too_large() {
        true => ShipError::conflict(key.to_owned(), None, "it is too large"),
        false => error.into(),
    })
}

/// Stores a log file. One that is there already is ours from before a crash: if another build compressed the same
/// content differently, what is stored counts and the entry follows it.
fn put_log(destination: &impl Destination, bytes: &Bytes, entry: &mut LogEntry) -> Result<(), ShipError> {
    let key = entry.key.to_string();
    if destination.create(&key, bytes)? == Put::AlreadyExists {
        let stored = read_back(destination, &key, MAX_STORED_LOG)?;
        if stored != *bytes {
            let (content, size) = log::content_digest(&stored[..], log::MAX_CONTENT)
                .map_err(|_| ShipError::conflict(key.clone(), Some(&stored), "it is no log file"))?;
            if (content, size) != (entry.content_sha256, entry.content_size) {
                return Err(ShipError::conflict(key, Some(&stored), "it holds other records"));
            }
            (entry.sha256, entry.size) = (Sha256::of(&stored), stored.len() as u64);
        }
    }
    Ok(destination.confirm(&key, entry.size)?)
}

/// Stores a manifest and gives the hash of its stored bytes. One that is there already and states the same may have been
/// signed with the key of before a rotation.
fn put_manifest(
    destination: &impl Destination,
    manifest: &Manifest,
    signer: &dyn Signer,
) -> Result<Sha256, ShipError> {
    let key = manifest.manifest.to_string();
    let mut bytes = Bytes::from(manifest.seal(signer)?);
    if destination.create(&key, &bytes)? == Put::AlreadyExists {
        let stored = read_back(destination, &key, MAX_ENVELOPE)?;
        let states = |bytes: &[u8]| Envelope::read(bytes).ok().map(|envelope| envelope.payload);
        if states(&stored).is_none_or(|payload| Some(payload) != states(&bytes)) {
            return Err(ShipError::conflict(key, Some(&stored), "it states something else"));
        }
        bytes = stored;
    }
    destination.confirm(&key, bytes.len() as u64)?;
    Ok(Sha256::of(&bytes))
}

mod hand_over;
#[cfg(test)]
mod tests;
