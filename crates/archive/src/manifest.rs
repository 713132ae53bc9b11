//! Manifests: the signed statement of what a log file holds, and which events it accounts for.
//!
//! A manifest is a DSSE envelope ([`crate::dsse`]) of type [`PAYLOAD_TYPE`] around the compact JSON of [`Manifest`].
//! Writing it is the commit: a log file without one is *uncommitted*. Published keys ([`PublishedKey`]) are envelopes
//! of the same kind, signed by the key they carry.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dsse::{Envelope, InvalidEnvelope, SealError};
use crate::hash::Sha256;
use crate::key::{
    Account, Home, Id, KeyObjectKey, LogKey, ManifestKey, Minute, Place, Region, Trail, Unique,
};
use crate::log::LogFile;
pub use crate::receipt::{Drop, Heard, Loss, Quarantined, Receipts, Taken};
use crate::sign::{KeyId, PublicKey, Signer};
use crate::time;

/// The type of a manifest's payload.
pub const PAYLOAD_TYPE: &str = "application/vnd.sidetrail.manifest.v1+json";

/// The type of a published key's payload.
pub const KEY_PAYLOAD_TYPE: &str = "application/vnd.sidetrail.key.v1+json";

/// What a manifest states. The fields are the stored JSON, in this order and in camel case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The log file; null when everything in the ranges was filtered or dropped, or is an intent.
    pub log_file: Option<LogEntry>,
    /// This object's own key: a copy elsewhere is *moved*.
    pub manifest: ManifestKey,
    /// Its place among the manifests of one collector for one trail.
    pub chain: Chain,
    /// As in the key.
    pub account: Account,
    /// As in the key.
    pub region: Region,
    /// The plan's time, in whole seconds; its minute is in the key.
    #[serde(with = "time")]
    pub created_at: Timestamp,
    /// The oldest `eventTime` of the file in whole seconds, null when it holds no record.
    #[serde(with = "time::option")]
    pub oldest_event_time: Option<Timestamp>,
    /// The newest.
    #[serde(with = "time::option")]
    pub newest_event_time: Option<Timestamp>,
    /// The ranges of events that this manifest accounts for.
    pub sources: Vec<Source>,
    /// Why events of the ranges were dropped. This and what follows is absent where there is nothing to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drops: Vec<Drop>,
    /// What sources said of how far they have numbered their events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heard: Vec<Heard>,
    /// What could not be read of the spool, between the manifest before and the end of this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Loss>,
    /// Frames that were set aside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<Quarantined>,
    /// How many names of this place in the chain were found taken by other bytes; part of the name that it has.
    #[serde(default, skip_serializing_if = "is_zero_u32")]
    pub attempt: u32,
    /// What was found there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<Taken>,
    /// How many events the collector had accepted when the trail began, or while it was gone: this chain says nothing of
    /// them. At index 0, and where the chain goes on after that; absent where there were none. Without it a source that
    /// sent events meanwhile would seem to have a gap.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub events_before: u64,
    /// Where the collector runs, by its own word. Absent where it was not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
}

/// Where a collector runs: in Kubernetes, its pod. Each member is absent where it is not known, and one of them is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Namespace of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// ServiceAccount of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Uid of the pod: names come again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Node that it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl Workload {
    /// Bytes of one member: what Kubernetes' names have at most.
    pub const MAX_NAME: usize = 253;

    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// If nothing is known, or a member is empty, too long, or has control characters.
    pub fn check(&self) -> Result<(), &'static str> {
        let Self { namespace, pod, service_account, uid, node } = self;
        let mut known = [namespace, pod, service_account, uid, node].into_iter().flatten().peekable();
        if known.peek().is_none() {
            return Err("a workload of which nothing is known");
        }
        if known.any(|name| name.is_empty() || name.len() > Self::MAX_NAME || name.contains(char::is_control))
        {
            return Err("a workload's member is not a text of 1 to 253 bytes");
        }
        Ok(())
    }
}

