//! Event history: what happened, newest first, found by what it says.
//!
//! ```text
//! bucket ─ list ─▶ manifests ─ fetch ─▶ log files ─ index ─▶ segments ◀─ merging
//!                                                     │
//! collectors ─ live copies ─▶ live ────────────▶ search ◀─ query ◀─ LookupEvents, our own query
//! ```
//!
//! History is made of the bucket and of nothing else: every log file that a manifest of the window states is read once,
//! checked against its manifest, and indexed into immutable segments in a local directory. That directory is a cache: it
//! may be deleted at any time, and whatever is found wrong with it, all of it is made again.
//!
//! An answer is right from the start. While log files are still to be read, a query waits for those that may hold what
//! it asks for, which are mostly the newest and read first; what it waited for in vain it says.
//!
//! Memory does not grow with history, but for some 50 bytes a log file and some four bytes an event; see "History" in
//! `crates/ARCHITECTURE.md` for all bounds.

mod ask;
mod catalog;
mod digests;
mod event;
mod fetch;
mod files;
mod follow;
mod index;
mod key;
mod list;
mod live;
mod merging;
mod peek;
mod query;
mod resource;
mod search;
mod segment;
mod shared;
mod term;
mod words;

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use sidetrail_archive::store::Store;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub(crate) use self::ask::{Asked, shown};
use self::catalog::Cache;
pub use self::catalog::CacheError;
pub use self::event::{Class, Event};
pub use self::key::{Key, Seconds};
pub use self::query::{Condition, InvalidCondition, MAX_CONDITIONS, MAX_VALUES, Query};
pub use self::resource::Named;
use self::search::{Hit, Origin, search};
pub use self::segment::Damaged;
use self::segment::Segment;
pub use self::shared::Settings;
use self::shared::{Shared, lock};
pub use self::term::{Field, MAX_PLAIN};

/// Events of one answer.
pub const MAX_PAGE: usize = 1000;
/// Queries that are worked on at a time; others wait.
const MAX_QUERIES: usize = 4;
/// How often to look for segments to merge, beside after new ones.
const MERGE_EVERY: Duration = Duration::from_secs(2);

/// The event history of some buckets.
#[derive(Debug)]
pub struct History {
    shared: Arc<Shared>,
    queries: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// How far an event is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A collector told of it; its log file is not there yet.
    Live,
    /// It is in a log file that is what its signed manifest says.
    Sealed,
    /// A digest that was checked covers that log file.
    Verified,
}

impl State {
    /// As answers have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Sealed => "sealed",
            Self::Verified => "verified",
        }
    }
}

/// An event that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its place in history.
    pub key: Key,
    /// The account whose evidence it is in.
    pub account: String,
    /// The region it is from.
    pub region: String,
    /// The part of history it is in.
    pub class: Class,
    /// How far it is proved.
    pub state: State,
    /// The record, byte for byte.
    pub record: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    /// Newest first.
    pub events: Vec<Found>,
    /// After which event to go on, if there are more.
    pub next: Option<Key>,
    /// What is not in the answer, because its log file is not read yet: some events older than this. `None` if nothing.
    pub missing_before: Option<Seconds>,
}

/// A query was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The index was damaged and is made again.
    #[error("the index of history is being made again")]
    Damaged(#[from] Damaged),
    /// Nothing can be found any more.
    #[error("history has ended")]
    Ended,
}

/// How history stands.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Whether everything that was in the buckets at the start is in the index.
    pub complete: bool,
    /// Events in the index; one of which there are two copies counts twice.
    pub events: u64,
    /// Segments of the index.
    pub segments: usize,
    /// Bytes of memory that the segments take, beside pages.
    pub memory: usize,
    /// Log files that are known.
    pub files: usize,
    /// Log files that are to be read.
    pub pending: u64,
    /// Digests that were looked at.
    pub digests: u64,
    /// Live events.
    pub live: usize,
    /// Log files that are left out.
    pub faulty: u64,
    /// Some of them, each with the reason.
    pub faults: Vec<(String, String)>,
}

