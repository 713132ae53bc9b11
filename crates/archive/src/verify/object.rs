//! One object at a time: a manifest, and its log file as far as reading it.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;

use super::content::{Content, Expected, Job};
use super::cursor::Token;
use super::inventory::Item;
use super::report::{Findings, Kind, Totals, short};
use super::sources::Sources;
use super::{Checker, Link, Range, receipts};
use crate::causes::chain;
use crate::dsse::MAX_ENVELOPE;
use crate::hash::Sha256;
use crate::key::{AnyKeyId, KeyObjectKey, LogKey, ManifestKey, Trail};
use crate::log::{MAX_CONTENT, MAX_FOREIGN_CONTENT};
use crate::manifest::{Chain, LogEntry, Manifest, OpenError, Quarantined};
use crate::sign::KeyId;
use crate::source::Bucket;

/// The most stored bytes of a log file: no content that is taken needs more.
const MAX_STORED: u64 = MAX_CONTENT + (MAX_CONTENT >> 8);

/// The most bytes of a quarantined frame that are read.
const MAX_FRAME: usize = 32 << 20;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) findings: Findings,
    pub(super) totals: Totals,
    pub(super) links: Vec<Link>,
    pub(super) ranges: Vec<Range>,
    /// What manifests say of events that are not among their records.
    pub(super) receipts: receipts::Tally,
    /// Which events of each source are accounted for.
    pub(super) sources: Sources,
    /// Places whose manifest is there but is not part of a chain, as a finding says why.
    pub(super) unlinked: Vec<u32>,
    /// Whether one of these is so because the store failed.
    pub(super) unread: bool,
    /// The keys that manifests were signed with.
    pub(super) signers: BTreeSet<KeyObjectKey>,
}

/// Reads items, and hands their log files over to those who look into them.
pub(super) struct Reader<'a> {
    pub(super) checker: &'a Checker<'a>,
}