/// The log file of a manifest: its stored bytes, and the content after inflation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogEntry {
    /// The object.
    pub key: LogKey,
    /// SHA-256 of the stored bytes.
    pub sha256: Sha256,
    /// Stored bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub content_sha256: Sha256,
    /// Bytes of content.
    pub content_size: u64,
    /// Records in it.
    pub records: u64,
}

/// A place in a chain of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// The collector that writes the chain.
    pub collector: Id,
    /// The trail it writes it for.
    pub trail: Trail,
    /// Counts the manifests of the chain from 0.
    pub index: u64,
    /// The SHA-256 of the previous manifest's stored bytes, null at index 0.
    pub previous: Option<Sha256>,
}

impl Chain {
    /// What makes the names of the objects at this place their own.
    #[must_use]
    pub fn unique(&self) -> Unique {
        Unique::of(self.collector, &self.trail, self.index)
    }
}

/// A contiguous range of one source's events, and what became of them:
/// `last - first + 1 = recorded + filtered + dropped + intents`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// One run of one sender.
    pub source: Id,
    /// The service that sent them.
    pub service: String,
    /// Which instance of it.
    pub instance: String,
    /// The collector that took the events and forwarded them to the one that writes the chain. Absent where that took
    /// them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collector: Option<Id>,
    /// The first sequence number of the range; sources count from 1.
    pub first: u64,
    /// The last, inclusive.
    pub last: u64,
    /// Events that are records of the log file.
    pub recorded: u64,
    /// Events that the trail does not select.
    pub filtered: u64,
    /// Events that the sender lost, and says so.
    pub dropped: u64,
    /// Intents: calls that were about to begin. What came of them is a record of its own. Absent where there are none,
    /// as in manifests from before there were intents, so that these are made again to the byte.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub intents: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero_u32(number: &u32) -> bool {
    *number == 0
}

