//! The content of a digest: exact bytes, strict reading, and the text that is signed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::statement::Statement;
use crate::hash::Sha256;
use crate::key::{Account, DigestKey, LogKey, Second};
use crate::sign::{Fingerprint, RsaSignature};
use crate::time;

/// The most content that is read, in bytes: about a hundred thousand log files.
pub const MAX_DIGEST: usize = 64 << 20;

/// How digests are signed, in CloudTrail's word for it.
pub const SIGNATURE_ALGORITHM: &str = "SHA256withRSA";

/// How hashes are made, in CloudTrail's word for it.
const HASH_ALGORITHM: &str = "SHA-256";

/// The content of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The account; as in the key.
    pub account: Account,
    /// The start of the period.
    pub start: Timestamp,
    /// Its end; as in the key.
    pub end: Timestamp,
    /// The bucket that the digest lies in.
    pub bucket: String,
    /// Its own key: a copy elsewhere is *moved*.
    pub object: DigestKey,
    /// The key that signs it.
    pub fingerprint: Fingerprint,
    /// The newest `eventTime` of all log files; null when there are none.
    pub newest_event_time: Option<Timestamp>,
    /// The oldest.
    pub oldest_event_time: Option<Timestamp>,
    /// The digest before it; none for the first.
    pub previous: Option<Previous>,
    /// The log files, by key.
    pub log_files: Vec<LoggedFile>,
    /// What stands behind them. CloudTrail's own digests have none.
    pub statement: Option<Statement>,
}

/// The digest before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// The bucket that it lies in.
    pub bucket: String,
    /// Its key.
    pub object: DigestKey,
    /// The SHA-256 of its content.
    pub hash: Sha256,
    /// Its signature.
    pub signature: RsaSignature,
}

/// A log file of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedFile {
    /// The bucket that it lies in.
    pub bucket: String,
    /// Its key.
    pub object: LogKey,
    /// The SHA-256 of its content, not of the stored bytes.
    pub hash: Sha256,
    /// The newest `eventTime` in it; null when it holds no record.
    pub newest_event_time: Option<Timestamp>,
    /// The oldest.
    pub oldest_event_time: Option<Timestamp>,
}

