//! What `prove` and `verify-proof` are told.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use sidetrail_archive::tlog::note::VerifierKey;

use crate::arguments::jobs;
use crate::time;
use crate::vkeys::LogKeys;

#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// A directory, file:///path or s3://bucket/prefix.
    pub(crate) bucket: String,
    /// The eventID of the record.
    #[arg(value_parser = event_id)]
    pub(crate) event_id: String,
    /// The record happened at or after this time; log files that were delivered before it are not read.
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = time::from)]
    pub(crate) from: Option<Timestamp>,
    /// The record happened at or before this time; a date includes its day.
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = time::to)]
    pub(crate) to: Option<Timestamp>,
    /// Prove it in the tree of this checkpoint: a note, or what `sidetrail witness` keeps, whose cosignature the proof then
    /// has. By default it is the newest in the bucket.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Where to write the proof, by default EVENT_ID.tlog-proof; - is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Leave the record out of the proof: who checks it has to have it.
    #[arg(long)]
    pub(crate) without_record: bool,
    /// How many objects to read at the same time. By default one for each core, for S3 16.
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Print what was proved as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyProof {
    /// The proof; - is standard input.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) keys: LogKeys,
    /// This witness must have cosigned, too. May be given more than once.
    #[arg(long, value_name = "VKEY")]
    pub(crate) witness: Vec<VerifierKey>,
    /// The record, where it is not in the proof, or to be compared with it: the exact bytes, without a line feed after them.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Print what was found as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// An eventID is a part of a file's name, so it must look like one. CloudTrail's are UUIDs.
fn event_id(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if text.is_empty() || text.len() > 256 || text.starts_with('.') || !text.bytes().all(plain) {
        return Err("must be 1 to 256 letters, digits and -_.: and not begin with a dot".to_owned());
    }
    Ok(text.to_owned())
}
