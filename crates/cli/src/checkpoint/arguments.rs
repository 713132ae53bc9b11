//! What `checkpoint` is told.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::vkeys::LogKeys;

#[derive(Debug, Subcommand)]
pub(crate) enum Checkpoints {
    /// Show the logs of a bucket: name, size, root hash and key.
    #[command(after_help = "\
The key is the one that the newest digest names, and the checkpoint must be signed by it. That makes it no key to trust: who
can write digests can name another. Keep it elsewhere, or verify the bucket with --keys first.

Exit codes: 0 all are sound; 1 one is not; 2 there is none, or it could not be read; 64 usage.

Examples:
  sidetrail checkpoint show s3://audit/prod
  sidetrail checkpoint show s3://audit/prod --vkey > log-keys.txt")]
    Show(Show),
    /// Prove that the log extends a checkpoint that somebody has.
    #[command(after_help = "\
Writes what c2sp.org/tlog-witness has a witness take: the old size, the proof, and the newer checkpoint.

Exit codes: 0 written; 1 the log does not extend it: it was rolled back; 2 could not; 64 usage.

Example:
  sidetrail checkpoint prove s3://audit/prod last-year.checkpoint -o since.proof")]
    Prove(ProveConsistency),
    /// Check such a proof, without the log and without a network.
    #[command(after_help = "\
Exit codes: 0 the newer checkpoint extends the older one, and both are the log's; 1 not; 2 could not check; 64 usage.

Example:
  sidetrail checkpoint verify last-year.checkpoint since.proof --keys log-keys.txt")]
    Verify(VerifyConsistency),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A directory, file:///path or s3://bucket/prefix.
    pub(crate) bucket: String,
    /// Print the keys only: what --keys of `verify-proof` and of `witness` takes.
    #[arg(long, conflicts_with = "json")]
    pub(crate) vkey: bool,
    /// Print a JSON array.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ProveConsistency {
    /// A directory, file:///path or s3://bucket/prefix.
    pub(crate) bucket: String,
    /// The older checkpoint: a note, or what `sidetrail witness` keeps.
    pub(crate) old: PathBuf,
    /// The newer checkpoint; by default the newest in the bucket.
    pub(crate) new: Option<PathBuf>,
    /// Which log of what a witness keeps.
    #[arg(long, value_name = "NAME")]
    pub(crate) origin: Option<String>,
    /// Where to write the proof; - is standard output.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyConsistency {
    /// The older checkpoint: a note, or what `sidetrail witness` keeps.
    pub(crate) old: PathBuf,
    /// The proof; - is standard input.
    pub(crate) proof: PathBuf,
    #[command(flatten)]
    pub(crate) keys: LogKeys,
}