/// The bytes are not a digest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDigest {
    /// More than [`MAX_DIGEST`] bytes of content.
    #[error("a digest is larger than {MAX_DIGEST} bytes")]
    TooLarge,
    /// Not JSON of this shape.
    #[error("not a digest")]
    Json(#[from] serde_json::Error),
    /// What it states contradicts itself.
    #[error("the digest contradicts itself: {0}")]
    Rule(&'static str),
}

/// The members, in CloudTrail's order.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Text {
    aws_account_id: Account,
    #[serde(with = "time")]
    digest_start_time: Timestamp,
    #[serde(with = "time")]
    digest_end_time: Timestamp,
    #[serde(rename = "digestS3Bucket")]
    digest_s3_bucket: String,
    #[serde(rename = "digestS3Object")]
    digest_s3_object: DigestKey,
    digest_public_key_fingerprint: Fingerprint,
    digest_signature_algorithm: String,
    #[serde(with = "time::option")]
    newest_event_time: Option<Timestamp>,
    #[serde(with = "time::option")]
    oldest_event_time: Option<Timestamp>,
    #[serde(rename = "previousDigestS3Bucket")]
    previous_digest_s3_bucket: Option<String>,
    #[serde(rename = "previousDigestS3Object")]
    previous_digest_s3_object: Option<DigestKey>,
    previous_digest_hash_value: Option<Sha256>,
    previous_digest_hash_algorithm: Option<String>,
    previous_digest_signature: Option<RsaSignature>,
    log_files: Vec<FileText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sidetrail: Option<Statement>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileText {
    #[serde(rename = "s3Bucket")]
    s3_bucket: String,
    #[serde(rename = "s3Object")]
    s3_object: LogKey,
    hash_value: Sha256,
    hash_algorithm: String,
    #[serde(with = "time::option")]
    newest_event_time: Option<Timestamp>,
    #[serde(with = "time::option")]
    oldest_event_time: Option<Timestamp>,
}

impl Digest {
    /// The content to store and to hash: compact JSON, without a newline at the end.
    ///
    /// # Errors
    /// If a reader would refuse it.
    pub fn render(&self) -> Result<Vec<u8>, InvalidDigest> {
        self.check().map_err(InvalidDigest::Rule)?;
        let previous = self.previous.as_ref();
        let text = Text {
            aws_account_id: self.account.clone(),
            digest_start_time: self.start,
            digest_end_time: self.end,
            digest_s3_bucket: self.bucket.clone(),
            digest_s3_object: self.object.clone(),
            digest_public_key_fingerprint: self.fingerprint,
            digest_signature_algorithm: SIGNATURE_ALGORITHM.to_owned(),
            newest_event_time: self.newest_event_time,
            oldest_event_time: self.oldest_event_time,
            previous_digest_s3_bucket: previous.map(|previous| previous.bucket.clone()),
            previous_digest_s3_object: previous.map(|previous| previous.object.clone()),
            previous_digest_hash_value: previous.map(|previous| previous.hash),
            previous_digest_hash_algorithm: previous.map(|_| HASH_ALGORITHM.to_owned()),
            previous_digest_signature: previous.map(|previous| previous.signature.clone()),
            log_files: self.log_files.iter().cloned().map(FileText::from).collect(),
            sidetrail: self.statement.clone(),
        };
        let bytes = serde_json::to_vec(&text)?;
        if bytes.len() > MAX_DIGEST { Err(InvalidDigest::TooLarge) } else { Ok(bytes) }
    }

    /// Reads content. Whether it is signed, and lies at its own key, is left to the caller, who knows where it lay.
    ///
    /// CloudTrail's own digests are read too; what has a [`Statement`] must keep our rules as well.
    ///
    /// # Errors
    /// If it is not a digest, or contradicts itself.
    pub fn parse(content: &[u8]) -> Result<Self, InvalidDigest> {
        if content.len() > MAX_DIGEST {
            return Err(InvalidDigest::TooLarge);
        }
        let text: Text = serde_json::from_slice(content)?;
        if text.digest_signature_algorithm != SIGNATURE_ALGORITHM {
            return Err(InvalidDigest::Rule("digestSignatureAlgorithm is not SHA256withRSA"));
        }
        let previous = match (
            text.previous_digest_s3_bucket,
            text.previous_digest_s3_object,
            text.previous_digest_hash_value,
            text.previous_digest_hash_algorithm.as_deref(),
            text.previous_digest_signature,
        ) {
            (None, None, None, None, None) => None,
            (Some(bucket), Some(object), Some(hash), Some(HASH_ALGORITHM), Some(signature)) => {
                Some(Previous { bucket, object, hash, signature })
            }
            _ => return Err(InvalidDigest::Rule("what it says of the previous digest is not whole")),
        };
        if text.log_files.iter().any(|file| file.hash_algorithm != HASH_ALGORITHM) {
            return Err(InvalidDigest::Rule("the hashAlgorithm of a log file is not SHA-256"));
        }
        let digest = Self {
            account: text.aws_account_id,
            start: text.digest_start_time,
            end: text.digest_end_time,
            bucket: text.digest_s3_bucket,
            object: text.digest_s3_object,
            fingerprint: text.digest_public_key_fingerprint,
            newest_event_time: text.newest_event_time,
            oldest_event_time: text.oldest_event_time,
            previous,
            log_files: text.log_files.into_iter().map(LoggedFile::from).collect(),
            statement: text.sidetrail,
        };
        digest.check().map_err(InvalidDigest::Rule)?;
        Ok(digest)
    }

    /// What is signed of this digest, whose content has the hash `content`.
    #[must_use]
    pub fn string_to_sign(&self, content: Sha256) -> String {
        let previous = self.previous.as_ref().map(|previous| &previous.signature);
        string_to_sign(self.end, &self.bucket, &self.object, content, previous)
    }

    /// The rules that a digest keeps by itself; what is broken, if any.
    fn check(&self) -> Result<(), &'static str> {
        let rule = |holds: bool, broken| if holds { Ok(()) } else { Err(broken) };
        let DigestKey { home, region, trail, home_region, end, .. } = &self.object;
        rule(home.account == self.account, "awsAccountId is not that of the key")?;
        rule(*end == Second::of(self.end), "digestEndTime is not that of the key")?;
        rule(self.start < self.end, "digestStartTime is not before digestEndTime")?;
        if let Some(Previous { object, .. }) = &self.previous {
            let same = (&object.home, &object.region, &object.trail, &object.home_region);
            rule(same == (home, region, trail, home_region), "the previous digest is not of the same trail")?;
            rule(object.end < *end, "the previous digest does not end before it")?;
        }
        check_times(self.oldest_event_time, self.newest_event_time)?;
        for file in &self.log_files {
            check_times(file.oldest_event_time, file.newest_event_time)?;
        }
        if let Some(statement) = &self.statement {
            let oldest = self.log_files.iter().filter_map(|file| file.oldest_event_time).min();
            let newest = self.log_files.iter().filter_map(|file| file.newest_event_time).max();
            rule(oldest == self.oldest_event_time, "oldestEventTime is not that of the log files")?;
            rule(newest == self.newest_event_time, "newestEventTime is not that of the log files")?;
            let sorted =
                self.log_files.is_sorted_by(|one, next| one.object.to_string() < next.object.to_string());
            rule(sorted, "logFiles are not in the order of their keys, each once")?;
            statement.check(trail)?;
            if let Some(tree) = &statement.tree {
                rule(tree.leaves.len() == self.log_files.len(), "leaves are not those of the log files")?;
                rule(tree.first_leaf().is_some(), "leaves are more than the tree has")?;
                rule(tree.key.name() == &tree.origin, "the key of the tree is not of its origin")?;
            }
        }
        Ok(())
    }
}

