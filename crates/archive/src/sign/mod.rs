//! Signatures: who signs, with what, and how keys are written down.
//!
//! Manifests are signed with Ed25519, digests with RSA, which is what CloudTrail's readers check.
//!
//! Keys travel as PEM: a private key is one `PRIVATE KEY` block (PKCS#8, as `openssl genpkey -algorithm ed25519` or
//! `-algorithm RSA` writes it), public keys are any number of `PUBLIC KEY` blocks (SubjectPublicKeyInfo) in one file. A
//! key is named by its [`KeyId`], the SHA-256 of its SubjectPublicKeyInfo; CloudTrail names its own by [`Fingerprint`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hash::{InvalidSha256, Sha256};

mod bundle;
mod ed25519;
#[cfg(feature = "kms")]
mod kms;
mod pem;
#[cfg(feature = "pkcs11")]
mod pkcs11;
#[cfg(feature = "encrypted-keys")]
mod private;
#[cfg(feature = "encrypted-keys")]
mod reference;
#[cfg(any(feature = "kms", feature = "pkcs11"))]
mod remote;
mod rsa;

pub use bundle::KeyBundle;
pub use ed25519::{Ed25519Signer, PublicKey, Signature};
pub use pem::MAX_PEM;
#[cfg(feature = "key-generation")]
pub use private::generate_rsa_pem;
#[cfg(feature = "encrypted-keys")]
pub use reference::{ElsewhereError, KeyReference, MAX_REFERENCE, ReferenceError, Variables};
#[cfg(any(feature = "kms", feature = "pkcs11"))]
pub use remote::ANSWER_WITHIN;
pub use rsa::{DigestSigner, Fingerprint, InvalidHex, RSA_BITS, RsaPublicKey, RsaSignature, RsaSigner};

/// Why a key could not be read or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is larger than [`MAX_PEM`].
    #[error("the key file is larger than {MAX_PEM} bytes")]
    TooLarge,
    /// A PEM block has no end, a wrong end, or is not base64.
    #[error("the key file is not well-formed PEM")]
    Pem,
    /// No block of the kind asked for.
    #[error("the key file holds no {0} block")]
    Absent(&'static str),
    /// A block of another kind than asked for, such as a private key among public ones.
    #[error("the key file holds a block other than {0}")]
    Unexpected(&'static str),
    /// More than one private key.
    #[error("the key file holds more than one PRIVATE KEY block")]
    TooMany,
    /// The bytes are not an Ed25519 key in this encoding.
    #[error("not an Ed25519 key")]
    NotEd25519,
    /// The bytes are not an RSA key in this encoding, of a size that is accepted.
    #[error("not an RSA key of 2048 bits or more")]
    NotRsa,
    /// A passphrase is needed.
    #[error("the key is encrypted and there is no passphrase for it")]
    Encrypted,
    /// The passphrase is not the right one, or the key is encrypted in a way that is not supported.
    #[error("the key could not be decrypted: another passphrase, or an encryption that is not supported")]
    Passphrase,
    /// The cryptographic library failed, for example to draw randomness.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// The name of a key: the SHA-256 of its SubjectPublicKeyInfo DER, 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(Sha256);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = InvalidSha256;

    fn from_str(text: &str) -> Result<Self, InvalidSha256> {
        text.parse().map(Self)
    }
}

/// Something that signs. Implement it to keep the private key elsewhere, such as in a KMS.
pub trait Signer: Send + Sync {
    /// The key that checks what this signs.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message` with Ed25519 (pure, RFC 8032).
    ///
    /// # Errors
    /// If the signer cannot sign now.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignError>;

    /// The name of the key.
    fn key_id(&self) -> KeyId {
        self.public_key().id()
    }
}

/// A signer could not sign.
#[derive(Debug, thiserror::Error)]
#[error("could not sign")]
pub struct SignError(#[source] pub Option<Box<dyn std::error::Error + Send + Sync>>);
