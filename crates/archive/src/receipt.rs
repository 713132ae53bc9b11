//! Receipts: what a manifest says of events that are not records of its log file, and why.
//!
//! Each list is absent from a manifest where it is empty, so that manifests from before there were receipts are made
//! again to the byte.

use serde::{Deserialize, Serialize};

use crate::hash::Sha256;
use crate::key::{Id, QuarantineKey};

/// The longest reason, in bytes.
pub const MAX_REASON: usize = 64;

/// Events of a source that a manifest counts as dropped, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drop {
    /// The source, which has a range in the same manifest.
    pub source: Id,
    /// In the words of who dropped them: `overflow`, `too large`, `refused: field`, `quarantined`.
    pub reason: String,
    /// How many. All reasons of a source are at most what its ranges say was dropped.
    pub count: u64,
}

/// What a source said of itself: how far it has numbered its events, whether or not they came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    /// One run of one sender.
    pub source: Id,
    /// The service that it sends for.
    pub service: String,
    /// Which instance of it.
    pub instance: String,
    /// The highest number that had come by then.
    pub arrived: u64,
    /// The highest number that it had given. What lies between the two and never comes is a provable gap.
    pub assigned: u64,
    /// It ended, and gives no more. Absent where false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

/// A part of the collector's spool that could not be read any more. Events of it are in no range; what is known of them
/// are the ranges before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// The first position, `segment:offset`.
    pub from: String,
    /// The position at which reading went on.
    pub to: String,
    /// Bytes between the two, null where whole segments are missing.
    pub bytes: Option<u64>,
    /// What is wrong there.
    pub reason: String,
}

/// A frame of the spool that is whole and cannot be understood. Its bytes are an object of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantined {
    /// The object.
    pub key: QuarantineKey,
    /// SHA-256 of its stored bytes.
    pub sha256: Sha256,
    /// Stored bytes.
    pub size: u64,
    /// What cannot be understood.
    pub reason: String,
}

/// An object that was found under a name that this manifest or its log file should have had. It was left as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// The object.
    pub key: String,
    /// SHA-256 of its stored bytes, null where it is too large to be one of ours.
    pub sha256: Option<Sha256>,
}

/// All receipts of a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipts {
    /// Why events were dropped.
    pub drops: Vec<Drop>,
    /// What sources said of themselves.
    pub heard: Vec<Heard>,
    /// What of the spool was lost.
    pub losses: Vec<Loss>,
    /// What of it was set aside.
    pub quarantined: Vec<Quarantined>,
}

/// Cuts a reason to what a receipt holds, at a character.
#[must_use]
pub fn reason(text: &str) -> String {
    let mut end = text.len().min(MAX_REASON);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|each| if each.is_control() { ' ' } else { each }).collect()
}
