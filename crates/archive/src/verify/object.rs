//! One object at a time: a manifest, its log file, a published key.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};

use flate2::bufread::GzDecoder;

use super::report::{Findings, Kind, Totals, short};
use super::scan::Counter;
use super::{Checker, Link, Range, receipts};
use crate::causes::chain;
use crate::dsse::MAX_ENVELOPE;
use crate::hash::{Hasher, Sha256};
use crate::key::{KeyObjectKey, ManifestKey};
use crate::log::MAX_CONTENT;
use crate::manifest::{LogEntry, Manifest, OpenError, PublishedKey, Quarantined};
use crate::sign::PublicKey;
use crate::source::Bucket;

/// Bytes of content that are inflated, hashed and counted at once; each thread has one such buffer.
const BUFFER: usize = 128 << 10;
/// Stored bytes that are read at once.
const STORED_BUFFER: usize = 64 << 10;

/// The most bytes of a quarantined frame that are read.
const MAX_FRAME: usize = 32 << 20;

/// What one thread has found.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) findings: Findings,
    pub(super) totals: Totals,
    pub(super) links: Vec<Link>,
    pub(super) ranges: Vec<Range>,
    /// What manifests say of events that are not among their records.
    pub(super) receipts: receipts::Tally,
    /// Places whose manifest is there but is not part of a chain, as a finding says why.
    pub(super) unlinked: Vec<u32>,
    /// Whether one of these is so because the store failed.
    pub(super) unread: bool,
    /// The keys that manifests were signed with.
    pub(super) signers: BTreeSet<KeyObjectKey>,
}

impl Tally {
    pub(super) fn append(&mut self, other: Self) {
        self.findings.append(other.findings);
        self.totals.add(&other.totals);
        self.links.extend(other.links);
        self.ranges.extend(other.ranges);
        self.receipts.append(other.receipts);
        self.unlinked.extend(other.unlinked);
        self.unread |= other.unread;
        self.signers.extend(other.signers);
    }
}

/// Checks items, one after the other.
pub(super) struct Worker<'a> {
    checker: &'a Checker<'a>,
    buffer: Box<[u8]>,
    pub(super) tally: Tally,
}

impl<'a> Worker<'a> {
    pub(super) fn new(checker: &'a Checker<'a>) -> Self {
        Self { checker, buffer: vec![0; BUFFER].into(), tally: Tally::default() }
    }

    /// Checks the item at `index` of the inventory; returns the stored bytes that were read.
    pub(super) fn check(&mut self, index: u32) -> u64 {
        let inventory = self.checker.inventory;
        let item = &inventory.items[index as usize];
        let key = inventory.manifest_key(item);
        if !item.manifest {
            self.uncommitted(&key, format!("its manifest {key} is missing"));
            return 0;
        }
        let bytes = match read(self.checker.bucket, &key.to_string(), MAX_ENVELOPE) {
            Ok(bytes) => bytes,
            Err(error) => {
                let (kind, detail) = unreadable(&error);
                self.tally.unread |= kind == Kind::CouldNotCheck;
                self.tally.findings.push(&key, kind, detail);
                self.tally.unlinked.push(index);
                return 0;
            }
        };
        let manifest = match self.open(&key, &bytes) {
            Ok(manifest) => manifest,
            Err((kind, detail)) => {
                self.tally.findings.push(&key, kind, detail);
                self.tally.unlinked.push(index);
                return bytes.len() as u64;
            }
        };
        self.account(index, &manifest, Sha256::of(&bytes));
        let mut size = bytes.len() as u64;
        match &manifest.log_file {
            Some(entry) => size += self.log_file(entry),
            None if item.log => self.uncommitted(&key, format!("its manifest {key} states no log file")),
            None => {}
        }
        size
    }

    fn uncommitted(&mut self, manifest: &ManifestKey, detail: String) {
        self.tally.findings.push(
            manifest.log(),
            Kind::Uncommitted { manifest: manifest.to_string() },
            detail,
        );
    }

