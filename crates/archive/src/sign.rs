//! Ed25519 signatures: who signs, with what, and how keys are written down.
//!
//! Keys travel as PEM: a private key is one `PRIVATE KEY` block (PKCS#8, RFC 8410, as `openssl genpkey -algorithm
//! ed25519` writes it), public keys are any number of `PUBLIC KEY` blocks (SubjectPublicKeyInfo) in one file. A key is
//! named by its [`KeyId`], the SHA-256 of its SubjectPublicKeyInfo.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::hash::{InvalidSha256, Sha256};

/// What precedes the 32 raw bytes in an Ed25519 SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_HEADER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The largest PEM text that is read, in bytes: about five thousand public keys.
pub const MAX_PEM: usize = 1 << 20;

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

/// An Ed25519 signature, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// The 64 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl From<[u8; 64]> for Signature {
    fn from(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

/// An Ed25519 public key and its name.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    raw: [u8; 32],
    id: KeyId,
}

impl PublicKey {
    /// From the 32 raw bytes.
    #[must_use]
    pub fn from_raw(raw: [u8; 32]) -> Self {
        Self { raw, id: KeyId(Sha256::of(&spki(&raw))) }
    }

    /// From SubjectPublicKeyInfo DER, 44 bytes.
    ///
    /// # Errors
    /// [`KeyError::NotEd25519`] for anything else.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        der.strip_prefix(&SPKI_HEADER)
            .and_then(|raw| raw.try_into().ok())
            .map(Self::from_raw)
            .ok_or(KeyError::NotEd25519)
    }

    /// As SubjectPublicKeyInfo DER, 44 bytes.
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        spki(&self.raw)
    }

    /// As one PEM block `PUBLIC KEY`. Blocks can be concatenated to a bundle.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem(PUBLIC, &self.to_spki())
    }

    /// Every key of a PEM bundle, in order; text between the blocks is ignored.
    ///
    /// # Errors
    /// If the text is not PEM, holds no public key, or holds a block of another kind.
    pub fn from_pem_bundle(text: &str) -> Result<Vec<Self>, KeyError> {
        blocks(text, PUBLIC)?.iter().map(|der| Self::from_spki(der)).collect()
    }

    /// The name of the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.raw).verify(message, &signature.0).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.id).finish()
    }
}

fn spki(raw: &[u8; 32]) -> Vec<u8> {
    [&SPKI_HEADER[..], raw].concat()
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

/// A private key held in memory. It is not shown by `Debug`; aws-lc clears its memory when it is dropped.
pub struct Ed25519Signer {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl Ed25519Signer {
    /// A new key, drawn from aws-lc's own generator, which the operating system seeds.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] if that fails.
    pub fn generate() -> Result<Self, KeyError> {
        Self::new(Ed25519KeyPair::generate().map_err(|_| KeyError::Crypto)?)
    }

    /// From PKCS#8 DER, with or without the public key in it.
    ///
    /// # Errors
    /// [`KeyError::NotEd25519`] for anything else.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        Self::new(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::NotEd25519)?)
    }

    /// From a PEM text with exactly one `PRIVATE KEY` block.
    ///
    /// # Errors
    /// If the text is not that.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        match blocks(text, PRIVATE)?.as_slice() {
            [der] => Self::from_pkcs8(der),
            _ => Err(KeyError::TooMany),
        }
    }

    /// The private key as one PEM block `PRIVATE KEY` (PKCS#8 version 1, which every tool reads).
    ///
    /// # Errors
    /// [`KeyError::Crypto`] if the key cannot be encoded.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let der = self.pair.to_pkcs8v1().map_err(|_| KeyError::Crypto)?;
        Ok(pem(PRIVATE, der.as_ref()))
    }

    fn new(pair: Ed25519KeyPair) -> Result<Self, KeyError> {
        let raw = pair.public_key().as_ref().try_into().map_err(|_| KeyError::NotEd25519)?;
        Ok(Self { pair, public: PublicKey::from_raw(raw) })
    }
}

