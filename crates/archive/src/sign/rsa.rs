//! RSA signatures: SHA-256 and PKCS#1 v1.5, which is what CloudTrail signs digests with and its readers check.
//!
//! A public key is CloudTrail's: PKCS#1 `RSAPublicKey` DER, named by its [`Fingerprint`], the MD5 of that. In a PEM file it
//! is a `PUBLIC KEY` block (SubjectPublicKeyInfo), as every tool writes it, or an `RSA PUBLIC KEY` block (PKCS#1).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::pem::{self, PRIVATE, PUBLIC};
use super::{KeyError, KeyId, SignError};
use crate::hash::Sha256;

/// The label of a PKCS#1 public key in PEM.
pub(super) const PKCS1_PUBLIC: &str = "RSA PUBLIC KEY";

/// The sizes of a modulus that are accepted, in bits.
pub const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// What CloudTrail calls a key: the MD5 of its PKCS#1 DER, 32 lowercase hexadecimal digits. A name, and no protection:
/// who trusts a key holds the whole of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 16]);

/// The text is not what it should be, in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is {1} lowercase hexadecimal digits")]
pub struct InvalidHex(&'static str, &'static str);

impl Fingerprint {
    const INVALID: InvalidHex = InvalidHex("a fingerprint", "32");
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidHex;

    fn from_str(text: &str) -> Result<Self, InvalidHex> {
        unhex(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(Self::INVALID)
    }
}

/// An RSA signature; shown and stored as lowercase hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RsaSignature(Vec<u8>);

impl RsaSignature {
    const INVALID: InvalidHex = InvalidHex("an RSA signature", "512 to 2048");

    /// From its bytes, as many as the key's modulus has.
    ///
    /// # Errors
    /// If a key that is accepted cannot have made it.
    pub fn new(bytes: Vec<u8>) -> Result<Self, InvalidHex> {
        if RSA_BITS.contains(&(bytes.len() * 8)) { Ok(Self(bytes)) } else { Err(Self::INVALID) }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RsaSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for RsaSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(&self.0))
    }
}

impl FromStr for RsaSignature {
    type Err = InvalidHex;

    fn from_str(text: &str) -> Result<Self, InvalidHex> {
        unhex(text).ok_or(Self::INVALID).and_then(Self::new)
    }
}

macro_rules! text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

text!(Fingerprint);
text!(RsaSignature);

/// An RSA public key and its names.
#[derive(Clone, PartialEq, Eq)]
pub struct RsaPublicKey {
    pkcs1: Vec<u8>,
    fingerprint: Fingerprint,
}

impl RsaPublicKey {
    /// From PKCS#1 `RSAPublicKey` DER.
    ///
    /// # Errors
    /// [`KeyError::NotRsa`] for anything else, or a modulus of a size that is not accepted.
    pub fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        let numbers = || {
            let (numbers, rest) = der::read(der::SEQUENCE, der)?;
            let (modulus, numbers) = der::read_positive(numbers)?;
            let (exponent, more) = der::read_positive(numbers)?;
            (rest.is_empty() && more.is_empty()).then_some((modulus, exponent))
        };
        let (modulus, exponent) = numbers().ok_or(KeyError::NotRsa)?;
        let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros()) as usize;
        if !RSA_BITS.contains(&bits) || exponent.last().is_none_or(|last| last % 2 == 0) {
            return Err(KeyError::NotRsa);
        }
        let fingerprint = Fingerprint(Md5::digest(der).into());
        Ok(Self { pkcs1: der.to_owned(), fingerprint })
    }

    /// From modulus and exponent, most significant byte first.
    ///
    /// # Errors
    /// As [`RsaPublicKey::from_pkcs1`].
    #[cfg(feature = "pkcs11")]
    pub(super) fn from_numbers(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        if modulus.len() > RSA_BITS.end() / 8 + 1 || exponent.len() > 8 {
            return Err(KeyError::NotRsa);
        }
        let numbers = [der::write_positive(modulus), der::write_positive(exponent)].concat();
        Self::from_pkcs1(&der::write(der::SEQUENCE, &numbers))
    }

    /// From SubjectPublicKeyInfo DER.
    ///
    /// # Errors
    /// As [`RsaPublicKey::from_pkcs1`].
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let key = || {
            let (info, rest) = der::read(der::SEQUENCE, der)?;
            let bits = info.strip_prefix(&der::RSA_ENCRYPTION)?;
            let (bits, more) = der::read(der::BIT_STRING, bits)?;
            (rest.is_empty() && more.is_empty()).then_some(bits.strip_prefix(&[0])?)
        };
        key().ok_or(KeyError::NotRsa).and_then(Self::from_pkcs1)
    }

    /// As PKCS#1 `RSAPublicKey` DER, which `ListPublicKeys` answers with.
    #[must_use]
    pub fn as_pkcs1(&self) -> &[u8] {
        &self.pkcs1
    }

    /// As SubjectPublicKeyInfo DER.
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        let bits = der::write(der::BIT_STRING, &[&[0], &self.pkcs1[..]].concat());
        der::write(der::SEQUENCE, &[&der::RSA_ENCRYPTION[..], &bits].concat())
    }

    /// As one PEM block `PUBLIC KEY` (SubjectPublicKeyInfo).
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::block(PUBLIC, &self.to_spki())
    }

    /// As one PEM block `RSA PUBLIC KEY` (PKCS#1).
    #[must_use]
    pub fn to_pkcs1_pem(&self) -> String {
        pem::block(PKCS1_PUBLIC, &self.pkcs1)
    }

    /// What CloudTrail calls it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// What envelopes call it, as every other key: the SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(Sha256::of(&self.to_spki()))
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &RsaSignature) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.pkcs1);
        key.verify(message, &signature.0).is_ok()
    }
}

