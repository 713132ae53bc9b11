//! A digest as it is stored: gzip, and the signature beside it.

use std::io::{self, Read, Write};

use sirocco::Format;
use sirocco::deflate::{Level, Writer};
use sirocco::inflate::Reader;

use super::format::{Digest, InvalidDigest, MAX_DIGEST, Previous};
use crate::hash::Sha256;
use crate::sign::{DigestSigner, RsaPublicKey, RsaSignature, SignError};

/// A digest, ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedDigest {
    /// The object: exactly one gzip member.
    pub bytes: Vec<u8>,
    /// The SHA-256 of the content.
    pub content_sha256: Sha256,
    /// The signature, for the metadata.
    pub signature: RsaSignature,
}

/// A digest could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealDigestError {
    /// A reader would refuse it.
    #[error(transparent)]
    Invalid(#[from] InvalidDigest),
    /// The digest names another key than the signer's.
    #[error("the digest names another key than that of the signer")]
    Signer,
    /// It could not be compressed.
    #[error("could not compress")]
    Compress(#[from] io::Error),
    /// The signer failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl Digest {
    /// Renders, signs and compresses. The signer may block.
    ///
    /// # Errors
    /// If a reader would refuse it, or the signer fails.
    pub fn seal(&self, signer: &dyn DigestSigner) -> Result<SealedDigest, SealDigestError> {
        if self.fingerprint != signer.public_key().fingerprint() {
            return Err(SealDigestError::Signer);
        }
        let content = self.render()?;
        let content_sha256 = Sha256::of(&content);
        let signature = signer.sign(self.string_to_sign(content_sha256).as_bytes())?;
        // As for log files: no time, no operating system, so that the same content is the same bytes.
        let mut gzip = Writer::new(Format::Gzip, Level::DEFAULT, Vec::new());
        gzip.write_all(&content)?;
        Ok(SealedDigest { bytes: gzip.finish()?, content_sha256, signature })
    }
}

/// A digest that was read: its signature is not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What it says.
    pub digest: Digest,
    /// The SHA-256 of the content.
    pub content_sha256: Sha256,
}

/// Stored bytes are not those of a digest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenedError {
    /// Not gzip, damaged or cut off.
    #[error("not gzip")]
    Gzip(#[source] io::Error),
    /// Something follows the gzip member.
    #[error("unexpected data after the end of the compressed stream")]
    Trailing,
    /// The content is not a digest.
    #[error(transparent)]
    Invalid(#[from] InvalidDigest),
}

impl Opened {
    /// Inflates and reads stored bytes.
    ///
    /// # Errors
    /// If they are not exactly one gzip member of a digest.
    pub fn read(stored: &[u8]) -> Result<Self, OpenedError> {
        let mut inflater = Reader::new(Format::Gzip, stored);
        let mut content = Vec::new();
        let limit = MAX_DIGEST as u64 + 1;
        inflater.by_ref().take(limit).read_to_end(&mut content).map_err(OpenedError::Gzip)?;
        if content.len() > MAX_DIGEST {
            return Err(InvalidDigest::TooLarge.into());
        }
        if !inflater.get_ref().is_empty() {
            return Err(OpenedError::Trailing);
        }
        Ok(Self { digest: Digest::parse(&content)?, content_sha256: Sha256::of(&content) })
    }

    /// Whether it is signed by `key`, which it names, with `signature`.
    #[must_use]
    pub fn is_signed_by(&self, key: &RsaPublicKey, signature: &RsaSignature) -> bool {
        key.fingerprint() == self.digest.fingerprint
            && key.verify(self.digest.string_to_sign(self.content_sha256).as_bytes(), signature)
    }

    /// What the digest after it says of it.
    #[must_use]
    pub fn as_previous(&self, signature: RsaSignature) -> Previous {
        Previous {
            bucket: self.digest.bucket.clone(),
            object: self.digest.object.clone(),
            hash: self.content_sha256,
            signature,
        }
    }
}