impl Reader<'_> {
    /// Checks the item at `index` of the inventory, but for what is in its log file.
    pub(super) fn check(&self, index: u32) {
        let inventory = self.checker.inventory;
        let item = &inventory.items[index as usize];
        let key = inventory.manifest_key(item);
        let mut entry = None;
        if item.manifest {
            // A manifest in hand takes its bytes, those of its payload, and what is read of that.
            let room = 4 * u64::from(item.manifest_size);
            self.checker.queue.reserve(room);
            entry = self.manifest(index, item, &key);
            self.checker.queue.release(room);
            self.checker.queue.note_read();
            self.checker.progress.read(u64::from(item.manifest_size));
        }
        let listed = self.checker.digests.listed(index);
        if entry.is_none() && item.log && !item.manifest {
            self.uncommitted(item, &key, listed.is_some());
        }
        let expected = match (&entry, listed) {
            (Some(entry), _) => Some(Expected {
                stored: Some(entry.sha256),
                content: entry.content_sha256,
                content_size: Some(entry.content_size),
                records: Some(entry.records),
                limit: entry.content_size.min(MAX_CONTENT),
                by: "the manifest",
            }),
            (None, Some(listed)) if item.log => Some(Expected {
                stored: None,
                content: listed.hash,
                content_size: None,
                records: None,
                limit: MAX_FOREIGN_CONTENT,
                by: "the digest",
            }),
            _ => None,
        };
        match expected {
            Some(expected) => self.log_file(index, item, &key.log(), expected, entry.map(|entry| entry.size)),
            None => self.checker.progress.checked(u64::from(item.log_size)),
        }
    }

    /// A log file without a manifest.
    fn uncommitted(&self, item: &Item, key: &ManifestKey, listed: bool) {
        let place = self.checker.inventory.place(item);
        // CloudTrail writes none: there digests are what commits.
        if self.checker.with_manifests.contains(place) || self.checker.digests.has_statements(place) {
            return self.say_uncommitted(key, format!("its manifest {key} is missing"));
        }
        let Some((newest, period)) = self.checker.digests.newest(place) else {
            return self.say_uncommitted(key, format!("its manifest {key} is missing"));
        };
        let is_over = item.minute.end().checked_add(period).is_ok_and(|over| over <= newest);
        if !listed && is_over && self.checker.digests.whole {
            let detail = format!("it was delivered well before {newest}, and no digest lists it");
            self.find(key.log(), Kind::Undigested, detail);
        }
    }

    fn say_uncommitted(&self, manifest: &ManifestKey, detail: String) {
        self.find(manifest.log(), Kind::Uncommitted { manifest: manifest.to_string() }, detail);
    }

    fn find(&self, object: impl std::fmt::Display, kind: Kind, detail: String) {
        self.checker.tally().findings.push(object, kind, detail);
    }

    /// Reads and believes a manifest; its log file, if it has one.
    fn manifest(&self, index: u32, item: &Item, key: &ManifestKey) -> Option<LogEntry> {
        let bytes = match read(self.checker.bucket, &key.to_string(), MAX_ENVELOPE) {
            Ok(bytes) => bytes,
            Err(error) => {
                let (kind, detail) = unreadable(&error);
                let mut tally = self.checker.tally();
                tally.unread |= kind == Kind::CouldNotCheck;
                tally.findings.push(key, kind, detail);
                tally.unlinked.push(index);
                return None;
            }
        };
        let opened = self.open(key, &bytes);
        let (manifest, signer) = match opened {
            Ok(opened) => opened,
            Err((kind, detail)) => {
                let mut tally = self.checker.tally();
                tally.findings.push(key, kind, detail);
                tally.unlinked.push(index);
                return None;
            }
        };
        let hash = Sha256::of(&bytes);
        drop(bytes);
        let frames: Vec<_> =
            manifest.quarantined.iter().map(|frame| (frame, self.quarantined(frame))).collect();
        let trail = self.checker.intern(&manifest.chain.trail);
        let mut tally = self.checker.tally();
        for (frame, found) in frames {
            if let Err((kind, detail)) = found {
                tally.findings.push(&frame.key, kind, detail);
            }
        }
        self.digested(index, item, &manifest, signer, &mut tally);
        account(index, &trail, &manifest, hash, &mut tally);
        if manifest.log_file.is_none() && item.log {
            let detail = format!("its manifest {key} states no log file");
            let kind = Kind::Uncommitted { manifest: key.to_string() };
            tally.findings.push(key.log(), kind, detail);
        }
        manifest.log_file
    }

    /// Opens a manifest, and says which key signed it.
    fn open(&self, key: &ManifestKey, bytes: &[u8]) -> Result<(Manifest, KeyId), (Kind, String)> {
        let opened = Manifest::open_signed(bytes, &self.checker.keys.manifests);
        if let Ok((id, _)) | Err(OpenError::KeyUnknown(id)) = &opened {
            let signer = KeyObjectKey { home: key.0.home.clone(), id: *id };
            self.checker.tally().signers.insert(signer);
        }
        let (signer, manifest) = opened.map_err(|error| disbelief(&error))?;
        if manifest.manifest != *key {
            let from = manifest.manifest.to_string();
            let detail = format!("it belongs at {from}");
            return Err((Kind::Moved { from }, detail));
        }
        if self.checker.keys.digests.is_revoked(AnyKeyId::Manifest(signer), manifest.created_at) {
            return Err((Kind::KeyRevoked, format!("signed by key {signer} after that was revoked")));
        }
        Ok((manifest, signer))
    }

    /// A manifest against what digests say of it.
    fn digested(&self, index: u32, item: &Item, manifest: &Manifest, signer: KeyId, tally: &mut Tally) {
        let digests = &self.checker.digests;
        let key = &manifest.manifest;
        let Chain { collector, trail, index: at, .. } = &manifest.chain;
        let covered = digests.covers(*collector, trail, *at);
        if self.checker.keys.uncertified.contains(&signer) {
            match covered {
                true => {
                    let detail = format!("no digest certifies key {signer}, which signed it");
                    tally.findings.push(key, Kind::KeyUnknown, detail);
                }
                false => {
                    let detail = format!(
                        "signed by key {signer}, which is published, and which no digest certifies yet"
                    );
                    tally.findings.push(key, Kind::NotYetCertified, detail);
                }
            }
        }
        let listed = digests.listed(index);
        if let (Some(listed), Some(entry)) = (listed, &manifest.log_file) {
            let Some(valid) = digests.valid(listed.digest) else { return };
            if listed.hash != entry.content_sha256 {
                let by = valid.key.to_string();
                let detail = format!(
                    "the digest states the hash {}… of its content, its manifest {}…",
                    short(&listed.hash),
                    short(&entry.content_sha256)
                );
                tally.findings.push(&entry.key, Kind::Contradicted { by }, detail);
            }
            return;
        }
        let place = self.checker.inventory.place(item);
        let Some((newest, period)) = digests.newest(place) else { return };
        if !digests.whole || !digests.has_statements(place) {
            return;
        }
        if covered {
            if let Some(entry) = &manifest.log_file {
                let detail = "a digest covers its manifest, and none lists it";
                tally.findings.push(&entry.key, Kind::Undigested, detail);
            }
            return;
        }
        // The next digest takes in what was stored too late for the newest one.
        let in_time = item.minute.end().checked_add(period).is_ok_and(|over| over <= newest);
        let late = item.modified().is_some_and(|stored| stored >= newest);
        if in_time && !late {
            let detail = format!("it was delivered well before {newest}, and no digest covers it");
            tally.findings.push(key, Kind::Undigested, detail);
        }
    }

    /// Whether a frame that was set aside is there as it was.
    fn quarantined(&self, frame: &Quarantined) -> Result<(), (Kind, String)> {
        let limit = usize::try_from(frame.size).unwrap_or(usize::MAX).min(MAX_FRAME);
        let bytes =
            read(self.checker.bucket, &frame.key.to_string(), limit).map_err(|error| unreadable(&error))?;
        let hash = Sha256::of(&bytes);
        if hash == frame.sha256 {
            return Ok(());
        }
        let (stated, found) = (short(&frame.sha256), short(&hash));
        Err((Kind::Modified, format!("the object has the hash {found}…, the manifest states {stated}…")))
    }

    /// Reads a log file, or knows from an earlier run what is in it. `size` is what its manifest states.
    fn log_file(&self, index: u32, item: &Item, log: &LogKey, expected: Expected, size: Option<u64>) {
        let checker = self.checker;
        let token = Token::new(log, item.version, expected.stored, expected.content);
        let same_size = size.is_none_or(|size| size == u64::from(item.log_size));
        let known = checker.options.cursor.as_ref().is_some_and(|cursor| cursor.contains(&token));
        if known && item.log && same_size {
            let content =
                Content { size: expected.content_size.unwrap_or(0), records: expected.records.unwrap_or(0) };
            checker.valid(u64::from(item.log_size), content, true);
            checker.progress.verified(token);
            return checker.progress.checked(u64::from(item.log_size));
        }
        // What is listed is what is read; what is not listed may be there, for a moment's difference.
        let limit = size.unwrap_or(u64::from(item.log_size));
        let reserved = limit.max(u64::from(item.log_size)).min(MAX_STORED);
        checker.queue.reserve(reserved);
        match self.stored(log, limit, size) {
            Ok(stored) => {
                checker.queue.push(Job { item: index, stored, expected, token, reserved });
                checker.queue.note_read();
            }
            Err((kind, detail)) => {
                checker.queue.release(reserved);
                self.find(log, kind, detail);
                checker.progress.checked(u64::from(item.log_size));
            }
        }
    }

    fn stored(&self, log: &LogKey, limit: u64, size: Option<u64>) -> Result<Vec<u8>, (Kind, String)> {
        let fetched = self.checker.bucket.fetch(&log.to_string(), limit.min(MAX_STORED));
        let stored = fetched.map_err(|error| unreadable(&error))?.bytes;
        let found = stored.len() as u64;
        match size {
            Some(size) if found != size => {
                let relation = if found > size { "more" } else { "fewer" };
                Err((Kind::Modified, format!("{relation} than the {size} bytes the manifest states")))
            }
            None if found > MAX_STORED => Err((Kind::Malformed, format!("larger than {MAX_STORED} bytes"))),
            _ => Ok(stored),
        }
    }
}