    fn open(&mut self, key: &ManifestKey, bytes: &[u8]) -> Result<Manifest, (Kind, String)> {
        let opened = Manifest::open_signed(bytes, self.checker.keys);
        if let Ok((id, _)) | Err(OpenError::KeyUnknown(id)) = &opened {
            self.tally.signers.insert(KeyObjectKey { home: key.0.home.clone(), id: *id });
        }
        let (_, manifest) = opened.map_err(|error| disbelief(&error))?;
        if manifest.manifest == *key {
            Ok(manifest)
        } else {
            let from = manifest.manifest.to_string();
            let detail = format!("it belongs at {from}");
            Err((Kind::Moved { from }, detail))
        }
    }

    fn account(&mut self, item: u32, manifest: &Manifest, hash: Sha256) {
        let trail = self.checker.intern(&manifest.chain.trail);
        let (collector, index, previous) =
            (manifest.chain.collector, manifest.chain.index, manifest.chain.previous);
        for source in &manifest.sources {
            self.tally.totals.filtered = self.tally.totals.filtered.saturating_add(source.filtered);
            self.tally.totals.dropped = self.tally.totals.dropped.saturating_add(source.dropped);
            self.tally.totals.intents = self.tally.totals.intents.saturating_add(source.intents);
            let (first, last) = (source.first, source.last);
            self.tally.ranges.push(Range { trail: trail.clone(), source: source.source, first, last, item });
        }
        self.tally.receipts.note(item, &trail, manifest);
        for frame in &manifest.quarantined {
            if let Err((kind, detail)) = self.quarantined(frame) {
                self.tally.findings.push(&frame.key, kind, detail);
            }
        }
        receipts::report(manifest, &mut self.tally.findings);
        self.tally.links.push(Link { collector, trail, index, item, previous, hash });
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
        Err((Kind::Modified, differs("the object", &frame.sha256, &hash)))
    }

    fn log_file(&mut self, entry: &LogEntry) -> u64 {
        match self.read_log_file(entry) {
            Ok(()) => {
                self.tally.totals.add(&Totals {
                    valid_log_files: 1,
                    records: entry.records,
                    stored_bytes: entry.size,
                    content_bytes: entry.content_size,
                    ..Totals::default()
                });
                entry.size
            }
            Err((kind, detail)) => {
                self.tally.findings.push(&entry.key, kind, detail);
                0
            }
        }
    }

    /// Reads the log file once, hashing what is stored and what it inflates to. Never more is read than is stated, and
    /// one byte.
    fn read_log_file(&mut self, entry: &LogEntry) -> Result<(), (Kind, String)> {
        let key = entry.key.to_string();
        let stored = self.checker.bucket.open(&key).map_err(|error| unreadable(&error))?;
        let stored = Stored {
            source: stored.take(entry.size.saturating_add(1)),
            hasher: Hasher::new(),
            failed: false,
        };
        let mut gzip = GzDecoder::new(BufReader::with_capacity(STORED_BUFFER, stored));
        let content = inflate(&mut gzip, &mut self.buffer, entry.content_size.min(MAX_CONTENT));

        // Whatever became of the content, the stored bytes are hashed to their end.
        let mut rest = gzip.into_inner();
        let drained = io::copy(&mut rest, &mut io::sink());
        let stored = rest.into_inner();
        if stored.failed {
            let error = drained.err().or(content.err()).unwrap_or_else(|| io::Error::other("reading failed"));
            return Err((Kind::CouldNotCheck, chain(&error)));
        }
        let (size, hash) = (stored.hasher.size(), stored.hasher.finish());
        if size != entry.size {
            let relation = if size > entry.size { "more" } else { "fewer" };
            return Err((
                Kind::Modified,
                format!("{relation} than the {} bytes the manifest states", entry.size),
            ));
        }
        if hash != entry.sha256 {
            return Err((Kind::Modified, differs("the object", &entry.sha256, &hash)));
        }
        let content = content.map_err(|error| (Kind::Malformed, format!("not gzip: {}", chain(&error))))?;
        if content.size != entry.content_size {
            let detail = format!("does not inflate to the {} bytes the manifest states", entry.content_size);
            return Err((Kind::Malformed, detail));
        }
        if drained.is_ok_and(|trailing| trailing > 0) {
            let detail = "unexpected data after the end of the compressed stream";
            return Err((Kind::Malformed, detail.to_owned()));
        }
        if content.hash != entry.content_sha256 {
            return Err((Kind::Malformed, differs("the content", &entry.content_sha256, &content.hash)));
        }
        match content.records {
            Some(records) if records == entry.records => Ok(()),
            Some(records) => {
                let detail = format!("holds {records} records, the manifest states {}", entry.records);
                Err((Kind::Malformed, detail))
            }
            None => Err((Kind::Malformed, "the content is not a log file".to_owned())),
        }
    }
}

