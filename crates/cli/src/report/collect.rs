//! Makes a pack: finds the events, and copies what proves them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use sidetrail_archive::digest::{Digest, MAX_METADATA, PublishedDigestKey};
use sidetrail_archive::dsse::{Envelope, MAX_ENVELOPE};
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{DigestKeyObjectKey, KeyObjectKey, TreeObject, TreePlace};
use sidetrail_archive::log::MAX_CONTENT;
use sidetrail_archive::manifest::PublishedKey;
use sidetrail_archive::sign::{PublicKey, RsaPublicKey};
use sidetrail_archive::source::Bucket;
use sidetrail_archive::tlog::locate::{Located, Locator, MAX_STORED};
use sidetrail_archive::tlog::note::Note;

use super::filter::Event;
use super::pack::{self, FileEntry, Indexed};
use crate::compact::compact;
use crate::find::Found;
use crate::location::Location;
use crate::output;
use crate::print::named;
use crate::prove::Log;

/// A folder that is being filled, and what lies in it.
pub(super) struct Folder<'a> {
    root: &'a Path,
    pub(super) files: BTreeMap<String, FileEntry>,
}

impl<'a> Folder<'a> {
    /// Makes the folder.
    pub(super) fn create(root: &'a Path) -> Result<Self> {
        fs::create_dir(root).with_context(|| format!("could not create {}", root.display()))?;
        Ok(Self { root, files: BTreeMap::new() })
    }

    pub(super) fn put(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let file = self.root.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).with_context(|| format!("could not create {}", parent.display()))?;
        }
        output::create(&file, output::PUBLIC_MODE, bytes)?;
        let entry = FileEntry { path: path.to_owned(), size: bytes.len() as u64, sha256: Sha256::of(bytes) };
        self.files.insert(path.to_owned(), entry);
        Ok(())
    }
}

/// What a pack holds beside its statement.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) index: Vec<Indexed>,
    pub(super) log_files: u64,
    pub(super) proofs: u64,
    pub(super) digests: u64,
    pub(super) logs: Vec<pack::Log>,
    /// What could not be had, in words.
    pub(super) missing: Vec<String>,
}

/// Copies what proves `found` out of `bucket`.
pub(super) fn collect<'a>(
    location: &'a Location,
    bucket: &'a dyn Bucket,
    found: &[Found],
    folder: &mut Folder<'_>,
) -> Result<Collected> {
    let mut collector = Collector {
        location,
        bucket,
        locator: Locator::new(bucket),
        notes: BTreeMap::new(),
        digest_keys: BTreeSet::new(),
        manifest_keys: BTreeSet::new(),
        copied: BTreeSet::new(),
        collected: Collected::default(),
        folder,
    };
    let mut events = Vec::new();
    for group in found.chunk_by(|one, next| one.file == next.file) {
        collector.file(group)?;
        for found in group {
            // A record that spans lines stands on one here; its exact bytes are in its log file and its proof.
            events.extend_from_slice(&line(&found.record));
            events.push(b'\n');
        }
    }
    collector.keys()?;
    let Collector { collected, folder, .. } = collector;
    folder.put(pack::EVENTS, &events)?;
    let mut index = Vec::new();
    for indexed in &collected.index {
        serde_json::to_writer(&mut index, indexed).context("could not write the index as JSON")?;
        index.push(b'\n');
    }
    folder.put(pack::INDEX, &index)?;
    Ok(collected)
}

/// A record as it stands in the file of events.
pub(super) fn line(record: &str) -> Vec<u8> {
    if record.contains(['\n', '\r']) { compact(record) } else { record.as_bytes().to_vec() }
}

struct Collector<'a, 'f, 'r> {
    location: &'a Location,
    bucket: &'a dyn Bucket,
    locator: Locator<'a>,
    /// The checkpoint that all proofs of a log are made with.
    notes: BTreeMap<TreePlace, Note>,
    digest_keys: BTreeSet<DigestKeyObjectKey>,
    manifest_keys: BTreeSet<KeyObjectKey>,
    copied: BTreeSet<String>,
    collected: Collected,
    folder: &'f mut Folder<'r>,
}

impl<'a> Collector<'a, '_, '_> {
    /// A log file and the events that it holds.
    fn file(&mut self, group: &[Found]) -> Result<()> {
        let Some(Found { file, .. }) = group.first() else { return Ok(()) };
        self.copy(&file.to_string(), MAX_CONTENT as usize)?;
        self.collected.log_files += 1;
        let manifest = file.manifest().to_string();
        match self.copy(&manifest, MAX_ENVELOPE) {
            Ok(Some(bytes)) => {
                if let Ok(envelope) = Envelope::read(&bytes) {
                    let key = KeyObjectKey { home: file.0.home.clone(), id: envelope.key_id };
                    self.manifest_keys.insert(key);
                }
            }
            Ok(None) => {}
            Err(error) => self.collected.missing.push(format!("the manifest {manifest}: {error:#}")),
        }
        let located = match self.locator.find(file) {
            Ok(Some(located)) => located,
            Ok(None) => {
                self.collected.missing.push(format!("no digest lists {file} yet"));
                self.index(group, None);
                return Ok(());
            }
            Err(error) => {
                self.collected.missing.push(format!("the digest of {file}: {error}"));
                self.index(group, None);
                return Ok(());
            }
        };
        self.digest(&located.digest)?;
        let log = match located.leaves {
            Some(_) => self.log(located).map_err(|error| format!("a proof of {file}: {error:#}")),
            None => Err(format!("{file}: its trail has no log, so its events have no proofs of their own")),
        };
        match log {
            Ok(log) => self.proofs(group, &log),
            Err(missing) => {
                self.collected.missing.push(missing);
                self.index(group, None);
                Ok(())
            }
        }
    }

