//! Checks a pack by itself: everything in it must be proved, and nothing outside of it is asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read};
use std::ops::ControlFlow;

use serde::Serialize;
use sidetrail_archive::digest::{Digest, Opened, PublishedDigestKey};
use sidetrail_archive::dsse::MAX_ENVELOPE;
use sidetrail_archive::hash::{Hasher, Sha256};
use sidetrail_archive::key::{DigestKey, DigestKeyObjectKey, KeyObjectKey, LogKey, ManifestKey, TreeKey};
use sidetrail_archive::log::{MAX_CONTENT, content_digest, read_records};
use sidetrail_archive::manifest::{Manifest, PublishedKey};
use sidetrail_archive::sign::{KeyBundle, PublicKey, RsaPublicKey};
use sidetrail_archive::source::Bucket;
use sidetrail_archive::tlog::checkpoint::Checkpoint;
use sidetrail_archive::tlog::locate::MAX_STORED;
use sidetrail_archive::tlog::note::{MAX_NOTE, Note, VerifierKey};
use sidetrail_archive::tlog::proof::{Inclusion, MAX_FILE};

use super::collect::{line, read};
use super::pack::{self, FileEntry, Indexed, Statement};
use crate::find::Found;
use crate::print::chain;

/// At most this many findings are kept; the rest is counted.
const MAX_FINDINGS: usize = 10_000;

/// The most bytes of the file of events, and of its index.
const MAX_LINES: usize = pack::MAX_BYTES as usize + pack::MAX_EVENTS;

/// Something that is wrong.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) file: String,
    pub(super) kind: &'static str,
    pub(super) detail: String,
}

/// What a check comes to.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checked {
    pub(super) files: u64,
    pub(super) events: u64,
    pub(super) log_files: u64,
    pub(super) manifests: u64,
    pub(super) digests: u64,
    pub(super) proofs: u64,
    pub(super) wrong: u64,
    pub(super) unchecked: u64,
    pub(super) findings: Vec<Finding>,
}

/// What is believed.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) manifest: Vec<PublicKey>,
    pub(super) digest: Vec<RsaPublicKey>,
}

impl From<KeyBundle> for Keys {
    fn from(bundle: KeyBundle) -> Self {
        Self { manifest: bundle.manifest_keys, digest: bundle.digest_keys }
    }
}

/// The statement of a pack.
pub(super) fn statement(bucket: &dyn Bucket) -> io::Result<Statement> {
    let bytes = read(bucket, pack::STATEMENT, pack::MAX_STATEMENT as usize)?;
    let statement: Statement = serde_json::from_slice(&bytes)?;
    if statement.version != pack::VERSION {
        let message =
            format!("it is of version {}, and this program reads {}", statement.version, pack::VERSION);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(statement)
}

/// Checks a pack with the keys that are given, or else with those in it.
pub(super) fn check(bucket: &dyn Bucket, statement: &Statement, given: Option<Keys>) -> Checked {
    let mut checker = Checker {
        bucket,
        given,
        published: Keys::default(),
        digests: Vec::new(),
        contents: BTreeMap::new(),
        signed: BTreeSet::new(),
        checked: Checked::default(),
    };
    let keys = checker.files(statement);
    checker.keys(&keys);
    checker.objects(&keys);
    checker.key_files();
    checker.events(statement);
    checker.checked
}

struct Checker<'a> {
    bucket: &'a dyn Bucket,
    given: Option<Keys>,
    published: Keys,
    digests: Vec<Digest>,
    /// The log files and the SHA-256 of what they inflate to.
    contents: BTreeMap<LogKey, Sha256>,
    /// The log files that a manifest or a digest vouches for.
    signed: BTreeSet<LogKey>,
    checked: Checked,
}