impl fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RsaPublicKey").field(&self.fingerprint).finish()
    }
}

/// Something that signs digests. Implement it to keep the private key elsewhere, such as in an HSM or a KMS.
pub trait DigestSigner: Send + Sync + fmt::Debug {
    /// The key that checks what this signs.
    fn public_key(&self) -> &RsaPublicKey;

    /// Signs `message` with SHA-256 and RSA PKCS#1 v1.5. It may block: on a device, or on a network.
    ///
    /// # Errors
    /// If the signer cannot sign now.
    fn sign(&self, message: &[u8]) -> Result<RsaSignature, SignError>;
}

/// An RSA private key held in memory. It is not shown by `Debug`.
pub struct RsaSigner {
    pair: RsaKeyPair,
    public: RsaPublicKey,
}

impl RsaSigner {
    /// From PKCS#8 DER. The modulus has 2048 to 4096 bits.
    ///
    /// # Errors
    /// [`KeyError::NotRsa`] for anything else.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError::NotRsa)?;
        let public = RsaPublicKey::from_pkcs1(pair.public().as_ref())?;
        Ok(Self { pair, public })
    }

    /// From a PEM text with exactly one `PRIVATE KEY` block.
    ///
    /// # Errors
    /// If the text is not that.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        match pem::blocks(text, PRIVATE)?.as_slice() {
            [der] => Self::from_pkcs8(der),
            _ => Err(KeyError::TooMany),
        }
    }
}

impl DigestSigner for RsaSigner {
    fn public_key(&self) -> &RsaPublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<RsaSignature, SignError> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map_err(|_| SignError(None))?;
        RsaSignature::new(signature).map_err(|error| SignError(Some(Box::new(error))))
    }
}

impl fmt::Debug for RsaSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaSigner").field("public", &self.public).finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: &u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes =
        pairs.iter().map(|[high, low]| Some(nibble(high)? << 4 | nibble(low)?)).collect::<Option<_>>()?;
    rest.is_empty().then_some(bytes)
}

/// As much of DER as a public key takes.
mod der {
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const BIT_STRING: u8 = 0x03;
    const INTEGER: u8 = 0x02;

    /// The algorithm `rsaEncryption`, without parameters (RFC 8017, appendix A.1).
    pub(super) const RSA_ENCRYPTION: [u8; 15] =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

    /// The content of the value that `bytes` begin with, if it has this tag and the shortest form of its length, and what
    /// follows it.
    pub(super) fn read(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let (length, rest) = match *bytes.strip_prefix(&[tag])? {
            [0x81, length, ref rest @ ..] if length >= 0x80 => (usize::from(length), rest),
            [0x82, high, low, ref rest @ ..] if high > 0 => (usize::from(high) << 8 | usize::from(low), rest),
            [length, ref rest @ ..] if length < 0x80 => (usize::from(length), rest),
            _ => return None,
        };
        rest.split_at_checked(length)
    }

    /// A positive integer in the shortest form, without the zero that keeps it positive.
    pub(super) fn read_positive(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let (number, rest) = read(INTEGER, bytes)?;
        match *number {
            [0, ref number @ ..] if number.first().is_some_and(|first| *first >= 0x80) => {
                Some((number, rest))
            }
            [first, ..] if (1..0x80).contains(&first) => Some((number, rest)),
            _ => None,
        }
    }

    /// An integer of these digits to the base of 256.
    #[cfg(feature = "pkcs11")]
    pub(super) fn write_positive(digits: &[u8]) -> Vec<u8> {
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        let digits = &digits[zeros..];
        let sign: &[u8] = if digits.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
        write(INTEGER, &[sign, digits].concat())
    }

    pub(super) fn write(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        match content.len() {
            length @ ..=0x7f => bytes.push(length as u8),
            length @ 0x80..=0xff => bytes.extend([0x81, length as u8]),
            length => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        bytes.extend_from_slice(content);
        bytes
    }
}
