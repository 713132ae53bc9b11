//! Follows the buckets: lists what is new, and has it indexed.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use sidetrail_archive::causes::chain;
use sidetrail_archive::store::Store;
use tokio::runtime::Handle;

use super::digests::Digests;
use super::fetch::{Fault, Fetched, Keys, fetch};
use super::files::MAX_FILES;
use super::index::{Batch, IndexError};
use super::key::Seconds;
use super::list::{Ground, Listed, grounds, manifests};
use super::segment::FileId;
use super::shared::{Shared, lock};

/// Log files that are read ahead of those who index them.
const READ_AHEAD: usize = 4;
/// Threads that index, at most: each has a batch in memory.
const MAX_THREADS: usize = 4;
/// Files that one thread indexes by itself.
const FEW: usize = 4;

/// What was delivered so long before the last look is looked for again with each one: collectors have clocks.
const OVERLAP: SignedDuration = SignedDuration::from_mins(5);
/// How often the last day is listed as a whole, since a store that was away takes in late what was decided before.
const DAY_EVERY: Duration = Duration::from_secs(60);
/// How often everything is listed, and what is gone is forgotten.
const ALL_EVERY: Duration = Duration::from_secs(3600);
/// After how many looks accounts, regions and prefixes are looked for.
const GROUNDS_EVERY: u32 = 5;
/// How often to look for digests, which come once an hour.
const DIGESTS_EVERY: Duration = Duration::from_secs(30);
/// Digests of so long ago are looked for: after an outage they come one by one.
const DIGESTS_LATE: SignedDuration = SignedDuration::from_hours(48);
/// How long to wait after the store failed.
const RETRY: Duration = Duration::from_secs(2);

/// A manifest to read, with where it is.
#[derive(Clone, Copy, Debug)]
struct Job {
    /// Which bucket, and which ground in it.
    place: (usize, usize),
    listed: Listed,
    file: FileId,
}

/// What goes from who reads to who indexes.
type Read = (Job, Result<Fetched, Fault>);

/// One that follows.
pub(super) struct Follower {
    shared: Arc<Shared>,
    stores: Vec<Arc<Store>>,
    grounds: Vec<Vec<Ground>>,
    keys: Keys,
    digests: Digests,
    looked_for_digests: Option<Instant>,
    handle: Handle,
    looked_for_grounds: Option<Instant>,
    listed_day: Option<Instant>,
    listed_all: Option<Instant>,
    threads: usize,
}

