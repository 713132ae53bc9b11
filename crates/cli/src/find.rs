//! Records of an archive that somebody looks for.

use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use jiff::{SignedDuration, Timestamp};
use sidetrail_archive::key::LogKey;
use sidetrail_archive::log::{MAX_CONTENT, read_records};
use sidetrail_archive::source::Bucket;

use crate::content::Watched;
use crate::exit::Exit;
use crate::print::chain;
use crate::time::Range;

/// How far ahead of the collector's clock that of an application may be, for a file to be passed over unread.
pub(crate) const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(1);

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The log file.
    pub(crate) file: LogKey,
    /// Which of its records it is, from 0.
    pub(crate) position: u64,
    /// Its bytes.
    pub(crate) record: String,
}

/// What is looked for.
pub(crate) struct Search<'a> {
    pub(crate) bucket: &'a dyn Bucket,
    pub(crate) prefix: String,
    /// Of delivery: log files before it are passed over.
    pub(crate) range: Range,
    pub(crate) jobs: NonZeroUsize,
    pub(crate) wanted: &'a (dyn Fn(&str) -> bool + Sync),
    /// So many records and bytes of them are the most that are taken.
    pub(crate) most: (usize, u64),
    /// Whether one is enough.
    pub(crate) first: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Searched {
    /// By file and position.
    pub(crate) found: Vec<Found>,
    /// All log files that were looked at.
    pub(crate) files: u64,
    /// Records in them.
    pub(crate) records: u64,
    /// Files that could not be read to their end, and why.
    pub(crate) failed: Vec<(LogKey, Exit, String)>,
    /// There was more than is taken.
    pub(crate) more: bool,
}

impl Search<'_> {
    /// Looks through the log files, several at a time.
    ///
    /// # Errors
    /// If they could not be listed.
    pub(crate) fn run(&self) -> io::Result<Searched> {
        let mut files: Vec<LogKey> = Vec::new();
        self.bucket.list(&self.prefix, &mut |entry| {
            files.extend(entry.key.parse().ok().filter(|file: &LogKey| self.may_hold(file.0.minute.end())));
            ControlFlow::Continue(())
        })?;
        let (next, bytes, stop) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let all = Mutex::new(Searched::default());
        thread::scope(|scope| {
            for _ in 0..self.jobs.get().min(files.len()) {
                scope.spawn(|| {
                    while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let searched = self.file(file, &bytes);
                        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                        all.found.extend(searched.found);
                        all.files += 1;
                        all.records += searched.records;
                        all.failed.extend(searched.failed);
                        all.more |= searched.more || all.found.len() > self.most.0;
                        if all.more || self.first && !all.found.is_empty() {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        all.found.sort_by(|one, other| (&one.file, one.position).cmp(&(&other.file, other.position)));
        all.failed.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        Ok(all)
    }

    /// Whether a file delivered then may hold a record of the range: none is delivered before it happened.
    fn may_hold(&self, delivered: Timestamp) -> bool {
        self.range.from.is_none_or(|from| delivered.saturating_add(CLOCK_SKEW).is_ok_and(|at| at >= from))
    }

    fn file(&self, file: &LogKey, bytes: &AtomicU64) -> Searched {
        let mut searched = Searched::default();
        let failed = |exit, error: &(dyn std::error::Error + 'static)| (file.clone(), exit, chain(error));
        let object = match self.bucket.open(&file.to_string()) {
            Ok(object) => object,
            Err(error) => {
                searched.failed.push(failed(Exit::CouldNot, &error));
                return searched;
            }
        };
        let mut object = Watched::new(object);
        let read = read_records(&mut object, MAX_CONTENT, |record| {
            if (self.wanted)(record) {
                let size = record.len() as u64;
                if bytes.fetch_add(size, Ordering::Relaxed) + size > self.most.1 {
                    searched.more = true;
                    return ControlFlow::Break(());
                }
                let (file, position, record) = (file.clone(), searched.records, record.to_owned());
                searched.found.push(Found { file, position, record });
            }
            searched.records += 1;
            ControlFlow::Continue(())
        });
        if let Err(error) = read {
            let exit = if object.failed { Exit::CouldNot } else { Exit::Wrong };
            searched.failed.push(failed(exit, &error));
        }
        searched
    }
}