impl Signer for Ed25519Signer {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        let signature = self.pair.try_sign(message).map_err(|error| SignError(Some(Box::new(error))))?;
        signature.as_ref().try_into().map(Signature).map_err(|_| SignError(None))
    }
}

impl fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519Signer").field("public", &self.public).finish_non_exhaustive()
    }
}

const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "PRIVATE KEY";

/// One PEM block (RFC 7468): base64 in lines of 64.
fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

/// The bodies of all blocks of `text`, of which there is at least one and all have `label`.
fn blocks(text: &str, label: &'static str) -> Result<Vec<Vec<u8>>, KeyError> {
    if text.len() > MAX_PEM {
        return Err(KeyError::TooLarge);
    }
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(begun) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        if begun != label {
            return Err(KeyError::Unexpected(label));
        }
        let end = format!("-----END {label}-----");
        let mut body = String::new();
        loop {
            let line = lines.next().ok_or(KeyError::Pem)?;
            if line == end {
                break;
            }
            body.push_str(line);
        }
        found.push(STANDARD.decode(body).map_err(|_| KeyError::Pem)?);
    }
    if found.is_empty() { Err(KeyError::Absent(label)) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.3: the example key pair.
    const RFC_8410: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const RFC_8410_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn reads_and_writes_the_example_of_rfc_8410() {
        let signer = Ed25519Signer::from_pem(RFC_8410).unwrap();
        assert_eq!(signer.to_pem().unwrap(), RFC_8410);
        assert_eq!(signer.public_key().to_pem(), RFC_8410_PUBLIC);
        assert_eq!(PublicKey::from_pem_bundle(RFC_8410_PUBLIC).unwrap(), [signer.public_key().clone()]);
    }

    #[test]
    fn signs_the_same_every_time_and_refuses_what_it_did_not_sign() {
        let (signer, other) = (Ed25519Signer::generate().unwrap(), Ed25519Signer::generate().unwrap());
        let signature = signer.sign(b"message").unwrap();
        assert_eq!(signature, signer.sign(b"message").unwrap());
        assert!(signer.public_key().verify(b"message", &signature));
        assert!(!signer.public_key().verify(b"massage", &signature));
        assert!(!other.public_key().verify(b"message", &signature));
    }

    #[test]
    fn bundles_hold_many_public_keys_and_nothing_else() {
        let keys: Vec<_> = (0..3).map(|_| Ed25519Signer::generate().unwrap().public_key().clone()).collect();
        let bundle: String = keys.iter().map(|key| format!("# {}\r\n{}", key.id(), key.to_pem())).collect();
        assert_eq!(PublicKey::from_pem_bundle(&bundle).unwrap(), keys);

        let check = |text: &str, error| assert_eq!(PublicKey::from_pem_bundle(text), Err(error));
        check("", KeyError::Absent(PUBLIC));
        check(&format!("{bundle}{RFC_8410}"), KeyError::Unexpected(PUBLIC));
        check(&bundle[..bundle.len() - 3], KeyError::Pem);
        check(&RFC_8410_PUBLIC.replace("MCow", "MC!w"), KeyError::Pem);
        check(&RFC_8410_PUBLIC.replace("MCow", "MCox"), KeyError::NotEd25519);
        check(&" ".repeat(MAX_PEM + 1), KeyError::TooLarge);
        assert_eq!(Ed25519Signer::from_pem(&format!("{RFC_8410}{RFC_8410}")).unwrap_err(), KeyError::TooMany);
    }

    #[test]
    fn debug_shows_no_private_key() {
        let signer = Ed25519Signer::from_pem(RFC_8410).unwrap();
        let shown = format!("{signer:?}");
        assert!(shown.contains(&signer.key_id().to_string()));
        assert!(!shown.contains("d4ee72"), "{shown}");
    }
}
