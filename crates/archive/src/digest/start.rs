//! Where the digests of a trail begin.
//!
//! Each digest but the first has a place that follows from the one before it. The first one's follows from the time at which
//! somebody thought of it, so two writers at an hour's turn would begin two chains. This object is created once, and who
//! comes second begins where it says. A verifier learns by it that there have to be digests, and since when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::keys::{KeyObjectError, RsaEnvelope};
use crate::key::DigestStartKey;
use crate::sign::{DigestSigner, RsaPublicKey};
use crate::time;

/// The type of a start's payload.
pub const DIGEST_START_PAYLOAD_TYPE: &str = "application/vnd.sidetrail.digest-start.v1+json";

/// The period of the first digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DigestStart {
    /// This object's own key, which names the trail.
    pub object: DigestStartKey,
    /// The start of the first digest's period.
    #[serde(with = "time")]
    pub start_time: Timestamp,
    /// Its end.
    #[serde(with = "time")]
    pub end_time: Timestamp,
}

impl DigestStart {
    /// Signs it and renders the bytes to store at its key. The signer may block.
    ///
    /// # Errors
    /// If a reader would refuse it, or the signer fails.
    pub fn seal(&self, signer: &dyn DigestSigner) -> Result<Vec<u8>, KeyObjectError> {
        self.check()?;
        Ok(RsaEnvelope::seal(DIGEST_START_PAYLOAD_TYPE, &serde_json::to_vec(self)?, &[signer])?)
    }

    /// Reads stored bytes and believes them only if one of `keys` signed them. That they lie at their own key is left to
    /// the caller.
    ///
    /// # Errors
    /// If the bytes are not a start signed by one of the keys.
    pub fn open(bytes: &[u8], keys: &[RsaPublicKey]) -> Result<Self, KeyObjectError> {
        let envelope = RsaEnvelope::read(bytes)?;
        if envelope.payload_type != DIGEST_START_PAYLOAD_TYPE || envelope.signatures.len() != 1 {
            return Err(KeyObjectError::PayloadType("start of digests"));
        }
        if !keys.iter().any(|key| envelope.is_signed_by(key)) {
            return Err(KeyObjectError::Signature);
        }
        let start: Self = serde_json::from_slice(&envelope.payload)?;
        start.check()?;
        Ok(start)
    }

    fn check(&self) -> Result<(), KeyObjectError> {
        if self.start_time < self.end_time {
            Ok(())
        } else {
            Err(KeyObjectError::Rule("startTime is not before endTime"))
        }
    }
}