/// Reads every published key: those that are what they should be, and what is wrong with the others.
pub(super) fn published(
    bucket: &dyn Bucket,
    keys: &[KeyObjectKey],
    findings: &mut Findings,
) -> Vec<PublicKey> {
    let mut good: Vec<PublicKey> = Vec::new();
    for key in keys {
        let read = read(bucket, &key.to_string(), MAX_ENVELOPE).map_err(|error| unreadable(&error));
        match read.and_then(|bytes| PublishedKey::open(&bytes).map_err(|error| disbelief(&error))) {
            Ok(published) if published.object == *key => {
                // The same key may be published for several accounts.
                if !good.contains(&published.public_key) {
                    good.push(published.public_key);
                }
            }
            Ok(PublishedKey { object, .. }) => {
                let from = object.to_string();
                let detail = format!("it belongs at {from}");
                findings.push(key, Kind::Moved { from }, detail);
            }
            Err((kind, detail)) => findings.push(key, kind, detail),
        }
    }
    good
}

/// What a log file inflates to.
struct Content {
    size: u64,
    hash: Sha256,
    records: Option<u64>,
}

/// Inflates to the end, or until there is more than `limit`.
fn inflate(gzip: &mut impl Read, buffer: &mut [u8], limit: u64) -> io::Result<Content> {
    let (mut hasher, mut counter) = (Hasher::new(), Counter::default());
    loop {
        let filled = fill(gzip, buffer)?;
        hasher.update(&buffer[..filled]);
        counter.feed(&buffer[..filled]);
        if filled < buffer.len() || hasher.size() > limit {
            return Ok(Content { size: hasher.size(), hash: hasher.finish(), records: counter.finish() });
        }
    }
}

/// Reads until the buffer is full or the source at its end.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Hashes what passes through, and remembers whether the source failed: damaged gzip is an error of reading too, but
/// not of the store.
struct Stored<R> {
    source: R,
    hasher: Hasher,
    failed: bool,
}

impl<R: Read> Read for Stored<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.source.read(buffer) {
            Ok(size) => {
                self.hasher.update(&buffer[..size]);
                Ok(size)
            }
            Err(error) => {
                self.failed |= error.kind() != io::ErrorKind::Interrupted;
                Err(error)
            }
        }
    }
}

/// Reads a small object; one larger than `limit` is cut behind it, which its reader refuses.
pub(super) fn read(bucket: &dyn Bucket, key: &str, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bucket.open(key)?.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(error: &io::Error) -> (Kind, String) {
    match error.kind() {
        io::ErrorKind::NotFound => (Kind::Missing, "there is no such object".to_owned()),
        _ => (Kind::CouldNotCheck, chain(error)),
    }
}

fn disbelief(error: &OpenError) -> (Kind, String) {
    let kind = match error {
        OpenError::KeyUnknown(_) => Kind::KeyUnknown,
        OpenError::Signature(_) => Kind::Modified,
        _ => Kind::Malformed,
    };
    (kind, chain(error))
}

fn differs(what: &str, stated: &Sha256, found: &Sha256) -> String {
    format!("{what} has the hash {}…, the manifest states {}…", short(found), short(stated))
}
