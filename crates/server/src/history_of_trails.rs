//! The history of this server: of its own bucket, of those it is told, and of those that trails store in.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sidetrail_archive::store::Store;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::buckets::Buckets;
use crate::config::Config;
use crate::history::{CacheError, History, Settings};
use crate::{Context, StartError};

/// How often to look which buckets trails store in.
const LOOK: Duration = Duration::from_secs(5);

/// The history, and the directory that goes with it if it is only for this run.
#[derive(Debug)]
pub(crate) struct Kept {
    // Ended before its directory goes.
    pub(crate) history: History,
    _temporary: Option<Temporary>,
}

/// What the directories of runs without a cache of their own begin with.
const PREFIX: &str = "sidetrail-history-";
/// Beside the index: who holds it is at work.
const LOCK: &str = "lock";
/// How often a directory that another server has just swept is made again.
const ATTEMPTS: u32 = 8;
/// Directories that are looked at in one sweep.
const MAX_SWEPT: usize = 1024;

/// A directory for this run only. One that is killed leaves it to the next one that starts.
#[derive(Debug)]
struct Temporary {
    directory: tempfile::TempDir,
    _lock: File,
}

impl Temporary {
    fn new(parent: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            let path = directory.path().join(LOCK);
            let lock = File::create(&path)?;
            lock.lock()?;
            // Before it was locked somebody may have taken it for one that is left over.
            if fs::metadata(&path).is_ok_and(|there| lock.metadata().is_ok_and(|it| it.ino() == there.ino()))
            {
                return Ok(Self { directory, _lock: lock });
            }
        }
        Err(io::Error::other("others remove what is made here"))
    }

    /// Removes what servers of this user that were killed have left.
    fn sweep(parent: &Path) {
        let Ok(entries) = fs::read_dir(parent) else { return };
        let named = entries.filter_map(Result::ok);
        let named = named.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
        let own = tempfile::tempfile_in(parent).and_then(|file| file.metadata()).map(|it| it.uid());
        for entry in named.take(MAX_SWEPT) {
            let is_own = entry
                .metadata()
                .is_ok_and(|it| it.is_dir() && own.as_ref().is_ok_and(|own| it.uid() == *own));
            // One without a lock is being made just now, or not a server's.
            let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
            if is_own && lock.try_lock().is_ok() {
                match fs::remove_dir_all(entry.path()) {
                    Ok(()) => {
                        tracing::info!(path = %entry.path().display(), "removed what a server had left");
                    }
                    Err(error) => {
                        tracing::warn!(path = %entry.path().display(), %error, "cannot remove what a server has left");
                    }
                }
            }
        }
    }
}

/// Opens the history of the server's own buckets.
pub(crate) fn start(config: &Config, own: &Arc<Store>, buckets: &Buckets) -> Result<Kept, StartError> {
    let wrong = |error: CacheError| StartError::History(error);
    let (cache, temporary) = match &config.history.cache {
        Some(cache) => (cache.clone(), None),
        None => {
            let path = std::env::temp_dir();
            Temporary::sweep(&path);
            let temporary = Temporary::new(&path);
            let temporary = temporary.map_err(|source| wrong(CacheError::Directory { path, source }))?;
            (temporary.directory.path().join("index"), Some(temporary))
        }
    };
    let settings = Settings {
        window: Some(config.history.window.unsigned_abs()),
        interval: config.history.interval.unsigned_abs(),
        ..Settings::new(cache)
    };
    let named = config.buckets.keys().filter_map(|name| buckets.get(name).ok());
    let stores = [Arc::clone(own)].into_iter().chain(named).collect();
    let history = History::start(settings, stores, Handle::current()).map_err(wrong)?;
    Ok(Kept { history, _temporary: temporary })
}

/// Adds the buckets that trails store in, until the end.
pub(crate) async fn follow_trails(context: Arc<Context>, end: CancellationToken) {
    while end.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        for (account, versions) in context.state.accounts() {
            let trails = match versions.read().await {
                Ok(read) => read.state,
                Err(error) => {
                    tracing::warn!(account, error = %crate::chain(&error), "history cannot ask for the trails");
                    continue;
                }
            };
            for trail in &trails.trails {
                if let Ok(store) = context.buckets.get(&trail.bucket) {
                    context.kept.history.add(store);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_over_goes_and_what_is_at_work_stays() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, lock: bool| {
            let path = parent.path().join(name);
            fs::create_dir_all(path.join("index")).unwrap();
            if lock {
                fs::write(path.join(LOCK), "").unwrap();
            }
            path
        };
        let left = make("sidetrail-history-left", true);
        let [older, other] = [make("sidetrail-history-older", false), make("other", true)];
        let working = Temporary::new(parent.path()).unwrap();
        std::os::unix::fs::symlink(&other, parent.path().join("sidetrail-history-link")).unwrap();
        Temporary::sweep(parent.path());
        assert!(!left.exists() && older.exists() && other.join("index").exists());
        let path = working.directory.path().to_owned();
        assert!(path.join(LOCK).exists());
        drop(working);
        assert!(!path.exists());
    }
}
