//! The signature of a digest, which is not in it: S3 keeps it as the object's metadata, a directory in a companion.

use serde::{Deserialize, Serialize};

use super::format::SIGNATURE_ALGORITHM;
use crate::sign::RsaSignature;

/// The largest companion that is read, in bytes.
pub const MAX_METADATA: usize = 4 << 10;

/// What is kept beside a digest. As JSON it is the companion, compact and in this order; the names of the members are those
/// of S3's metadata (`x-amz-meta-signature`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Metadata {
    /// The signature.
    pub signature: RsaSignature,
    /// [`SIGNATURE_ALGORITHM`].
    pub signature_algorithm: String,
}

impl Metadata {
    /// The names of the metadata in S3.
    pub const NAMES: [&str; 2] = ["signature", "signature-algorithm"];

    /// For a signature.
    #[must_use]
    pub fn new(signature: RsaSignature) -> Self {
        Self { signature, signature_algorithm: SIGNATURE_ALGORITHM.to_owned() }
    }

    /// The bytes of a companion.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn render(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// Reads a companion.
    ///
    /// # Errors
    /// If the bytes are not one.
    pub fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let metadata: Self = serde_json::from_slice(bytes.get(..MAX_METADATA).unwrap_or(bytes))?;
        match metadata.signature_algorithm.as_str() {
            SIGNATURE_ALGORITHM => Ok(metadata),
            _ => Err(serde::de::Error::custom("signature-algorithm is not SHA256withRSA")),
        }
    }
}