impl History {
    /// Opens the history of `stores`, and begins to follow them. Requests run on the runtime of `handle`, which must be a
    /// multi-threaded one.
    ///
    /// # Errors
    /// If the cache directory cannot be used.
    pub fn start(settings: Settings, stores: Vec<Arc<Store>>, handle: Handle) -> Result<Self, CacheError> {
        let (cache, contents) = Cache::open(&settings.cache)?;
        let shared = Arc::new(Shared::new(settings, cache, contents));
        stores.into_iter().for_each(|store| shared.add(store));
        let follower = follow::Follower::new(Arc::clone(&shared), handle);
        let merger = Arc::clone(&shared);
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
            thread.map_err(|source| CacheError::Directory { path: shared.settings.cache.clone(), source })
        };
        let threads = vec![
            start("history", Box::new(move || follower.run()))?,
            start("history-merge", Box::new(move || merge(&merger)))?,
        ];
        let threads = Mutex::new(threads);
        Ok(Self { shared, queries: Arc::new(Semaphore::new(MAX_QUERIES)), threads })
    }

    /// The newest `limit` events of a query, at most [`MAX_PAGE`], that come after `after`.
    ///
    /// # Errors
    /// If the index cannot be read. It is made again then: try again later.
    pub async fn find(&self, query: Query, after: Option<Key>, limit: usize) -> Result<Page, FindError> {
        let query = Arc::new(query);
        let limit = limit.min(MAX_PAGE);
        let deadline = tokio::time::Instant::now() + self.shared.settings.patience;
        let mut progress = self.shared.progress();
        loop {
            progress.mark_unchanged();
            // Looked at before the search: what is complete then is in it.
            let complete_from = self.shared.complete_from();
            let missing_before = |last: Option<Key>| {
                let from = complete_from?;
                let beyond = query.from.is_some_and(|start| start >= from);
                let answered = last.is_some_and(|last| last.at() >= from);
                (!beyond && !answered).then_some(from)
            };
            let waits = complete_from == Some(Seconds(u32::MAX));
            if !waits || tokio::time::Instant::now() >= deadline {
                let hits = self.search(&query, after, limit + 1).await?;
                let last = limit.checked_sub(1).and_then(|last| hits.get(last)).map(|hit| hit.key);
                let missing = missing_before(last);
                if missing.is_none() || tokio::time::Instant::now() >= deadline {
                    return self.page(hits, limit, missing).await;
                }
            }
            if self.shared.has_ended() {
                return Err(FindError::Ended);
            }
            // Time's end is the deadline's, looked at above.
            let _ = tokio::time::timeout_at(deadline, progress.changed()).await;
        }
    }

    async fn search(
        &self,
        query: &Arc<Query>,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Hit>, FindError> {
        let (shared, query) = (Arc::clone(&self.shared), Arc::clone(query));
        self.work(move || {
            // Live first: what is sealed meanwhile is then in the segments.
            let live = lock(&shared.live).find(&query, after, limit);
            let segments = shared.segments();
            search(&segments, live, &query, after, limit, &|file| shared.files().shows(file))
        })
        .await
    }

    async fn page(
        &self,
        mut hits: Vec<Hit>,
        limit: usize,
        missing_before: Option<Seconds>,
    ) -> Result<Page, FindError> {
        let more = hits.len() > limit;
        hits.truncate(limit);
        let next = if more { hits.last().map(|hit| hit.key) } else { None };
        let shared = Arc::clone(&self.shared);
        let events = self.work(move || found(&shared, hits)).await?;
        Ok(Page { events, next, missing_before })
    }

    /// Does what reads the index where it holds up nobody.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Damaged> + Send + 'static,
    ) -> Result<T, FindError> {
        let permit = Arc::clone(&self.queries).acquire_owned().await.map_err(|_| FindError::Ended)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        let done = done.await.map_err(|_| FindError::Ended)?;
        done.map_err(|damaged| {
            self.shared.report(&damaged);
            FindError::Damaged(damaged)
        })
    }

    /// Follows another bucket, too.
    pub fn add(&self, store: Arc<Store>) {
        self.shared.add(store);
    }

    /// Takes a live copy of a record, on its word, until its log file is there.
    pub fn tell(&self, account: &str, region: &str, record: &str) {
        let at = Seconds::of(Timestamp::now());
        lock(&self.shared.live).push(account, region, record, at, Instant::now());
        self.shared.tell();
    }

    /// Ends what follows the buckets, and waits for it: while the runtime is still there.
    pub fn end(&self) {
        self.shared.end();
        for thread in lock(&self.threads).drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }

    /// How history stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let segments = self.shared.segments();
        let files = self.shared.files();
        let (faulty, faults) = files.faulty();
        Status {
            complete: self.shared.is_caught_up(),
            events: segments.iter().map(|segment| u64::from(segment.count())).sum(),
            segments: segments.len(),
            memory: segments.iter().map(|segment| segment.memory()).sum(),
            files: files.len(),
            pending: files.pending(),
            digests: files.digests,
            live: lock(&self.shared.live).len(),
            faulty,
            faults: faults.to_vec(),
        }
    }

    /// The first second that is in history now.
    #[must_use]
    pub fn horizon(&self) -> Seconds {
        self.shared.horizon(Seconds::of(Timestamp::now()))
    }

    /// Forgets what is in memory of the index, as if it had just been opened. For measurements.
    #[doc(hidden)]
    pub fn forget_pages(&self) {
        self.shared.cache.clear_pages();
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.end();
    }
}

fn merge(shared: &Shared) {
    while shared.pause(MERGE_EVERY) {
        // While there is much to read, the cores have better things to do.
        while shared.is_caught_up() && !shared.has_ended() {
            match shared.merge_once() {
                Ok(true) => {}
                Ok(false) => break,
                Err(damaged) => {
                    shared.report(&damaged);
                    break;
                }
            }
        }
    }
}

/// Reads the records of what was found.
fn found(shared: &Shared, hits: Vec<Hit>) -> Result<Vec<Found>, Damaged> {
    let mut found = Vec::with_capacity(hits.len());
    let mut sealed: Vec<(Arc<Segment>, Vec<u32>, Vec<usize>)> = Vec::new();
    for Hit { key, origin } in hits {
        let (partition, state, record) = match origin {
            Origin::Live { partition, record } => ((*partition).clone(), State::Live, record.to_string()),
            Origin::Sealed { segment, ordinal, file } => {
                let partition = segment.partition().clone();
                let place = match sealed.iter().position(|(other, _, _)| other.id() == segment.id()) {
                    Some(place) => place,
                    None => {
                        sealed.push((segment, Vec::new(), Vec::new()));
                        sealed.len() - 1
                    }
                };
                sealed[place].1.push(ordinal);
                sealed[place].2.push(found.len());
                let verified = shared.files().is_verified(file);
                (partition, if verified { State::Verified } else { State::Sealed }, String::new())
            }
        };
        let segment::Partition { account, region, class } = partition;
        found.push(Found { key, account, region, class, state, record });
    }
    for (segment, ordinals, places) in sealed {
        segment.records(&ordinals, &mut |at, record| record.clone_into(&mut found[places[at]].record))?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
