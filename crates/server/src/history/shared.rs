//! What queries and the threads behind them share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use sidetrail_archive::causes::chain;
use sidetrail_archive::store::Store;
use tokio::sync::watch;

use super::catalog::{Cache, Contents};
use super::files::Files;
use super::index::Finished;
use super::key::Seconds;
use super::live::Live;
use super::merging;
use super::segment::{Damaged, FileId, Segment, merge};

/// A file is delivered after its events happened, but for clocks of applications that are ahead by so many seconds.
const CLOCK_SKEW: u32 = 3600;

/// The settings of history.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory of the index, which is a cache: what is lost of it is made again.
    pub cache: PathBuf,
    /// How far back history goes; as far as the buckets do, if absent.
    pub window: Option<Duration>,
    /// How often to look for new log files.
    pub interval: Duration,
    /// How long a query waits for log files that are not read yet.
    pub patience: Duration,
}

impl Settings {
    /// CloudTrail's 90 days, with a cache in this directory.
    #[must_use]
    pub fn new(cache: PathBuf) -> Self {
        Self {
            cache,
            window: Some(Duration::from_secs(90 * 24 * 3600)),
            interval: Duration::from_secs(2),
            patience: Duration::from_secs(20),
        }
    }
}

/// The state that everybody works on.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) cache: Cache,
    stores: RwLock<Vec<Arc<Store>>>,
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    empty: Mutex<Vec<FileId>>,
    pub(super) files: RwLock<Files>,
    pub(super) live: Mutex<Live>,
    /// Held by who merges: nobody else takes segments out.
    merging: Mutex<()>,
    /// Whether all that was there at the start has been read.
    caught_up: AtomicBool,
    listed: AtomicBool,
    /// Whether the cache is to be thrown away.
    damaged: AtomicBool,
    progress: watch::Sender<u64>,
    ended: Mutex<bool>,
    wake: Condvar,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(settings: Settings, cache: Cache, contents: Contents) -> Self {
        let Contents { segments, empty } = contents;
        let mut files = Files::default();
        segments.iter().flat_map(|segment| segment.files()).for_each(|source| files.fill(*source));
        empty.iter().for_each(|file| files.index(*file));
        Self {
            settings,
            cache,
            stores: RwLock::default(),
            segments: RwLock::new(Arc::new(segments)),
            empty: Mutex::new(empty),
            files: RwLock::new(files),
            live: Mutex::default(),
            merging: Mutex::default(),
            caught_up: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            progress: watch::Sender::new(0),
            ended: Mutex::new(false),
            wake: Condvar::new(),
        }
    }

    /// Adds a bucket to follow, unless it is one already.
    pub(super) fn add(&self, store: Arc<Store>) {
        let known = |stores: &[Arc<Store>]| {
            stores.iter().any(|other| other.name() == store.name() && other.prefix() == store.prefix())
        };
        if known(&self.stores()) {
            return;
        }
        let mut stores = self.stores.write().unwrap_or_else(PoisonError::into_inner);
        if !known(&stores) {
            stores.push(store);
        }
    }

    /// The buckets to follow: new ones come last.
    pub(super) fn stores(&self) -> Vec<Arc<Store>> {
        self.stores.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn files(&self) -> std::sync::RwLockReadGuard<'_, Files> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn files_mut(&self) -> std::sync::RwLockWriteGuard<'_, Files> {
        self.files.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// From when on everything that is in the buckets is in the index; `None` if that is everything.
    pub(super) fn complete_from(&self) -> Option<Seconds> {
        if self.caught_up.load(Ordering::Acquire) {
            return None;
        }
        if !self.listed.load(Ordering::Acquire) {
            return Some(Seconds(u32::MAX));
        }
        // With nothing left to read, all that is missing is that the follower says so.
        let pending = self.files().newest_pending().unwrap_or(Seconds(u32::MAX));
        Some(Seconds(pending.0.saturating_add(CLOCK_SKEW)))
    }

    /// All files that are to be read are known.
    pub(super) fn set_listed(&self) {
        self.listed.store(true, Ordering::Release);
        self.tell();
    }

    /// All files that were there have been read.
    pub(super) fn set_caught_up(&self) {
        self.caught_up.store(true, Ordering::Release);
        self.tell();
    }

    pub(super) fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    pub(super) fn tell(&self) {
        self.progress.send_modify(|count| *count += 1);
    }

    /// Takes segments into the index.
    pub(super) fn publish(&self, finished: Finished) -> Result<(), Damaged> {
        let opened =
            finished.segments.iter().map(|id| self.cache.open_segment(*id)).collect::<Result<Vec<_>, _>>()?;
        let mut empty = lock(&self.empty);
        empty.extend_from_slice(&finished.empty);
        self.change(&empty, |segments| segments.extend(opened))?;
        drop(empty);
        let mut files = self.files_mut();
        for (file, delivered) in finished.files {
            files.index(file);
            files.done(delivered);
        }
        finished.sources.into_iter().for_each(|source| files.fill(source));
        drop(files);
        lock(&self.live).sealed(finished.keys);
        self.tell();
        Ok(())
    }

    /// Changes which segments count, on disk first.
    fn change(&self, empty: &[FileId], change: impl FnOnce(&mut Vec<Arc<Segment>>)) -> Result<(), Damaged> {
        let mut current = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let mut segments = (**current).clone();
        change(&mut segments);
        segments.sort_by_key(|segment| std::cmp::Reverse(segment.newest()));
        self.cache.commit(&segments, empty)?;
        *current = Arc::new(segments);
        Ok(())
    }

    fn replace(&self, old: &[Arc<Segment>], new: Option<Arc<Segment>>) -> Result<(), Damaged> {
        let empty = lock(&self.empty);
        self.change(&empty, |segments| {
            segments.retain(|segment| old.iter().all(|old| old.id() != segment.id()));
            segments.extend(new);
        })?;
        drop(empty);
        old.iter().for_each(|segment| self.cache.remove(segment));
        Ok(())
    }

    /// Merges what is worth it; whether there may be more.
    pub(super) fn merge_once(&self) -> Result<bool, Damaged> {
        let _one = lock(&self.merging);
        let Some(chosen) = merging::next(&self.segments()) else { return Ok(false) };
        let (id, path) = self.cache.new_segment();
        let began = Instant::now();
        merge(&path, &chosen)?;
        let merged = self.cache.open_segment(id)?;
        tracing::debug!(events = merged.count(), took = ?began.elapsed(), "merged segments of history");
        self.replace(&chosen, Some(merged))?;
        Ok(true)
    }

    /// Lets go of segments of which nothing is shown: they are older than the window, or their files are gone.
    pub(super) fn retire(&self, horizon: Seconds) -> Result<(), Damaged> {
        let _one = lock(&self.merging);
        let files = self.files();
        let segments = self.segments();
        let useless = |segment: &&Arc<Segment>| {
            segment.newest().at() < horizon || !segment.files().iter().any(|source| files.shows(source.id))
        };
        let useless: Vec<_> = segments.iter().filter(useless).cloned().collect();
        drop(files);
        if useless.is_empty() { Ok(()) } else { self.replace(&useless, None) }
    }

    /// The index is not what it was: it is thrown away and made again.
    pub(super) fn report(&self, damaged: &Damaged) {
        if !self.damaged.swap(true, Ordering::AcqRel) {
            tracing::error!(error = %chain(damaged), "the index of history is damaged, and made again from the bucket");
        }
        self.caught_up.store(false, Ordering::Release);
        self.listed.store(false, Ordering::Release);
        self.wake.notify_all();
    }

    /// Throws everything away, if that was asked for; whether it was.
    pub(super) fn clear_damaged(&self) -> Result<bool, Damaged> {
        if !self.damaged.load(Ordering::Acquire) {
            return Ok(false);
        }
        let _one = lock(&self.merging);
        lock(&self.empty).clear();
        let all = self.segments();
        self.replace(&all, None)?;
        self.cache.clear_pages();
        *self.files_mut() = Files::default();
        self.damaged.store(false, Ordering::Release);
        Ok(true)
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    /// Ends the threads.
    pub(super) fn end(&self) {
        *lock(&self.ended) = true;
        self.wake.notify_all();
        self.tell();
    }

    pub(super) fn has_ended(&self) -> bool {
        *lock(&self.ended)
    }

    /// Waits so long, or until there is a reason not to; whether to go on.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let ended = lock(&self.ended);
        if *ended {
            return false;
        }
        let (ended, _) = self.wake.wait_timeout(ended, time).unwrap_or_else(PoisonError::into_inner);
        !*ended
    }

    /// The oldest second that is in history.
    pub(super) fn horizon(&self, now: Seconds) -> Seconds {
        let window = self.settings.window.map_or(u64::MAX, |window| window.as_secs());
        Seconds(u32::try_from(u64::from(now.0).saturating_sub(window)).unwrap_or(0))
    }
}
