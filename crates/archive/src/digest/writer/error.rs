//! Why a step could not be made. All of it is tried again with the next one.

use jiff::Timestamp;

use super::super::keys::KeyObjectError;
use super::super::names::TooManyNames;
use super::super::sealed::SealDigestError;
use super::commitment::CommitmentError;
use crate::sign::Fingerprint;
use crate::store::StoreError;

/// A step failed. Nothing is lost: the next one begins where this one did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The store did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is more to look at than a writer takes.
    #[error(transparent)]
    TooMany(#[from] TooManyNames),
    /// The digest could not be made or signed.
    #[error("could not make the digest {object}")]
    Seal {
        /// The digest.
        object: String,
        /// Why.
        source: SealDigestError,
    },
    /// A key could not be published.
    #[error("could not publish the digest key {fingerprint}")]
    Publish {
        /// The key.
        fingerprint: Fingerprint,
        /// Why.
        source: KeyObjectError,
    },
    /// Something else is at the place of a digest. It is waited for a while, then the period is passed over.
    #[error("at the place of the digest {0} is something else")]
    Taken(String),
    /// There are digests of this trail by a key that the one at hand is not known to follow.
    #[error(
        "there are digests of this trail by another key than {0}, which has not announced it: give the old key as well, \
         or publish the new one by hand"
    )]
    Unannounced(Fingerprint),
    /// There is no key to sign with.
    #[error("there is no digest key")]
    NoKey,
    /// No key at hand is in force for a period.
    #[error("no digest key at hand is in force for the period that ends at {0}")]
    NotInForce(Timestamp),
    /// What else the digest commits to could not be made.
    #[error("could not make the commitment")]
    Commitment(#[source] CommitmentError),
    /// The runtime ends.
    #[error("the runtime ends")]
    Ending,
}

impl StepError {
    /// One word, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Store(error) => error.failure().name(),
            Self::TooMany(_) => "too_many",
            Self::Seal { source: SealDigestError::Sign(_), .. } => Self::SIGNER,
            Self::Publish { source: KeyObjectError::Sign(_), .. } => Self::SIGNER,
            Self::Seal { .. } | Self::Publish { .. } | Self::NoKey | Self::Ending => "other",
            Self::Taken(_) => "taken",
            Self::Unannounced(_) => "unannounced_key",
            Self::NotInForce(_) => "key_not_in_force",
            Self::Commitment(_) => "commitment",
        }
    }

    /// The kind where no signature is to be had.
    pub const SIGNER: &'static str = "signer";

    /// Every word that [`StepError::kind`] may be, beside those of a store's [`Failure`](crate::store::Failure).
    pub const KINDS: [&'static str; 7] =
        ["too_many", Self::SIGNER, "taken", "unannounced_key", "key_not_in_force", "commitment", "other"];
}
