//! From the spool to the store, one step at a time and without a thread or a clock of its own.
//!
//! A batch goes through four states, and a crash in any of them is repaired by going on from the last one on disk:
//!
//! 1. *gathering*: frames are read and compressed; nothing is decided.
//! 2. *planned*: the cursor's payload says where the batch ends and when that was decided. From here on the same frames
//!    become the same objects under the same names, whoever carries it out and however often.
//! 3. *stored*: log file, then manifest, both create-only, both confirmed. The manifest is the commit.
//! 4. *completed*: the cursor is past the batch, and the spool may forget it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use sidetrail_archive::dsse::{Envelope, MAX_ENVELOPE};
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Home, Id, KeyObjectKey, Region};
use sidetrail_archive::log;
use sidetrail_archive::manifest::{Chain, LogEntry, MakeError, Manifest};
use sidetrail_archive::sign::Signer;
use sidetrail_archive::store::Put;
use sidetrail_spool::{Cursors, Item, Position, Reader};

use super::batch::{Batch, FrameError};
use super::destination::{Destination, DestinationError};
use super::state::{Counts, Plan, Progress};
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
    /// Somebody else wrote under our name: the object is left as it is, and so is the batch.
    #[error("{key} exists and is not what this batch makes: {reason}")]
    Conflict { key: String, reason: &'static str },
    #[error("the plan of the batch is damaged: {0}")]
    Plan(String),
    #[error("cannot hand over")]
    HandOver(#[from] HandOverError),
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
}

/// A batch that only has to be stored. Kept while the store is away: compressed, so it is small.
struct Sealed {
    log: Option<Bytes>,
    manifest: Manifest,
    counts: Counts,
    end: Position,
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
        }
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
            self.publish_key()?;
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
                    self.gather(Some(plan))?;
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

    /// Publishes the public key that the manifests are checked with, before the first of them.
    fn publish_key(&self) -> Result<(), ShipError> {
        let (key, object) = &self.trail.public_key;
        let key = key.to_string();
        if self.destination.create(&key, object)? == Put::AlreadyExists
            && self.destination.read(&key, MAX_ENVELOPE)? != *object
        {
            return Err(ShipError::Conflict { key, reason: "it holds another key" });
        }
        Ok(self.destination.confirm(&key, object.len() as u64)?)
    }

    /// Gathers what there is, and decides on a batch if one is due; if not, says when.
    fn decide(&mut self, now_unix_ms: i64, flush: bool) -> Result<Result<Plan, Option<i64>>, ShipError> {
        self.gather(None)?;
        let Some(batch) = &self.batch else { return Ok(Err(None)) };
        let Some(first) = batch.first_received_unix_ms() else { return Ok(Err(None)) };
        let age_ms = i64::try_from(self.trail.rotate.age.as_millis()).unwrap_or(i64::MAX);
        let due = first.saturating_add(age_ms);
        // A clock that was set back must not hold the batch for longer than its age.
        let clock_went_back = now_unix_ms < first;
        if !(flush || self.is_full(batch) || now_unix_ms >= due || clock_went_back) {
            return Ok(Err(Some(due)));
        }
        Ok(Ok(self.progress.decide(&self.cursors, batch.end(), now_unix_ms.div_euclid(1000))?))
    }

    /// Reads frames into the batch: up to the end of the plan, or until the batch is full or the log ends.
    fn gather(&mut self, plan: Option<Plan>) -> Result<(), ShipError> {
        let mut batch = match self.batch.take() {
            Some(batch) => batch,
            None => {
                // A batch begins at the cursor, wherever an earlier attempt had read to.
                self.reader = (self.readers)(self.progress.position);
                Batch::new(self.progress.position)?
            }
        };
        let result = self.fill(&mut batch, plan);
        // A frame that could not be taken in may be half in the file: that batch is given up, to begin again.
        if !matches!(result, Err(ShipError::Log(_) | ShipError::Frame(_))) {
            self.batch = Some(batch);
        }
        result
    }

    fn fill(&mut self, batch: &mut Batch, plan: Option<Plan>) -> Result<(), ShipError> {
        loop {
            let done = match plan {
                Some(plan) => self.reader.position() >= plan.end,
                None => self.is_full(batch),
            };
            if done {
                return Ok(());
            }
            match self.reader.read()? {
                Some(Item::Frame(frame)) => batch.push(&frame)?,
                Some(Item::Damage(damage)) => {
                    tracing::error!(%damage, "events are lost: a part of the spool cannot be read");
                    batch.pass(damage.to);
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
        let finished = batch.finish()?;
        let created = Timestamp::from_second(plan.created_unix_s)
            .map_err(|error| ShipError::Plan(error.to_string()))?;
        let chain = Chain {
            collector: self.trail.collector,
            trail: self.trail.name.clone(),
            index: self.progress.chain_index(),
            previous: self.progress.previous().map_err(ShipError::Plan)?,
        };
        let manifest = Manifest::new(
            self.trail.home.clone(),
            self.trail.region.clone(),
            created,
            chain,
            finished.log.as_ref(),
            finished.times,
            finished.ranges,
        );
        let log = finished.log.map(|log| Bytes::from(log.bytes));
        // Not the plan's end: a log whose damaged end was cut goes on before it, and what comes there is not in this batch.
        self.sealed = Some(Sealed { log, manifest, counts: finished.counts, end: finished.end });
        Ok(())
    }

    /// Puts log file and manifest, confirms both, moves the cursor. What fails stays sealed, to be tried again.
    fn store(&mut self) -> Result<Step, ShipError> {
        let Some(sealed) = &mut self.sealed else { return Ok(Step::Idle { until_unix_ms: None }) };
        if let (Some(bytes), Some(entry)) = (&sealed.log, &mut sealed.manifest.log_file) {
            put_log(&self.destination, bytes, entry)?;
        }
        let manifest = put_manifest(&self.destination, &sealed.manifest, &*self.trail.signer)?;
        self.complete(manifest)
    }

    /// The sealed batch is where it is to be: moves the cursor.
    fn complete(&mut self, manifest: Sha256) -> Result<Step, ShipError> {
        let Some(sealed) = &self.sealed else { return Ok(Step::Idle { until_unix_ms: None }) };
        self.progress.complete(&self.cursors, sealed.end, manifest, sealed.counts)?;

        let entry = sealed.manifest.log_file.as_ref();
        let shipped = Shipped {
            log: entry.map(|entry| entry.key.to_string()),
            manifest: sealed.manifest.manifest.to_string(),
            records: sealed.counts.shipped,
            stored_bytes: entry.map_or(0, |entry| entry.size),
            content_bytes: entry.map_or(0, |entry| entry.content_size),
        };
        self.sealed = None;
        Ok(Step::Shipped(shipped))
    }
}

/// Stores a log file. One that is there already is ours from before a crash: if another build compressed the same
/// content differently, what is stored counts and the entry follows it.
fn put_log(destination: &impl Destination, bytes: &Bytes, entry: &mut LogEntry) -> Result<(), ShipError> {
    let key = entry.key.to_string();
    if destination.create(&key, bytes)? == Put::AlreadyExists {
        let stored = destination.read(&key, MAX_STORED_LOG)?;
        if stored != *bytes {
            let (content, size) = log::content_digest(&stored[..], log::MAX_CONTENT)
                .map_err(|_| ShipError::Conflict { key: key.clone(), reason: "it is no log file" })?;
            if (content, size) != (entry.content_sha256, entry.content_size) {
                return Err(ShipError::Conflict { key, reason: "it holds other records" });
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
        let stored = destination.read(&key, MAX_ENVELOPE)?;
        let states = |bytes: &[u8]| Envelope::read(bytes).ok().map(|envelope| envelope.payload);
        if states(&stored).is_none_or(|payload| Some(payload) != states(&bytes)) {
            return Err(ShipError::Conflict { key, reason: "it states something else" });
        }
        bytes = stored;
    }
    destination.confirm(&key, bytes.len() as u64)?;
    Ok(Sha256::of(&bytes))
}

mod hand_over;
#[cfg(test)]
mod tests;
