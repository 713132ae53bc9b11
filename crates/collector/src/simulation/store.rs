//! A store that fails before, fails after, carries out later what it was thought to have lost, and forgets what it said
//! it has, though never what it confirmed. It looks at what it is given: a name has one content for ever, and a manifest goes on from the one before it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Id, LogKey, ManifestKey};
use sidetrail_archive::manifest::Manifest;
use sidetrail_archive::sign::PublicKey;
use sidetrail_archive::source::{Bucket, Entry};
use sidetrail_archive::store::Put;

use super::draw::Draw;
use crate::trail::{Destination, DestinationError};

/// Requests that the store took and did not answer may still happen after so many others.
const LATEST: u64 = 40;

/// The store of one trail. Clones are the same one.
#[derive(Clone)]
pub(super) struct Store(Arc<Mutex<State>>);

pub(super) struct State {
    pub(super) objects: BTreeMap<String, Bytes>,
    /// What was first tried under each name, whether or not it got there.
    tried: BTreeMap<String, Sha256>,
    /// Creates that have not happened yet, and when they will.
    late: Vec<(u64, String, Bytes)>,
    requests: u64,
    /// One request in so many fails; 0 for none.
    pub(super) fails_one_in: u64,
    pub(super) away: bool,
    chain: Chain,
    draw: Draw,
    /// Creates that happened when nobody expected them any more.
    pub(super) happened_late: u64,
}

/// The manifests so far, as their chain says.
struct Chain {
    key: PublicKey,
    manifests: u64,
    previous: Option<Manifest>,
    hash: Option<Sha256>,
    lasts: BTreeMap<Id, u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    /// Nothing happened.
    Lost,
    /// It happened, and the answer is lost.
    Kept,
    /// The answer is lost, and it happens later.
    Late,
    /// It is said to have happened, and did not.
    Forgotten,
}