impl Checker<'_> {
    fn wrong(&mut self, file: &str, kind: &'static str, detail: impl Into<String>) {
        self.checked.wrong += 1;
        self.found(file, kind, detail.into());
    }

    fn found(&mut self, file: &str, kind: &'static str, detail: String) {
        if self.checked.findings.len() < MAX_FINDINGS {
            self.checked.findings.push(Finding { file: file.to_owned(), kind, detail });
        }
    }

    fn unreadable(&mut self, file: &str, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::NotFound => self.wrong(file, "missing", "it is not there"),
            io::ErrorKind::InvalidData => self.wrong(file, "malformed", chain(error)),
            _ => {
                self.checked.unchecked += 1;
                self.found(file, "could not check", chain(error));
            }
        }
    }

    /// Every file is there and is what the statement says; no other is. Returns the keys of the objects.
    fn files(&mut self, statement: &Statement) -> Vec<String> {
        let mut present: BTreeSet<String> = BTreeSet::new();
        let listed = self.bucket.list("", &mut |entry| {
            present.insert(entry.key.to_owned());
            ControlFlow::Continue(())
        });
        if let Err(error) = listed {
            self.unreadable("", &error);
        }
        present.remove(pack::STATEMENT);
        for FileEntry { path, size, sha256 } in &statement.files {
            self.checked.files += 1;
            if !present.remove(path) {
                self.wrong(path, "missing", "the statement lists it");
                continue;
            }
            match hash(self.bucket, path, *size) {
                Ok(hash) if hash == *sha256 => {}
                Ok(hash) => {
                    let detail = format!("it has the hash {hash}, the statement has {sha256}");
                    self.wrong(path, "modified", detail);
                }
                Err(error) => self.unreadable(path, &error),
            }
        }
        for path in &present {
            self.wrong(path, "added", "the statement does not list it");
        }
        let objects = statement.files.iter().filter_map(|file| file.path.strip_prefix(pack::ARCHIVE));
        objects.map(str::to_owned).collect()
    }

    /// The published keys. They are believed if none are given.
    fn keys(&mut self, keys: &[String]) {
        for key in keys {
            let path = format!("{}{key}", pack::ARCHIVE);
            if let Ok(object) = key.parse::<KeyObjectKey>() {
                let opened = self.read(&path, MAX_ENVELOPE).map(|bytes| PublishedKey::open(&bytes));
                match opened {
                    Some(Ok(published)) if published.object == object => {
                        self.published.manifest.push(published.public_key);
                    }
                    Some(Ok(_)) => self.wrong(&path, "moved", "it is the key of another place"),
                    Some(Err(error)) => self.wrong(&path, "modified", chain(&error)),
                    None => {}
                }
            } else if let Ok(object) = key.parse::<DigestKeyObjectKey>() {
                let opened = self.read(&path, MAX_ENVELOPE).map(|bytes| PublishedDigestKey::open(&bytes));
                match opened {
                    Some(Ok((published, _))) if published.object == object => {
                        self.published.digest.push(published.public_key);
                    }
                    Some(Ok(_)) => self.wrong(&path, "moved", "it is the key of another place"),
                    Some(Err(error)) => self.wrong(&path, "modified", chain(&error)),
                    None => {}
                }
            }
        }
    }

    /// Digests first, since they certify the keys of manifests, then log files, then manifests.
    fn objects(&mut self, keys: &[String]) {
        for key in keys.iter().filter_map(|key| key.parse::<DigestKey>().ok()) {
            self.digest(&key);
        }
        for key in keys.iter().filter_map(|key| key.parse::<LogKey>().ok()) {
            self.log_file(&key);
        }
        for key in keys.iter().filter_map(|key| key.parse::<ManifestKey>().ok()) {
            self.manifest(&key);
        }
        self.listed();
        for key in keys.iter().filter_map(|key| key.parse::<TreeKey>().ok()) {
            self.checkpoint(&key);
        }
        for key in keys.iter().filter(|key| !is_known(key)) {
            let path = format!("{}{key}", pack::ARCHIVE);
            self.wrong(&path, "unsigned", "nothing in the pack says what it is");
        }
        let unsigned: Vec<LogKey> =
            self.contents.keys().filter(|file| !self.signed.contains(*file)).cloned().collect();
        for file in unsigned {
            let path = format!("{}{file}", pack::ARCHIVE);
            self.wrong(&path, "unsigned", "neither a manifest nor a digest in the pack vouches for it");
        }
    }

    fn digest(&mut self, key: &DigestKey) {
        let path = format!("{}{key}", pack::ARCHIVE);
        self.checked.digests += 1;
        let Some(bytes) = self.read(&path, MAX_STORED) else { return };
        let opened = match Opened::read(&bytes) {
            Ok(opened) => opened,
            Err(error) => return self.wrong(&path, "malformed", chain(&error)),
        };
        if opened.digest.object != *key {
            return self.wrong(&path, "moved", format!("it belongs at {}", opened.digest.object));
        }
        let companion = format!("{}{}", pack::ARCHIVE, key.companion());
        let Some(metadata) = self.read(&companion, super::collect::MAX_COMPANION) else { return };
        let Ok(metadata) = sidetrail_archive::digest::Metadata::parse(&metadata) else {
            return self.wrong(&companion, "malformed", "it is not the signature of a digest");
        };
        let keys = self.given.as_ref().filter(|given| !given.digest.is_empty());
        let keys = &keys.unwrap_or(&self.published).digest;
        let fingerprint = opened.digest.fingerprint;
        let Some(key) = keys.iter().find(|key| key.fingerprint() == fingerprint) else {
            return self.wrong(&path, "key unknown", format!("it is signed by the key {fingerprint}"));
        };
        if !opened.is_signed_by(key, &metadata.signature) {
            return self.wrong(&path, "modified", "the signature is not that of its key");
        }
        self.digests.push(opened.digest);
    }

    fn log_file(&mut self, key: &LogKey) {
        let path = format!("{}{key}", pack::ARCHIVE);
        self.checked.log_files += 1;
        let Some(bytes) = self.read(&path, MAX_CONTENT as usize) else { return };
        match content_digest(&bytes, MAX_CONTENT) {
            Ok((hash, _)) => {
                self.contents.insert(key.clone(), hash);
            }
            Err(error) => self.wrong(&path, "malformed", chain(&error)),
        }
    }

    fn manifest(&mut self, key: &ManifestKey) {
        let path = format!("{}{key}", pack::ARCHIVE);
        self.checked.manifests += 1;
        let Some(bytes) = self.read(&path, MAX_ENVELOPE) else { return };
        // A digest that is believed vouches for the keys that it names.
        let certified = self.digests.iter().filter_map(|digest| digest.statement.as_ref());
        let certified = certified.flat_map(|statement| statement.keys.iter().map(|key| key.0.clone()));
        let keys = self.given.as_ref().filter(|given| !given.manifest.is_empty());
        let keys: Vec<PublicKey> = match keys {
            Some(given) => given.manifest.iter().cloned().chain(certified).collect(),
            // With keys of digests only, the published keys of manifests are just what somebody put there.
            None if self.given.is_some() => certified.collect(),
            None => self.published.manifest.iter().cloned().chain(certified).collect(),
        };
        let manifest = match Manifest::open(&bytes, &keys) {
            Ok(manifest) if manifest.manifest == *key => manifest,
            Ok(manifest) => {
                return self.wrong(&path, "moved", format!("it belongs at {}", manifest.manifest));
            }
            Err(error @ sidetrail_archive::manifest::OpenError::KeyUnknown(_)) => {
                return self.wrong(&path, "key unknown", chain(&error));
            }
            Err(error) => return self.wrong(&path, "modified", chain(&error)),
        };
        let Some(stated) = manifest.log_file else { return };
        let log = format!("{}{}", pack::ARCHIVE, stated.key);
        match self.contents.get(&stated.key) {
            None => self.wrong(&log, "missing", "a manifest in the pack states it"),
            Some(hash) if *hash == stated.content_sha256 => {
                self.signed.insert(stated.key);
            }
            Some(_) => self.wrong(&log, "modified", "its content is not what its manifest states"),
        }
    }

    /// What digests say of the log files that are here.
    fn listed(&mut self) {
        let mut wrong = Vec::new();
        for file in self.digests.iter().flat_map(|digest| &digest.log_files) {
            match self.contents.get(&file.object) {
                Some(hash) if *hash == file.hash => {
                    self.signed.insert(file.object.clone());
                }
                Some(_) => wrong.push(file.object.clone()),
                None => {}
            }
        }
        for file in wrong {
            let path = format!("{}{file}", pack::ARCHIVE);
            self.wrong(&path, "modified", "its content is not what its digest states");
        }
    }

    /// The keys of logs that digests name.
    fn log_keys(&self) -> Vec<VerifierKey> {
        let mut keys: Vec<VerifierKey> = Vec::new();
        for statement in self.digests.iter().filter_map(|digest| digest.statement.as_ref()) {
            let key = statement.tree.as_ref().map(|tree| tree.key.clone());
            keys.extend(key.filter(|key| !keys.contains(key)));
        }
        keys
    }

    /// The files with keys hold those that are published beside them, and those that digests name.
    fn key_files(&mut self) {
        let Keys { manifest, digest } = &self.published;
        let manifest: String = manifest.iter().map(PublicKey::to_pem).collect();
        let digest: String = digest.iter().map(RsaPublicKey::to_pem).collect();
        let logs: String = self.log_keys().iter().map(|key| format!("{key}\n")).collect();
        for (path, expected) in
            [(pack::MANIFEST_KEYS, manifest), (pack::DIGEST_KEYS, digest), (pack::LOG_KEYS, logs)]
        {
            let sorted = |text: &str| text.split_inclusive('\n').map(str::to_owned).collect::<BTreeSet<_>>();
            let Some(bytes) = self.read(path, pack::MAX_KEYS) else { continue };
            if sorted(&String::from_utf8_lossy(&bytes)) != sorted(&expected) {
                self.wrong(path, "modified", "it does not hold the keys that the pack is signed with");
            }
        }
    }

    fn checkpoint(&mut self, key: &TreeKey) {
        let path = format!("{}{key}", pack::ARCHIVE);
        let Some(bytes) = self.read(&path, MAX_NOTE) else { return };
        let keys = self.log_keys();
        let opened = Note::parse(&bytes).map_err(|error| chain(&error));
        let opened = opened.and_then(|note| Checkpoint::open(&note, &keys).map_err(|error| chain(&error)));
        if let Err(error) = opened {
            self.wrong(&path, "modified", error);
        }
    }

    /// Every event is in the log file that it is said to be in, and in the log.
    fn events(&mut self, statement: &Statement) {
        let Some(indexed) = self.lines(pack::INDEX) else { return };
        let Some(events) = self.lines(pack::EVENTS) else { return };
        if indexed.len() != events.len() || events.len() as u64 != statement.answer.events {
            let detail = format!(
                "{} events, {} in the index, {} in the statement",
                events.len(),
                indexed.len(),
                statement.answer.events
            );
            self.wrong(pack::EVENTS, "modified", detail);
        }
        // By log file, each of which is read once.
        let mut wanted: HashMap<LogKey, BTreeMap<u64, (usize, Indexed)>> = HashMap::new();
        for (number, text) in indexed.iter().enumerate() {
            match serde_json::from_str::<Indexed>(text) {
                Ok(indexed) if serde_json::to_string(&indexed).is_ok_and(|own| own == *text) => {
                    let file = wanted.entry(indexed.log_file.clone()).or_default();
                    if let Some((other, _)) = file.insert(indexed.position, (number, indexed)) {
                        let detail = format!("lines {} and {} are of one record", other + 1, number + 1);
                        self.wrong(pack::INDEX, "modified", detail);
                    }
                }
                Ok(_) => self.wrong(
                    pack::INDEX,
                    "malformed",
                    format!("line {}: it is in another form", number + 1),
                ),
                Err(error) => {
                    self.wrong(pack::INDEX, "malformed", format!("line {}: {error}", number + 1));
                }
            }
        }
        let keys = self.log_keys();
        let mut shown = BTreeMap::new();
        let mut proofs: BTreeSet<String> = statement
            .files
            .iter()
            .map(|file| &file.path)
            .filter(|path| path.starts_with(pack::PROOFS))
            .cloned()
            .collect();
        for (file, mut wanted) in wanted {
            let path = format!("{}{file}", pack::ARCHIVE);
            let object = match self.bucket.open(&path) {
                Ok(object) => object,
                Err(error) => {
                    self.unreadable(&path, &error);
                    continue;
                }
            };
            let (mut position, mut found) = (0, Vec::new());
            let read = read_records(object, MAX_CONTENT, |record| {
                if let Some((number, indexed)) = wanted.remove(&position) {
                    found.push((number, indexed, record.to_owned()));
                }
                position += 1;
                ControlFlow::<()>::Continue(())
            });
            if let Err(error) = read {
                self.wrong(&path, "malformed", chain(&error));
            }
            for (number, indexed, record) in found {
                if events.get(number).map(String::as_bytes) != Some(&line(&record)[..]) {
                    let detail = format!("line {} is not record {} of {file}", number + 1, indexed.position);
                    self.wrong(pack::EVENTS, "modified", detail);
                    continue;
                }
                self.checked.events += 1;
                if let Some(proof) = &indexed.proof {
                    proofs.remove(proof);
                    self.proof(proof, &record, &keys);
                }
                let (file, position) = (file.clone(), indexed.position);
                shown.insert(number, (indexed, Found { file, position, record }));
            }
            for (position, (number, _)) in wanted {
                let detail =
                    format!("line {} is record {position} of {file}, which has no such record", number + 1);
                self.wrong(pack::EVENTS, "modified", detail);
            }
        }
        for proof in proofs {
            self.wrong(&proof, "modified", "it is of no event of the index");
        }
        let (index, found): (Vec<_>, Vec<_>) = shown.into_values().unzip();
        self.report(statement, &index, &found);
    }

    /// The page says what the rest of the pack says. Another version may say it in another way.
    fn report(&mut self, statement: &Statement, index: &[Indexed], found: &[Found]) {
        if statement.tool != super::TOOL {
            return;
        }
        let page = super::html::render(statement, index, found);
        match self.read(pack::REPORT, page.len() + 1) {
            Some(bytes) if bytes == page.as_bytes() => {}
            Some(_) => self.wrong(pack::REPORT, "modified", "it does not say what the rest of the pack says"),
            None => {}
        }
        if self.read(pack::README, super::README_TEXT.len()).is_some_and(|text| text != super::README_TEXT) {
            self.wrong(pack::README, "modified", "it is not the text of this version");
        }
    }

    fn proof(&mut self, path: &str, record: &str, keys: &[VerifierKey]) {
        self.checked.proofs += 1;
        let Some(bytes) = self.read(path, MAX_FILE) else { return };
        let proved = Inclusion::parse(&bytes).and_then(|proof| {
            proof.verify(Some(record.as_bytes()), keys)?;
            Ok(proof.record.is_none_or(|own| own == record.as_bytes()))
        });
        match proved {
            Ok(true) => {}
            Ok(false) => self.wrong(path, "modified", "the record in it is not its event"),
            Err(error) => self.wrong(path, "modified", chain(&error)),
        }
    }

    /// The lines of a file, each of which ends with a line feed.
    fn lines(&mut self, path: &str) -> Option<Vec<String>> {
        let bytes = self.read(path, MAX_LINES)?;
        let text = String::from_utf8(bytes).ok();
        let lines = text.filter(|text| text.is_empty() || text.ends_with('\n'));
        let lines = lines.map(|text| text.split_terminator('\n').map(str::to_owned).collect());
        if lines.is_none() {
            self.wrong(path, "malformed", "it is not UTF-8 in lines");
        }
        lines
    }

    fn read(&mut self, path: &str, limit: usize) -> Option<Vec<u8>> {
        let bytes = read(self.bucket, path, limit);
        bytes.inspect_err(|error| self.unreadable(path, error)).ok()
    }
}

/// Whether objects of this name are checked.
fn is_known(key: &str) -> bool {
    key.parse::<LogKey>().is_ok()
        || key.parse::<ManifestKey>().is_ok()
        || key.parse::<DigestKey>().is_ok()
        || DigestKey::of_companion(key).is_some()
        || key.parse::<KeyObjectKey>().is_ok()
        || key.parse::<DigestKeyObjectKey>().is_ok()
        || key.parse::<TreeKey>().is_ok()
}

/// The hash of a file of that size.
fn hash(bucket: &dyn Bucket, path: &str, size: u64) -> io::Result<Sha256> {
    let mut object = bucket.open(path)?.take(size + 1);
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 64 << 10]);
    loop {
        match object.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}