impl Follower {
    pub(super) fn new(shared: Arc<Shared>, handle: Handle) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        Self {
            shared,
            grounds: Vec::new(),
            stores: Vec::new(),
            keys: Keys::default(),
            digests: Digests::default(),
            looked_for_digests: None,
            handle,
            looked_for_grounds: None,
            listed_day: None,
            listed_all: None,
            threads,
        }
    }

    /// Follows until history ends.
    pub(super) fn run(mut self) {
        loop {
            let pause = match self.look() {
                Ok(()) => self.shared.settings.interval,
                Err(error) => {
                    tracing::warn!(%error, "history cannot follow the bucket");
                    RETRY
                }
            };
            if !self.shared.pause(pause) {
                return;
            }
        }
    }

    fn look(&mut self) -> Result<(), String> {
        if self.shared.clear_damaged().map_err(|error| chain(&error))? {
            (self.listed_all, self.listed_day) = (None, None);
        }
        let due =
            |since: Option<Instant>, every: Duration| since.is_none_or(|since| since.elapsed() >= every);
        let now = Timestamp::now();
        let stores = self.shared.stores();
        if stores.len() != self.stores.len() {
            self.grounds.resize(stores.len(), Vec::new());
            (self.stores, self.looked_for_grounds) = (stores, None);
        }
        if due(self.listed_all, ALL_EVERY)
            || due(self.looked_for_grounds, self.shared.settings.interval * GROUNDS_EVERY)
        {
            self.find_grounds()?;
        }
        // New grounds are reason enough.
        let all = due(self.listed_all, ALL_EVERY);
        let horizon = self.shared.horizon(Seconds::of(now)).timestamp();
        let from = if all {
            horizon
        } else if due(self.listed_day, DAY_EVERY) {
            now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(horizon).max(horizon)
        } else {
            now.saturating_sub(OVERLAP).unwrap_or(horizon)
        };
        if all {
            self.shared.files_mut().forget_faults();
        }
        let jobs = self.list(from, now, all)?;
        self.shared.set_listed();
        let count = jobs.len();
        let began = Instant::now();
        let unread = self.index(jobs, Seconds::of(horizon));
        if count > 0 {
            tracing::debug!(files = count, took = ?began.elapsed(), "indexed log files");
        }
        unread?;
        if !self.shared.is_damaged() {
            self.shared.set_caught_up();
        }
        let listed = Some(Instant::now());
        if all {
            (self.listed_all, self.listed_day) = (listed, listed);
            self.shared.retire(Seconds::of(horizon)).map_err(|error| chain(&error))?;
        } else if from < now.saturating_sub(OVERLAP).unwrap_or(now) {
            self.listed_day = listed;
        }
        lock(&self.shared.live).expire(Instant::now());
        if all || due(self.looked_for_digests, DIGESTS_EVERY) {
            let late = now.saturating_sub(DIGESTS_LATE).unwrap_or(horizon);
            self.look_for_digests(if all { horizon } else { late })?;
        }
        Ok(())
    }

    fn look_for_digests(&mut self, from: Timestamp) -> Result<(), String> {
        for (store, grounds) in self.stores.iter().zip(&self.grounds) {
            for ground in grounds {
                self.handle.block_on(self.digests.look(&self.shared, store, ground, from))?;
            }
        }
        self.looked_for_digests = Some(Instant::now());
        Ok(())
    }

    fn find_grounds(&mut self) -> Result<(), String> {
        for (store, known) in self.stores.iter().zip(&mut self.grounds) {
            let found = match self.handle.block_on(grounds(store)) {
                Ok(found) => found,
                // There is nothing in a bucket that is not there.
                Err(object_store::Error::NotFound { .. }) => Vec::new(),
                Err(error) => return Err(chain(&error)),
            };
            // Those that are known keep their numbers; a new one is listed as a whole.
            for ground in found {
                if !known.contains(&ground) {
                    known.push(ground);
                    self.listed_all = None;
                }
            }
        }
        self.looked_for_grounds = Some(Instant::now());
        Ok(())
    }

    /// The files that are new, newest first.
    fn list(&self, from: Timestamp, now: Timestamp, all: bool) -> Result<Vec<Job>, String> {
        let (mut jobs, mut there) = (Vec::new(), HashSet::new());
        for (bucket, store) in self.stores.iter().enumerate() {
            for (number, ground) in self.grounds[bucket].iter().enumerate() {
                let mut each = |listed: Listed| {
                    let file = FileId::new(store.name(), &listed.key(ground).to_string());
                    if all {
                        there.insert(file);
                    }
                    jobs.push(Job { place: (bucket, number), listed, file });
                };
                let listed = manifests(store, ground, from, now, &mut each);
                self.handle.block_on(listed).map_err(|error| chain(&error))?;
            }
        }
        let mut files = self.shared.files_mut();
        if all {
            files.keep_only(&there);
        }
        jobs.retain(|job| !files.knows(job.file));
        jobs.sort_unstable_by_key(|job| std::cmp::Reverse((job.listed, job.place)));
        let room = MAX_FILES.saturating_sub(files.len());
        if jobs.len() > room {
            tracing::error!(
                left_out = jobs.len() - room,
                "history holds no more log files: shorten its window"
            );
            jobs.truncate(room);
        }
        files.expect(jobs.iter().map(|job| job.listed.delivered()));
        Ok(jobs)
    }

    /// Reads and indexes; what could not be read comes again with the next look.
    fn index(&self, jobs: Vec<Job>, horizon: Seconds) -> Result<(), String> {
        if jobs.is_empty() {
            return Ok(());
        }
        let threads = if jobs.len() <= FEW { 1 } else { self.threads };
        let (send, receive) = sync_channel::<Read>(1);
        let receive = Mutex::new(receive);
        let failed = thread::scope(|scope| {
            let workers: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| self.work(&receive, horizon))).collect();
            self.handle.block_on(async {
                let reads = stream::iter(jobs).map(|job| async move {
                    let (bucket, ground) = job.place;
                    let key = job.listed.key(&self.grounds[bucket][ground]);
                    (job, fetch(&self.stores[bucket], &self.keys, &key).await)
                });
                let mut reads = reads.buffered(READ_AHEAD);
                while let Some(read) = reads.next().await {
                    if self.shared.has_ended() || send.send(read).is_err() {
                        break;
                    }
                }
            });
            drop(send);
            let ends = workers.into_iter().map(|worker| match worker.join() {
                Ok(ended) => ended,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ends.fold(None, |failed, ended| failed.or(ended.err()))
        });
        failed.map_or(Ok(()), Err)
    }

    /// Indexes what is read, to the end: after a failure it is only taken from who reads it.
    fn work(&self, receive: &Mutex<Receiver<Read>>, horizon: Seconds) -> Result<(), String> {
        let mut batch = Batch::new();
        let mut ended = Ok(());
        loop {
            let received = lock(receive).recv();
            let Ok((job, read)) = received else { break };
            match (&ended, read) {
                (Err(_), _) => {}
                (Ok(()), Ok(fetched)) => ended = self.take(&mut batch, &job, &fetched, horizon),
                (Ok(()), Err(Fault::Content(reason))) => self.fault(&job, reason),
                (Ok(()), Err(Fault::Store(error))) => ended = Err(chain(&error)),
            }
        }
        let published = self.publish(&mut batch);
        ended.and(published)
    }

    fn take(&self, batch: &mut Batch, job: &Job, fetched: &Fetched, horizon: Seconds) -> Result<(), String> {
        match batch.add(&self.shared.cache, job.file, fetched, horizon) {
            Ok(()) => {}
            Err(IndexError::Content(reason)) => self.fault(job, reason),
            Err(IndexError::Cache(error)) => return Err(chain(&error)),
        }
        if batch.is_full() { self.publish(batch) } else { Ok(()) }
    }

    fn fault(&self, job: &Job, reason: String) {
        let (bucket, ground) = job.place;
        let key = job.listed.key(&self.grounds[bucket][ground]).log().to_string();
        tracing::warn!(key, reason, "a log file is left out of history");
        let mut files = self.shared.files_mut();
        files.fault(job.file, key, reason);
        files.done(job.listed.delivered());
    }

    fn publish(&self, batch: &mut Batch) -> Result<(), String> {
        let finished = batch.finish().map_err(|error| chain(&error))?;
        if finished.files.is_empty() && finished.segments.is_empty() {
            return Ok(());
        }
        self.shared.publish(finished).map_err(|error| chain(&error))
    }
}
