//! `sidetrail verify`: the archive's verifier, with a progress bar and a report for people or for programs.

mod coverage;
mod text;

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde::Serialize;
use sidetrail_archive::sign::{KeyId, MAX_PEM, PublicKey};
use sidetrail_archive::verify::{self, Options, Progress, Report};

use self::coverage::{Coverage, Observed};
use crate::arguments::Verify;
use crate::exit::Exit;
use crate::location::{Location, is_remote};
use crate::report::pack_at;
use crate::{print, progress};

/// Objects of a service that are read at the same time: more than there are cores, to hide its latency.
const REMOTE_JOBS: usize = 16;

/// Everything there is to say, and the JSON form of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified<'a> {
    bucket: &'a str,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    #[serde(flatten)]
    report: Report,
    trusted_keys: Vec<KeyId>,
    sources: Vec<Coverage>,
}

/// What the archive at `bucket` is, without a word about it.
pub(crate) fn report(
    bucket: &str,
    keys: Option<&Path>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    jobs: Option<NonZeroUsize>,
) -> Result<Report> {
    let location = Location::open(bucket)?;
    let options = Options {
        keys: keys.map(read_keys).transpose()?,
        from,
        to,
        prefix: location.prefix().cloned(),
        threads: jobs.unwrap_or(Options::default().threads),
    };
    let bar = Bar(progress::spinner("{spinner} listing {elapsed}"));
    let report = verify::run(&*location.bucket(), &options, &bar);
    bar.0.finish_and_clear();
    Ok(report)
}

pub(crate) fn run(arguments: &Verify) -> Result<Exit> {
    if let Some(pack) = pack_at(&arguments.bucket)? {
        return pack.verify(arguments.keys.as_deref(), arguments.json);
    }
    let keys = arguments.keys.as_deref().map(read_keys).transpose()?;
    let location = Location::open(&arguments.bucket)?;
    let jobs = arguments
        .jobs
        .or_else(|| if is_remote(&arguments.bucket) { NonZeroUsize::new(REMOTE_JOBS) } else { None });
    let options = Options {
        keys,
        from: arguments.from,
        to: arguments.to,
        prefix: location.prefix().cloned(),
        threads: jobs.unwrap_or(Options::default().threads),
    };
    let bucket = location.bucket();
    let observed = Observed::new(&*bucket, options.keys.as_deref());
    let bar = Bar(progress::spinner("{spinner} listing {elapsed}"));
    let report = verify::run(&observed, &options, &bar);
    bar.0.finish_and_clear();

    let exit = report.outcome().into();
    let (trusted, sources) = observed.finish();
    let trusted_keys = trusted.iter().map(PublicKey::id).collect();
    let Options { from, to, .. } = options;
    let verified = Verified { bucket: location.name(), from, to, report, trusted_keys, sources };
    if arguments.json {
        let json = serde_json::to_string(&verified).context("could not write the report as JSON")?;
        print::out(format_args!("{json}\n"))?;
    } else {
        print::out(format_args!("{}", text::render(&verified)))?;
    }
    Ok(exit)
}

/// Counts places: a log file and its manifest.
struct Bar(ProgressBar);

impl Progress for Bar {
    fn listed(&self, places: u64) {
        self.0.set_length(places);
        self.0.reset();
        progress::restyle(&self.0, "{bar:30} {human_pos}/{human_len} log files, {rate}, {eta} left");
    }

    fn checked(&self, _: u64) {
        self.0.inc(1);
    }
}

/// The public keys of a PEM file.
fn read_keys(path: &Path) -> Result<Vec<PublicKey>> {
    let text = read_pem(path).with_context(|| format!("could not read the keys in {}", path.display()))?;
    PublicKey::from_pem_bundle(&text)
        .with_context(|| format!("could not take the keys in {}", path.display()))
}

/// A PEM file; one that is too large is cut, for its reader to refuse.
pub(crate) fn read_pem(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_PEM as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