    fn index(&mut self, group: &[Found], proofs: Option<Vec<Option<String>>>) {
        let proofs = proofs.unwrap_or_else(|| vec![None; group.len()]);
        for (Found { file, position, record }, proof) in group.iter().zip(proofs) {
            let event_id = Event::of(record).event_id.map(Into::into).unwrap_or_default();
            let (log_file, position) = (file.clone(), *position);
            self.collected.index.push(Indexed { event_id, log_file, position, proof });
        }
    }

    /// The log of a file that was located. All proofs of one log are made with one checkpoint.
    fn log(&mut self, located: Located) -> Result<Log<'a>> {
        let place = located.place.clone();
        let log = match self.notes.get(&place) {
            Some(note) => Log::with(self.bucket, located, note.clone())?,
            None => {
                let log = Log::open(self.bucket, located, None)?;
                self.notes.insert(place.clone(), log.note.clone());
                let key = place.key(TreeObject::Latest).to_string();
                self.put(&key, log.note.to_string().as_bytes())?;
                let (origin, size) = (log.checkpoint.origin.clone(), log.checkpoint.head.size);
                self.collected.logs.push(pack::Log { origin, size, key: log.key.clone() });
                log
            }
        };
        Ok(log)
    }

    fn proofs(&mut self, group: &[Found], log: &Log<'_>) -> Result<()> {
        let mut proofs = Vec::new();
        for Found { file, position, record } in group {
            let proof = log.prove(*position, Some(record.as_bytes())).and_then(|proof| {
                proof.verify(None, std::slice::from_ref(&log.key))?;
                Ok(proof)
            });
            match proof {
                Ok(proof) => {
                    let TreePlace { region, trail, .. } = &log.located.place;
                    let path = format!("{}{region}/{trail}/{}.tlog-proof", pack::PROOFS, proof.index);
                    self.folder.put(&path, proof.to_string().as_bytes())?;
                    self.collected.proofs += 1;
                    proofs.push(Some(path));
                }
                Err(error) => {
                    self.collected.missing.push(format!("a proof of record {position} of {file}: {error:#}"));
                    proofs.push(None);
                }
            }
        }
        self.index(group, Some(proofs));
        Ok(())
    }

    /// A digest with its signature, which becomes a companion file whatever the store keeps it as.
    fn digest(&mut self, digest: &Digest) -> Result<()> {
        let key = digest.object.to_string();
        if self.copied.contains(&key) {
            return Ok(());
        }
        self.copy(&key, MAX_STORED)?;
        self.collected.digests += 1;
        let (home, fingerprint) = (digest.object.home.clone(), digest.fingerprint);
        self.digest_keys.insert(DigestKeyObjectKey { home, fingerprint });
        match self.location.signature(&digest.object) {
            Ok(metadata) => {
                let bytes = metadata.render().context("could not write the signature as JSON")?;
                self.put(&digest.object.companion(), &bytes)
            }
            Err(error) => {
                self.collected.missing.push(format!("the signature of {key}: {error:#}"));
                Ok(())
            }
        }
    }

    /// The published keys that signed any of it, and PEM files of them.
    fn keys(&mut self) -> Result<()> {
        let (mut manifest, mut digest) = (Vec::<PublicKey>::new(), Vec::<RsaPublicKey>::new());
        for object in std::mem::take(&mut self.manifest_keys) {
            match self.copy(&object.to_string(), MAX_ENVELOPE) {
                Ok(Some(bytes)) => {
                    let key = PublishedKey::open(&bytes).ok().map(|published| published.public_key);
                    manifest.extend(key.filter(|key| !manifest.contains(key)));
                }
                Ok(None) => {}
                Err(error) => self.collected.missing.push(format!("the key {object}: {error:#}")),
            }
        }
        for object in std::mem::take(&mut self.digest_keys) {
            match self.copy(&object.to_string(), MAX_ENVELOPE) {
                Ok(Some(bytes)) => {
                    let key =
                        PublishedDigestKey::open(&bytes).ok().map(|(published, _)| published.public_key);
                    digest.extend(key.filter(|key| !digest.contains(key)));
                }
                Ok(None) => {}
                Err(error) => self.collected.missing.push(format!("the key {object}: {error:#}")),
            }
        }
        let pem: String = manifest.iter().map(PublicKey::to_pem).collect();
        self.folder.put(pack::MANIFEST_KEYS, pem.as_bytes())?;
        let pem: String = digest.iter().map(RsaPublicKey::to_pem).collect();
        self.folder.put(pack::DIGEST_KEYS, pem.as_bytes())?;
        let logs: String = self.collected.logs.iter().map(|log| format!("{}\n", log.key)).collect();
        self.folder.put(pack::LOG_KEYS, logs.as_bytes())
    }

    /// Copies an object, once; its bytes if it was not there yet.
    fn copy(&mut self, key: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        if self.copied.contains(key) {
            return Ok(None);
        }
        let bytes = read(self.bucket, key, limit).map_err(|error| anyhow!(named(key, &error)))?;
        self.put(key, &bytes)?;
        Ok(Some(bytes))
    }

    fn put(&mut self, key: &str, bytes: &[u8]) -> Result<()> {
        if self.copied.insert(key.to_owned()) {
            self.folder.put(&format!("{}{key}", pack::ARCHIVE), bytes)?;
        }
        Ok(())
    }
}

/// An object of at most so many bytes.
pub(super) fn read(bucket: &dyn Bucket, key: &str, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bucket.open(key)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// The most bytes of a companion.
pub(super) const MAX_COMPANION: usize = MAX_METADATA;
