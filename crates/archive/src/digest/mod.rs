//! Digests: the hourly signed statement of which log files a trail delivered, as CloudTrail writes it.
//!
//! A digest covers the log files that were delivered in one period of a trail in a region, and the late ones of the
//! periods before. Each names the one before it with its hash and signature, so that none can be taken away. What
//! `aws cloudtrail validate-logs` demands of them is met to the byte; one more member, [`Statement`], says what CloudTrail's
//! cannot: which manifests stand behind the log files, and which events these account for.
//!
//! ```text
//! digest ─ SHA-256 ─▶ string to sign ─ DigestSigner ─▶ signature: S3 metadata, or a companion in a directory
//!   │                 (end, place, hash, previous signature)
//!   ├─ previousDigest…: place, hash and signature of the digest before it
//!   ├─ logFiles: place, hash and times of each log file
//!   └─ sidetrail: chains of manifests, the keys that signed them, tree of records, problems
//! ```

mod format;
mod keys;
mod metadata;
mod sealed;
mod statement;

pub use self::format::{
    Digest, InvalidDigest, LoggedFile, MAX_DIGEST, Previous, SIGNATURE_ALGORITHM, string_to_sign,
};
pub use self::keys::{
    DIGEST_KEY_PAYLOAD_TYPE, KeyObjectError, MAX_REASON, PublishedDigestKey, REVOCATION_PAYLOAD_TYPE,
    Revocation, RsaEnvelope,
};
pub use self::metadata::{MAX_METADATA, Metadata};
pub use self::sealed::{Opened, OpenedError, SealDigestError, SealedDigest};
pub use self::statement::{CertifiedKey, ChainRange, Head, Problem, SourceRange, Statement, Tree};

#[cfg(test)]
mod tests;