fn account(item: u32, trail: &Arc<Trail>, manifest: &Manifest, hash: Sha256, tally: &mut Tally) {
    let (collector, index, previous) =
        (manifest.chain.collector, manifest.chain.index, manifest.chain.previous);
    for source in &manifest.sources {
        tally.totals.filtered = tally.totals.filtered.saturating_add(source.filtered);
        tally.totals.dropped = tally.totals.dropped.saturating_add(source.dropped);
        tally.totals.intents = tally.totals.intents.saturating_add(source.intents);
        let (first, last) = (source.first, source.last);
        tally.ranges.push(Range { trail: trail.clone(), source: source.source, first, last, item });
    }
    tally.sources.note(manifest);
    tally.receipts.note(item, trail, manifest);
    receipts::report(manifest, &mut tally.findings);
    let events_before = manifest.events_before;
    let trail = trail.clone();
    tally.links.push(Link { collector, trail, index, item, previous, hash, events_before });
}

/// Reads a small object; one larger than `limit` is cut behind it, which its reader refuses.
pub(super) fn read(bucket: &dyn Bucket, key: &str, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bucket.open(key)?.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn unreadable(error: &io::Error) -> (Kind, String) {
    match error.kind() {
        io::ErrorKind::NotFound => (Kind::Missing, "there is no such object".to_owned()),
        _ => (Kind::CouldNotCheck, chain(error)),
    }
}

pub(super) fn disbelief(error: &OpenError) -> (Kind, String) {
    let kind = match error {
        OpenError::KeyUnknown(_) => Kind::KeyUnknown,
        OpenError::Signature(_) => Kind::Modified,
        _ => Kind::Malformed,
    };
    (kind, chain(error))
}
