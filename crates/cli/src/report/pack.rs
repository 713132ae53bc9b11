//! What a pack of evidence is: a folder, or a tar file of one.
//!
//! ```text
//! evidence.json     the statement: question, answer, what was checked by which version, and every other file's hash
//! report.html       the same to be read and printed; who checks the pack makes it again and compares
//! README.txt        how to check it, with and without this program
//! events.jsonl      the events: one record a line
//! index.jsonl       for each line: log file, position, and the file with its proof
//! archive/…         log files, manifests, digests, checkpoints and published keys, under their own keys
//! proofs/…          a proof for each event (c2sp.org/tlog-proof), where the trail has a log
//! keys/             manifest-keys.pem, digest-keys.pem, log-keys.txt
//! ```
//!
//! The hashes in `evidence.json` find accidents. What proves is signed: each object under `archive/` and each proof is
//! checked by itself, and each event against the log file that it is said to be in.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::LogKey;
use sidetrail_archive::tlog::note::VerifierKey;

/// The file that makes a folder a pack.
pub(crate) const STATEMENT: &str = "evidence.json";
pub(crate) const REPORT: &str = "report.html";
pub(crate) const README: &str = "README.txt";
pub(crate) const EVENTS: &str = "events.jsonl";
pub(crate) const INDEX: &str = "index.jsonl";
/// What precedes the keys of objects.
pub(crate) const ARCHIVE: &str = "archive/";
pub(crate) const PROOFS: &str = "proofs/";
pub(crate) const MANIFEST_KEYS: &str = "keys/manifest-keys.pem";
pub(crate) const DIGEST_KEYS: &str = "keys/digest-keys.pem";
pub(crate) const LOG_KEYS: &str = "keys/log-keys.txt";

/// The version that is written and read.
pub(crate) const VERSION: u32 = 1;
/// The most events of a pack.
pub(crate) const MAX_EVENTS: usize = 100_000;
/// The most bytes of their records.
pub(crate) const MAX_BYTES: u64 = 256 << 20;
/// The most bytes of a file of keys.
pub(crate) const MAX_KEYS: usize = 1 << 20;
/// The most bytes of the statement.
pub(crate) const MAX_STATEMENT: u64 = 256 << 20;

/// What `evidence.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Statement {
    pub(crate) version: u32,
    pub(crate) title: String,
    /// The program that made it.
    pub(crate) tool: String,
    #[serde(rename = "madeAt")]
    pub(crate) made_at: Timestamp,
    pub(crate) question: Question,
    pub(crate) answer: Answer,
    pub(crate) verification: Verification,
    pub(crate) files: Vec<FileEntry>,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Question {
    pub(crate) bucket: String,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) filters: Vec<NamedPattern>,
}

/// One filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedPattern {
    pub(crate) name: String,
    pub(crate) pattern: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Answer {
    pub(crate) events: u64,
    /// Log files that hold them.
    pub(crate) log_files: u64,
    /// Events with a proof of their own.
    pub(crate) proofs: u64,
    /// All log files and records that were looked through.
    pub(crate) searched_log_files: u64,
    pub(crate) searched_records: u64,
    /// Log files that could not be looked through, and why.
    pub(crate) not_searched: Vec<String>,
    /// Digests that list the log files.
    pub(crate) digests: u64,
    /// The logs that the proofs are of.
    pub(crate) logs: Vec<Log>,
    /// What could not be had, in words.
    pub(crate) missing: Vec<String>,
}

/// A log that proofs are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) origin: String,
    /// Leaves of the tree that things are proved in.
    pub(crate) size: u64,
    /// The key that digests name for it.
    pub(crate) key: VerifierKey,
}

/// What the verification of the archive came to when the pack was made: a statement of who made it, which the pack itself
/// does not prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Verification {
    pub(crate) outcome: String,
    /// Whether the keys were given, or those published in the bucket.
    pub(crate) trust: String,
    pub(crate) log_files: u64,
    pub(crate) manifests: u64,
    pub(crate) records: u64,
    pub(crate) wrong: u64,
    pub(crate) unchecked: u64,
    pub(crate) losses: u64,
    /// The first of the findings.
    pub(crate) findings: Vec<String>,
}

/// A file of the pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) sha256: Sha256,
}

/// A line of `index.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Indexed {
    #[serde(rename = "eventID")]
    pub(crate) event_id: String,
    pub(crate) log_file: LogKey,
    /// Which record of the log file it is, from 0.
    pub(crate) position: u64,
    /// The file with its proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<String>,
}