/// A manifest or published key could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// What it states contradicts itself.
    #[error("the manifest would not be valid: {0}")]
    Rule(&'static str),
    /// The payload could not be written as JSON.
    #[error("could not write the payload")]
    Json(#[from] serde_json::Error),
    /// It could not be signed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A manifest or published key is not to be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is not an envelope.
    #[error(transparent)]
    Envelope(#[from] InvalidEnvelope),
    /// It is an envelope of something else.
    #[error("the payload type is {0:?}")]
    PayloadType(String),
    /// None of the keys at hand has the name it is signed with.
    #[error("signed by the unknown key {0}")]
    KeyUnknown(KeyId),
    /// The key at hand did not sign it.
    #[error("the signature is not that of key {0}")]
    Signature(KeyId),
    /// Signed, but not the JSON that the type demands.
    #[error("the payload is not of its type")]
    Payload(#[from] serde_json::Error),
    /// Signed, but what it states contradicts itself.
    #[error("{0}")]
    Rule(&'static str),
}

impl Manifest {
    /// The manifest for `log`, with the keys that follow from its place. `events` are the oldest and the newest
    /// `eventTime`, and present exactly when the log file holds a record.
    #[must_use]
    pub fn new(
        home: Home,
        region: Region,
        created_at: Timestamp,
        chain: Chain,
        log: Option<&LogFile>,
        events: Option<(Timestamp, Timestamp)>,
        sources: Vec<Source>,
    ) -> Self {
        let account = home.account.clone();
        let manifest = ManifestKey::new(home, region.clone(), created_at, chain.unique());
        let log_file = log.map(|log| LogEntry {
            key: manifest.log(),
            sha256: log.sha256,
            size: log.bytes.len() as u64,
            content_sha256: log.content_sha256,
            content_size: log.content_size,
            records: log.records,
        });
        let (oldest_event_time, newest_event_time) = events.unzip();
        Self {
            log_file,
            manifest,
            chain,
            account,
            region,
            created_at,
            oldest_event_time,
            newest_event_time,
            sources,
            drops: Vec::new(),
            heard: Vec::new(),
            losses: Vec::new(),
            quarantined: Vec::new(),
            attempt: 0,
            taken: Vec::new(),
            events_before: 0,
            workload: None,
        }
    }

    /// Adds the receipts.
    #[must_use]
    pub fn with_receipts(self, Receipts { drops, heard, losses, quarantined }: Receipts) -> Self {
        Self { drops, heard, losses, quarantined, ..self }
    }

    /// Gives it and its log file the name of another attempt, after those that `taken` were found under the others.
    #[must_use]
    pub fn renamed(mut self, attempt: u32, taken: Vec<Taken>) -> Self {
        let Chain { collector, trail, index, .. } = &self.chain;
        self.manifest.0.unique = Unique::of_attempt(*collector, trail, *index, attempt);
        if let Some(log) = &mut self.log_file {
            log.key = self.manifest.log();
        }
        Self { attempt, taken, ..self }
    }

    /// Signs the manifest and renders the bytes to store at its key.
    ///
    /// # Errors
    /// If a reader would refuse it, or the signer fails.
    pub fn seal(&self, signer: &dyn Signer) -> Result<Vec<u8>, MakeError> {
        self.check().map_err(MakeError::Rule)?;
        Ok(Envelope::seal(PAYLOAD_TYPE, &serde_json::to_vec(self)?, signer)?)
    }

    /// Reads stored bytes and believes them only if one of `keys` signed them. That they lie at their own key is left
    /// to the caller, who knows where they lay.
    ///
    /// # Errors
    /// If the bytes are not a valid manifest signed by one of the keys.
    pub fn open(bytes: &[u8], keys: &[PublicKey]) -> Result<Self, OpenError> {
        Self::open_signed(bytes, keys).map(|(_, manifest)| manifest)
    }

    /// Like [`Manifest::open`], and says which key signed it.
    pub(crate) fn open_signed(bytes: &[u8], keys: &[PublicKey]) -> Result<(KeyId, Self), OpenError> {
        let envelope = typed(bytes, PAYLOAD_TYPE)?;
        let id = envelope.key_id;
        let key = keys.iter().find(|key| key.id() == id).ok_or(OpenError::KeyUnknown(id))?;
        if !envelope.is_signed_by(key) {
            return Err(OpenError::Signature(id));
        }
        let manifest: Self = serde_json::from_slice(&envelope.payload)?;
        manifest.check().map_err(OpenError::Rule)?;
        Ok((id, manifest))
    }

    /// The rules that a manifest keeps by itself; what is broken, if any.
    fn check(&self) -> Result<(), &'static str> {
        let rule = |holds: bool, broken| if holds { Ok(()) } else { Err(broken) };
        let Place { home, region, minute, unique } = &self.manifest.0;
        rule(home.account == self.account, "account is not that of the key")?;
        rule(*region == self.region, "region is not that of the key")?;
        rule(*minute == Minute::of(self.created_at), "createdAt is not in the minute of the key")?;
        let Chain { collector, trail, index, .. } = &self.chain;
        let named = Unique::of_attempt(*collector, trail, *index, self.attempt);
        rule(*unique == named, "the key is not that of the place in the chain")?;
        rule(
            (self.chain.index == 0) == self.chain.previous.is_none(),
            "previous is null at index 0 and only there",
        )?;

        let records = self.log_file.as_ref().map_or(0, |log| log.records);
        if let Some(log) = &self.log_file {
            rule(log.key == self.manifest.log(), "logFile is not the one beside the manifest")?;
        }
        match (self.oldest_event_time, self.newest_event_time) {
            (None, None) => rule(records == 0, "event times are null but there are records")?,
            (Some(oldest), Some(newest)) => {
                rule(records > 0, "there are event times but no records")?;
                rule(oldest <= newest, "oldestEventTime is after newestEventTime")?;
            }
            _ => return Err("one event time is null and the other is not"),
        }

        let mut recorded = 0_u64;
        for source in &self.sources {
            rule(source.first > 0, "a source counts from 1")?;
            let events = source.last.checked_sub(source.first).and_then(|more| more.checked_add(1));
            let fates = [source.recorded, source.filtered, source.dropped, source.intents];
            let fates = fates.into_iter().try_fold(0_u64, u64::checked_add);
            rule(events.is_some() && events == fates, "a source's range is not the sum of its counts")?;
            recorded = recorded.checked_add(source.recorded).ok_or("the counts overflow")?;
        }
        rule(recorded == records, "records is not the sum of what the sources recorded")?;
        self.check_receipts()
    }

    fn check_receipts(&self) -> Result<(), &'static str> {
        let mut dropped: HashMap<Id, u64> = HashMap::new();
        for Source { source, dropped: count, .. } in &self.sources {
            let all = dropped.entry(*source).or_default();
            *all = all.saturating_add(*count);
        }
        for Drop { source, count, .. } in &self.drops {
            let rest = dropped.get(source).and_then(|rest| rest.checked_sub(*count));
            dropped.insert(*source, rest.ok_or("more reasons for drops than drops")?);
        }
        if self.heard.iter().any(|heard| heard.assigned < heard.arrived) {
            return Err("a source gave fewer numbers than arrived");
        }
        if self.quarantined.iter().any(|frame| frame.key.home != self.manifest.0.home) {
            return Err("a quarantined frame is not of this account");
        }
        if self.taken.len() as u64 > 2 * u64::from(self.attempt) {
            return Err("more names were taken than tried");
        }
        self.workload.as_ref().map_or(Ok(()), Workload::check)
    }
}

/// A public key as an object in the bucket, signed by itself. Its bytes depend on its place and the key only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKey {
    /// This object's own key.
    pub object: KeyObjectKey,
    /// The key.
    pub public_key: PublicKey,
}

/// The payload: `{"object":"…","publicKey":"<base64 of SubjectPublicKeyInfo>"}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyPayload {
    object: KeyObjectKey,
    public_key: String,
}

