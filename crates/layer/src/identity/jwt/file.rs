//! The file with the keys, and the thread that reads it again when it changes.
//!
//! Requests never read it: they use the keys that are there, and at most wake the thread when a token names a key that
//! is not. The thread ends with the last verifier.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant, SystemTime},
};

use super::{
    JwtVerifier, Shared,
    keys::KeySet,
    settings::{JwksError, Rules},
};

/// How often the file's metadata are looked at.
const POLL: Duration = Duration::from_secs(2);

/// Unknown keys make the thread read no more often than this.
const MIN_BETWEEN: Duration = Duration::from_millis(500);

/// A set with 64 RSA keys and their certificates is smaller.
const MAX_FILE: u64 = 512 * 1024;

/// How reading a [`JwtVerifier`]'s keys went.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct JwksStatus {
    /// Keys in use.
    pub keys: usize,
    /// How often a changed set was taken over.
    pub reloads: u64,
    /// How often a changed file could not be taken over.
    pub failures: u64,
    /// Why not, if the keys in use are not those of the file.
    pub error: Option<String>,
}

/// What requests and the thread tell each other.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// A token named an unknown key.
    wanted: AtomicBool,
    thread: OnceLock<Thread>,
    status: Mutex<JwksStatus>,
}

impl Watch {
    /// Has the file looked at soon. It takes no lock, and wakes the thread once however many ask.
    pub(super) fn hurry(&self) {
        if !self.wanted.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    pub(super) fn status(&self) -> JwksStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn note(&self, change: impl FnOnce(&mut JwksStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.wake();
    }
}

/// Reads the file and starts its thread.
pub(super) fn watch(rules: Rules, path: PathBuf) -> Result<JwtVerifier, JwksError> {
    // The stamp is older than the text: a change between the two is seen as a change.
    let stamp = Stamp::of(&path);
    let text = read(&path)?;
    let keys = parse(&rules, &path, &text)?;
    let verifier = JwtVerifier::new(rules, keys, Some(Watch::default()));
    let watcher = Watcher {
        shared: Arc::downgrade(&verifier.0),
        path,
        stamp,
        text,
        last: Instant::now(),
        failed: false,
    };
    let thread = thread::Builder::new()
        .name("sidetrail-jwks".to_owned())
        .spawn(move || watcher.run())
        .map_err(JwksError::Thread)?;
    if let Some(watch) = &verifier.0.watch {
        _ = watch.thread.set(thread.thread().clone());
    }
    Ok(verifier)
}

/// The thread.
struct Watcher {
    shared: Weak<Shared>,
    path: PathBuf,
    /// The file when it was read last, whether or not that went well.
    stamp: Option<Stamp>,
    /// The set in use.
    text: String,
    last: Instant,
    /// The file was not taken over: what is wrong may pass without a change that its metadata show.
    failed: bool,
}

impl Watcher {
    fn run(mut self) {
        let mut pause = POLL;
        loop {
            thread::park_timeout(pause);
            let Some(shared) = self.shared.upgrade() else { return };
            let Some(watch) = &shared.watch else { return };
            pause = POLL;
            let stamp = Stamp::of(&self.path);
            let is_wanted = watch.wanted.load(Ordering::Acquire);
            if is_wanted && self.last.elapsed() < MIN_BETWEEN {
                // Until then others that ask do not wake the thread.
                pause = MIN_BETWEEN;
            } else if is_wanted || stamp != self.stamp || self.failed {
                watch.wanted.store(false, Ordering::Release);
                let changed = stamp != self.stamp;
                self.stamp = stamp;
                self.last = Instant::now();
                self.reload(&shared, watch, changed);
            }
        }
    }

    fn reload(&mut self, shared: &Shared, watch: &Watch, changed: bool) {
        let new = read(&self.path).and_then(|text| {
            let keys = if text == self.text { None } else { Some(parse(&shared.rules, &self.path, &text)?) };
            Ok((text, keys))
        });
        self.failed = new.is_err();
        match new {
            Ok((text, keys)) => {
                if let Some(keys) = keys {
                    let keys = Arc::new(keys);
                    let mut current = shared.keys.write().unwrap_or_else(PoisonError::into_inner);
                    let gone = std::mem::replace(&mut *current, keys);
                    drop(current);
                    drop(gone);
                    self.text = text;
                    watch.note(|status| status.reloads += 1);
                    tracing::info!(path = %self.path.display(), "key set taken over");
                }
                watch.note(|status| status.error = None);
            }
            // What failed before and did not change is no news.
            Err(error) if changed => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "key set not taken over, the keys before it stay"
                );
                watch.note(|status| {
                    status.failures += 1;
                    status.error = Some(error.to_string());
                });
            }
            Err(_) => {}
        }
    }
}

/// What tells one version of a file from another, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    /// A file that takes another's place by renaming may be as old.
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok(), length: metadata.len(), inode: inode(&metadata) })
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

fn read(path: &Path) -> Result<String, JwksError> {
    let read = || -> io::Result<Option<String>> {
        // To open a pipe is to wait for whoever writes into it.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut text = String::new();
        let size = File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
        Ok((size as u64 <= MAX_FILE).then_some(text))
    };
    match read() {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(JwksError::Invalid { path: Some(path.to_owned()), reason: "over 512 KiB" }),
        Err(source) => Err(JwksError::Read { path: path.to_owned(), source }),
    }
}

fn parse(rules: &Rules, path: &Path, text: &str) -> Result<KeySet, JwksError> {
    KeySet::parse(text, &rules.algorithms())
        .map_err(|reason| JwksError::Invalid { path: Some(path.to_owned()), reason })
}
