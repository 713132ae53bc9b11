//! What `report` is told.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::filter::Pattern;
use crate::arguments::jobs;
use crate::time;

#[derive(Debug, Subcommand)]
pub(crate) enum Reports {
    /// Make a folder with the events of a time range and everything that proves them.
    #[command(after_help = "\
Verifies the archive for the range, then copies the matching events, the log files that hold them, manifests, digests,
checkpoints, a proof for each event, the public keys, a statement of what was checked, and a report to read and print
(report.html). `sidetrail verify DIR` checks all of it without the archive.

Filters that are given more than once take what matches one of them; different filters must all match. * stands for any
text.

Exit codes: those of `sidetrail verify` for the range: 0 valid; 1 something is wrong, and the report says what; 2 could not
check, or nothing matches; 3 genuine with losses; 64 usage.

Examples:
  sidetrail report evidence s3://audit/prod --keys keys.pem --from 2026-01-01 --to 2026-01-31 \\
    --principal '*alice*' -o case-4711
  sidetrail report evidence ./bucket --from -7d --resource 'arn:aws:orders:*:order/17' -o case --tar")]
    Evidence(Box<Evidence>),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Evidence {
    /// A directory, file:///path or s3://bucket/prefix.
    pub(crate) bucket: String,
    /// Events from this time on: 2026-01-15T12:00:00+01:00, 2026-01-15, -2h.
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = time::from)]
    pub(crate) from: Timestamp,
    /// Events up to this time; a date includes its day. By default now.
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = time::to)]
    pub(crate) to: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) filter: FilterArguments,
    /// Believe only these public keys (PEM, any number). Without it those published in the bucket are believed.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// The folder to make; it must not exist.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Make DIR.tar of it, too.
    #[arg(long)]
    pub(crate) tar: bool,
    /// What the report is about: one line for its title.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) title: String,
    /// How many objects to read at the same time. By default one for each core, for S3 16.
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Print the statement as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which events.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FilterArguments {
    /// Who: ARN, principal id, user name or access key id, also of the role or issuer behind a session.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) principal: Vec<Pattern>,
    /// On what: the ARN of a resource.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) resource: Vec<Pattern>,
    /// What: the eventName.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) event_name: Vec<Pattern>,
    /// Which service: the eventSource.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) event_source: Vec<Pattern>,
    /// From where: the sourceIPAddress.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) source_ip: Vec<Pattern>,
    /// One event: the eventID.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) event_id: Vec<Pattern>,
    /// How it ended: the errorCode; '-' is success.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) error_code: Vec<Pattern>,
}