impl Statement {
    fn check(&self, trail: &crate::key::Trail) -> Result<(), &'static str> {
        let rule = |holds: bool, broken| if holds { Ok(()) } else { Err(broken) };
        rule(self.version == Self::VERSION, "the version of sidetrail is not 1")?;
        let ordered =
            self.chains.is_sorted_by(|one, next| (one.collector, one.last) < (next.collector, next.first));
        rule(ordered, "chains are not in order, or overlap")?;
        for chain in &self.chains {
            rule(chain.trail == *trail, "a chain is of another trail")?;
            rule(chain.first <= chain.last, "a chain ends before it begins")?;
            rule(
                (chain.first == 0) == chain.previous.is_none(),
                "previous is absent at index 0 and only there",
            )?;
            let apart =
                chain.sources.is_sorted_by(|one, next| (one.source, one.last) < (next.source, next.first));
            let counted = |range: &super::SourceRange| 0 < range.first && range.first <= range.last;
            rule(apart && chain.sources.iter().all(counted), "ranges of sources are not in order")?;
        }
        let keys = self.keys.is_sorted_by(|one, next| one.0.id() < next.0.id());
        rule(keys, "keys are not in order, each once")?;
        let heads = self.heads.as_deref().unwrap_or_default();
        rule(heads.is_sorted_by(|one, next| one.collector < next.collector), "heads are not in order")
    }
}

fn check_times(oldest: Option<Timestamp>, newest: Option<Timestamp>) -> Result<(), &'static str> {
    match (oldest, newest) {
        (None, None) => Ok(()),
        (Some(oldest), Some(newest)) if oldest <= newest => Ok(()),
        (Some(_), Some(_)) => Err("oldestEventTime is after newestEventTime"),
        _ => Err("one event time is null and the other is not"),
    }
}

/// What is signed of a digest: four lines, without a newline after the last.
#[must_use]
pub fn string_to_sign(
    end: Timestamp,
    bucket: &str,
    object: &DigestKey,
    content: Sha256,
    previous: Option<&RsaSignature>,
) -> String {
    let previous = previous.map_or_else(|| "null".to_owned(), ToString::to_string);
    format!("{}\n{bucket}/{object}\n{content}\n{previous}", time::format(end))
}

impl From<LoggedFile> for FileText {
    fn from(file: LoggedFile) -> Self {
        Self {
            s3_bucket: file.bucket,
            s3_object: file.object,
            hash_value: file.hash,
            hash_algorithm: HASH_ALGORITHM.to_owned(),
            newest_event_time: file.newest_event_time,
            oldest_event_time: file.oldest_event_time,
        }
    }
}

impl From<FileText> for LoggedFile {
    fn from(text: FileText) -> Self {
        Self {
            bucket: text.s3_bucket,
            object: text.s3_object,
            hash: text.hash_value,
            newest_event_time: text.newest_event_time,
            oldest_event_time: text.oldest_event_time,
        }
    }
}
