//! `sidetrail verify`: the archive's verifier, with a progress bar and a report for people or for programs.

mod cursor;
mod junit;
mod keys;
mod text;

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use indicatif::{HumanCount, ProgressBar};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use sidetrail_archive::sign::MAX_PEM;
use sidetrail_archive::verify::{self, Options, Progress, Report, Token};

use self::cursor::CursorFile;
use crate::arguments::Verify;
use crate::exit::Exit;
use crate::location::{Location, is_remote, s3_bucket};
use crate::prove::witnessed;
use crate::report::pack_at;
use crate::{print, progress};

/// Objects of a service that are read at the same time at most: at 20 ms latency some 6,000 a second.
const REMOTE_READS: usize = 128;

/// Everything there is to say, and the JSON form of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified<'a> {
    bucket: &'a str,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    #[serde(flatten)]
    report: Report,
}

/// What the archive at `bucket` is, without a word about it.
pub(crate) fn report(
    bucket: &str,
    keys: Option<&Path>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    jobs: Option<NonZeroUsize>,
) -> Result<Report> {
    let default = Options::default();
    let reads = jobs.unwrap_or(default.reads);
    let location = Location::open_for_reading(bucket, reads.get())?;
    let keys = keys::read(keys)?;
    let options = Options {
        keys: keys.manifests,
        digest_keys: keys.digests,
        from,
        to,
        prefix: location.prefix().cloned(),
        // What has to have come since is not asked of events of the past.
        now: None,
        bucket: s3_bucket(bucket).map(str::to_owned),
        threads: default.threads.min(reads),
        reads,
        ..default
    };
    let watch = Watch::new(None);
    let report = verify::run(&*location.bucket(), &options, &watch);
    watch.bar.finish_and_clear();
    Ok(report)
}

pub(crate) fn run(arguments: &Verify) -> Result<Exit> {
    if let Some(pack) = pack_at(&arguments.bucket)? {
        ensure!(arguments.keys.len() < 2, "a pack of evidence takes one file of keys");
        return pack.verify(arguments.keys.first().map(PathBuf::as_path), arguments.json);
    }
    let keys = keys::read(&arguments.keys)?;
    let default = Options::default();
    let remote = NonZeroUsize::new(REMOTE_READS).filter(|_| is_remote(&arguments.bucket));
    let reads = arguments.jobs.or(remote).unwrap_or(default.reads);
    let location = Location::open_for_reading(&arguments.bucket, reads.get())?;
    let named = arguments.copy_of.as_deref().or_else(|| s3_bucket(&arguments.bucket));
    let mut options = Options {
        keys: keys.manifests,
        digest_keys: keys.digests,
        from: arguments.from,
        to: arguments.to,
        prefix: location.prefix().cloned(),
        now: Some(Timestamp::now()),
        settle: SignedDuration::try_from(arguments.settle).context("--settle is too long")?,
        bucket: named.map(str::to_owned),
        // As few jobs as are asked for are not more threads.
        threads: default.threads.min(reads),
        reads,
        cursor: None,
        object_lock: arguments.object_lock,
        witnessed: arguments.witness.as_deref().map(witnessed).transpose()?.unwrap_or_default(),
        records: arguments.records,
    };
    let cursor = match &arguments.cursor {
        Some(path) => Some(CursorFile::open(path, location.name(), &options)?),
        None => None,
    };
    options.cursor = cursor.as_ref().map(|cursor| Arc::clone(&cursor.known));

    let bucket = location.bucket();
    let watch = Watch::new(cursor.as_ref());
    let report = verify::run(&*bucket, &options, &watch);
    watch.bar.finish_and_clear();

    let exit = report.outcome().into();
    if let Some(cursor) = cursor {
        let whole = options.from.is_none() && options.to.is_none();
        cursor.finish(&report, whole)?;
    }
    if let Some(path) = &arguments.junit {
        let written = junit::write(path, location.name(), &report);
        written.with_context(|| format!("could not write {}", path.display()))?;
    }
    let Options { from, to, .. } = options;
    let verified = Verified { bucket: location.name(), from, to, report };
    if arguments.json {
        let json = serde_json::to_string(&verified).context("could not write the report as JSON")?;
        print::out(format_args!("{json}\n"))?;
    } else {
        print::out(format_args!("{}", text::render(&verified)))?;
    }
    Ok(exit)
}

/// Shows bytes and places, a place being a log file and its manifest, and has the cursor remember.
struct Watch<'a> {
    bar: ProgressBar,
    cursor: Option<&'a CursorFile>,
    places: AtomicU64,
    done: AtomicU64,
}

impl<'a> Watch<'a> {
    fn new(cursor: Option<&'a CursorFile>) -> Self {
        let bar = progress::spinner("{spinner} listing {elapsed}");
        Self { bar, cursor, places: AtomicU64::new(0), done: AtomicU64::new(0) }
    }
}

impl Progress for Watch<'_> {
    fn listed(&self, places: u64, bytes: u64) {
        self.places.store(places, Ordering::Relaxed);
        self.bar.set_length(bytes);
        self.bar.reset();
        progress::restyle(
            &self.bar,
            "{bar:30} {msg} log files, {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left",
        );
    }

    fn read(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn checked(&self, bytes: u64) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.bar.is_hidden() {
            let all = self.places.load(Ordering::Relaxed);
            self.bar.set_message(format!("{}/{}", HumanCount(done), HumanCount(all)));
        }
        self.bar.inc(bytes);
    }

    fn verified(&self, token: Token) {
        if let Some(cursor) = self.cursor {
            cursor.note(token);
        }
    }
}

/// A PEM file; one that is too large is cut, for its reader to refuse.
pub(crate) fn read_pem(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_PEM as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
