//! What `witness` is told.

use std::path::PathBuf;

use clap::Args;
use sidetrail_archive::tlog::note::Name;

use crate::vkeys::LogKeys;

#[derive(Debug, Args)]
pub(crate) struct Witness {
    /// A directory or s3://bucket/prefix, or a file from `sidetrail checkpoint prove`; - is standard input.
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) logs: LogKeys,
    /// Where it keeps the last checkpoint of each log that it saw. Keep it away from the bucket.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: PathBuf,
    /// Its private key (PEM, PKCS#8, Ed25519), which signs nothing else: see `sidetrail keys generate`.
    #[arg(long, value_name = "FILE")]
    pub(crate) signing_key: PathBuf,
    /// Its name, such as witness.example.com/w1.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Name,
    /// Print the cosigned checkpoints only.
    #[arg(long, conflicts_with = "json")]
    pub(crate) notes: bool,
    /// Print what was done as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}