impl PublishedKey {
    /// The object that publishes the key of `signer` in `home`: its key, and the bytes to store there.
    ///
    /// # Errors
    /// If the signer fails.
    pub fn seal(home: Home, signer: &dyn Signer) -> Result<(KeyObjectKey, Vec<u8>), MakeError> {
        let object = KeyObjectKey { home, id: signer.key_id() };
        let public_key = STANDARD.encode(signer.public_key().to_spki());
        let payload = serde_json::to_vec(&KeyPayload { object: object.clone(), public_key })?;
        Ok((object, Envelope::seal(KEY_PAYLOAD_TYPE, &payload, signer)?))
    }

    /// Reads stored bytes. That they are well-formed and signed by the key they carry does not make that key one to
    /// trust, and that they lie at their own key is left to the caller.
    ///
    /// # Errors
    /// If the bytes are not a key signed by itself.
    pub fn open(bytes: &[u8]) -> Result<Self, OpenError> {
        let envelope = typed(bytes, KEY_PAYLOAD_TYPE)?;
        let KeyPayload { object, public_key } = serde_json::from_slice(&envelope.payload)?;
        let public_key = STANDARD
            .decode(public_key)
            .ok()
            .and_then(|der| PublicKey::from_spki(&der).ok())
            .ok_or(OpenError::Rule("publicKey is not the base64 of an Ed25519 SubjectPublicKeyInfo"))?;
        if !envelope.is_signed_by(&public_key) {
            return Err(OpenError::Signature(envelope.key_id));
        }
        if object.id != public_key.id() {
            return Err(OpenError::Rule("object is not the place of this key"));
        }
        Ok(Self { object, public_key })
    }
}

fn typed(bytes: &[u8], payload_type: &str) -> Result<Envelope, OpenError> {
    let envelope = Envelope::read(bytes)?;
    if envelope.payload_type == payload_type {
        Ok(envelope)
    } else {
        Err(OpenError::PayloadType(envelope.payload_type.chars().take(100).collect()))
    }
}