impl Store {
    pub(super) fn new(key: PublicKey, draw: Draw) -> Self {
        let lasts = BTreeMap::new();
        Self(Arc::new(Mutex::new(State {
            objects: BTreeMap::new(),
            tried: BTreeMap::new(),
            late: Vec::new(),
            requests: 0,
            fails_one_in: 0,
            away: false,
            chain: Chain { key, manifests: 0, previous: None, hash: None, lasts },
            draw,
            happened_late: 0,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    /// Another build had stored the last log file: the same content in other bytes. Only before its manifest was tried,
    /// for that states the bytes.
    pub(super) fn rebuild_last(&mut self) -> bool {
        let uncommitted = |key: &&String| {
            let Ok(log) = key.parse::<LogKey>() else { return false };
            !self.tried.contains_key(&log.manifest().to_string())
        };
        let Some(key) = self.objects.keys().find(uncommitted).cloned() else { return false };
        let mut content = Vec::new();
        flate2::bufread::GzDecoder::new(&self.objects[&key][..]).read_to_end(&mut content).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        io::Write::write_all(&mut encoder, &content).unwrap();
        self.objects.insert(key, encoder.finish().unwrap().into());
        true
    }

    /// Everything that is late happens now.
    pub(super) fn catch_up(&mut self) {
        for (_, key, bytes) in std::mem::take(&mut self.late) {
            self.happened_late += 1;
            self.put(&key, &bytes);
        }
    }

    fn request(&mut self, creates: bool) -> Fate {
        self.requests += 1;
        let now = self.requests;
        let due = self.late.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>();
        for (_, key, bytes) in due {
            self.happened_late += 1;
            self.put(&key, &bytes);
        }
        if self.away {
            return if creates && self.draw.one_in(6) { Fate::Late } else { Fate::Lost };
        }
        match self.draw.one_in(self.fails_one_in) {
            true if creates => {
                self.draw.pick(&[Fate::Lost, Fate::Kept, Fate::Kept, Fate::Late, Fate::Late, Fate::Forgotten])
            }
            true => Fate::Lost,
            false => Fate::Answered,
        }
    }

    fn put(&mut self, key: &str, bytes: &Bytes) -> Put {
        if self.objects.contains_key(key) {
            return Put::AlreadyExists;
        }
        if key.parse::<ManifestKey>().is_ok() {
            self.chain.goes_on(key, bytes, &self.objects);
        }
        self.objects.insert(key.to_owned(), bytes.clone());
        Put::Created
    }
}

impl Chain {
    fn goes_on(&mut self, key: &str, bytes: &Bytes, objects: &BTreeMap<String, Bytes>) {
        let manifest = Manifest::open(bytes, std::slice::from_ref(&self.key)).unwrap();
        assert_eq!(manifest.manifest.to_string(), key);
        assert_eq!(manifest.chain.index, self.manifests, "{key} is not the next of its chain");
        assert_eq!(manifest.chain.previous, self.hash, "{key} does not name the one before it");
        if let Some(previous) = &self.previous {
            assert!(previous.created_at <= manifest.created_at, "the times of the chain go back at {key}");
        }
        if let Some(log) = &manifest.log_file {
            let stored = objects.get(&log.key.to_string());
            let stored = stored.unwrap_or_else(|| panic!("{key} is there before its log file"));
            assert_eq!(Sha256::of(stored), log.sha256, "{key} states other bytes than are stored");
        }
        for range in &manifest.sources {
            let last = self.lasts.entry(range.source).or_default();
            assert_eq!(range.first, *last + 1, "source {} has a gap or an overlap in {key}", range.source);
            *last = range.last;
        }
        self.manifests += 1;
        self.hash = Some(Sha256::of(bytes));
        self.previous = Some(manifest);
    }
}

fn away(key: &str) -> DestinationError {
    let source = object_store::Error::Generic { store: "simulated", source: "no answer".into() };
    DestinationError::Confirm { key: key.to_owned(), store: "simulated".to_owned(), source }
}

fn not_found(key: &str) -> DestinationError {
    let source = object_store::Error::NotFound { path: key.to_owned(), source: "not there".into() };
    DestinationError::Confirm { key: key.to_owned(), store: "simulated".to_owned(), source }
}

impl Destination for Store {
    fn create(&self, key: &str, bytes: &Bytes) -> Result<Put, DestinationError> {
        let mut state = self.state();
        let hash = Sha256::of(bytes);
        let first = *state.tried.entry(key.to_owned()).or_insert(hash);
        assert_eq!(first, hash, "{key} is tried with other content than before");
        match state.request(true) {
            Fate::Answered => return Ok(state.put(key, bytes)),
            Fate::Forgotten if !state.objects.contains_key(key) => return Ok(Put::Created),
            Fate::Forgotten => return Ok(Put::AlreadyExists),
            Fate::Lost => {}
            Fate::Kept => drop(state.put(key, bytes)),
            Fate::Late => {
                let at = state.requests + state.draw.between(1, LATEST);
                state.late.push((at, key.to_owned(), bytes.clone()));
            }
        }
        Err(away(key))
    }

    fn confirm(&self, key: &str, size: u64) -> Result<(), DestinationError> {
        let mut state = self.state();
        let answered = state.request(false) == Fate::Answered;
        let found = state.objects.get(key).map(|bytes| bytes.len() as u64);
        if answered && found == Some(size) { Ok(()) } else { Err(away(key)) }
    }

    fn read(&self, key: &str, _limit: usize) -> Result<Bytes, DestinationError> {
        let mut state = self.state();
        let answered = state.request(false) == Fate::Answered;
        if !answered {
            return Err(away(key));
        }
        state.objects.get(key).cloned().ok_or_else(|| not_found(key))
    }
}

/// For the verifier.
pub(super) struct Objects(pub(super) BTreeMap<String, Bytes>);

impl Bucket for Objects {
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> io::Result<()> {
        for (key, bytes) in self.0.iter().filter(|(key, _)| key.starts_with(prefix)) {
            if visit(Entry::new(key, bytes.len() as u64)).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open<'a>(&'a self, key: &str) -> io::Result<Box<dyn Read + 'a>> {
        let object = self.0.get(key).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(&object[..]))
    }
}
