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

mod content;
mod format;
#[cfg(feature = "store")]
mod heads;
mod keys;
mod metadata;
#[cfg(feature = "store")]
mod names;
mod period;
mod sealed;
#[cfg(feature = "store")]
mod selection;
mod start;
mod statement;
#[cfg(feature = "store")]
mod writer;

pub use self::content::{LogCheck, LogFault, Records};
pub use self::format::{
    Digest, InvalidDigest, LoggedFile, MAX_DIGEST, Previous, SIGNATURE_ALGORITHM, string_to_sign,
};
pub use self::keys::{
    DIGEST_KEY_PAYLOAD_TYPE, KeyObjectError, MAX_REASON, PublishedDigestKey, REVOCATION_PAYLOAD_TYPE,
    Revocation, RsaEnvelope,
};
pub use self::metadata::{MAX_METADATA, Metadata};
pub use self::period::{Cadence, InvalidCadence, Period};
pub use self::sealed::{Opened, OpenedError, SealDigestError, SealedDigest};
pub use self::start::{DIGEST_START_PAYLOAD_TYPE, DigestStart};
pub use self::statement::{CertifiedKey, ChainRange, Head, Problem, SourceRange, Statement, Tree};
#[cfg(feature = "store")]
pub use self::{
    heads::MAX_CHAINS,
    names::{MAX_NAMES, TooManyNames},
    selection::{MAX_PROBLEMS, MAX_WEIGHT},
    writer::{
        Before, Commitment, CommitmentError, DEFAULT_KEY_VALIDITY, DEFAULT_SETTLE, Digester, Done,
        NoCommitment, PATIENCE, Retention, Settings, Step, StepError, Summary, TAKEN_PATIENCE,
    },
};

#[cfg(test)]
mod tests;
