//! Signed notes (c2sp.org/signed-note): a text, and lines with the signatures over it.
//!
//! ```text
//! This is an example message.
//!
//! — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
//! ```
//!
//! Keys are written as *vkeys*: name, id and public key in one word. Signatures of keys that are not given are passed over,
//! whatever their kind.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::cosignature;
use crate::hash::{Hasher, Sha256};
use crate::sign::{self, PublicKey, SignError, Signer};

/// The most bytes of a note: room for 16 post-quantum signatures, which every reader must take, and more.
pub const MAX_NOTE: usize = 128 << 10;

/// The most signatures of a note.
pub const MAX_SIGNATURES: usize = 100;

/// The most bytes of a key's name.
pub const MAX_NAME: usize = 1024;

/// What a signature line begins with.
const DASH: &str = "\u{2014} ";

/// Why a note is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// More than [`MAX_NOTE`] bytes or [`MAX_SIGNATURES`] signatures.
    #[error("a note has at most {MAX_NOTE} bytes and {MAX_SIGNATURES} signatures")]
    TooLarge,
    /// Not a text with signatures below it.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// A key that is given is named, and did not sign it.
    #[error("the signature of {0} is not that of its key")]
    Signature(Name),
    /// None of the keys that are given is named.
    #[error("none of the given keys signed it")]
    Unsigned,
}

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The name is empty, too long, or has white space, a plus or a control character in it.
    #[error("a key name is 1 to {MAX_NAME} bytes without white space, plus or control characters")]
    Name,
    /// Not `name+id+key`.
    #[error("a verifier key is NAME+ID+KEY: eight hexadecimal digits, then base64")]
    Form,
    /// The key is of a kind that is not known here.
    #[error("the verifier key {0} is neither of Ed25519 nor for cosignatures of Ed25519")]
    Algorithm(Name),
    /// The id is not that of the key.
    #[error("the verifier key {0} has the id of another one")]
    Id(Name),
}

/// The name of a key; of a log's, its origin.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: impl Into<String>) -> Result<Self, KeyError> {
        let name = name.into();
        let refused = |char: char| char.is_whitespace() || char.is_control() || char == '+';
        if name.is_empty() || name.len() > MAX_NAME || name.contains(refused) {
            return Err(KeyError::Name);
        }
        Ok(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Name {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// What a key signs, which is a part of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519 over the text: what logs sign with.
    Ed25519 = 1,
    /// Ed25519 over a time and the text of a checkpoint: what witnesses sign with.
    Cosignature = 4,
}

/// A public key with its name, as it is handed around: a *vkey*.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: Name,
    algorithm: Algorithm,
    key: PublicKey,
}

impl VerifierKey {
    /// The key that checks what `key` signs under this name.
    #[must_use]
    pub fn new(name: Name, algorithm: Algorithm, key: PublicKey) -> Self {
        Self { name, algorithm, key }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key itself.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// The first four bytes of the SHA-256 over name, line feed, algorithm and key.
    #[must_use]
    pub fn id(&self) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(self.name.0.as_bytes());
        hasher.update(&[b'\n', self.algorithm as u8]);
        hasher.update(&self.key.to_raw());
        let hash = hasher.finish();
        let [one, two, three, four, ..] = *hash.as_bytes();
        u32::from_be_bytes([one, two, three, four])
    }

    /// Whether a signature of this name and id is this key's over `text`.
    fn signed(&self, text: &str, signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Ed25519 => {
                let signature = <[u8; 64]>::try_from(signature).map(sign::Signature::from);
                signature.is_ok_and(|signature| self.key.verify(text.as_bytes(), &signature))
            }
            Algorithm::Cosignature => cosignature::verify(&self.key, text, signature).is_some(),
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.algorithm as u8];
        key.extend_from_slice(&self.key.to_raw());
        write!(f, "{}+{:08x}+{}", self.name, self.id(), STANDARD.encode(key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
        let (id, key) = rest.split_once('+').ok_or(KeyError::Form)?;
        let name = Name::new(name)?;
        let key = STANDARD.decode(key).map_err(|_| KeyError::Form)?;
        let (algorithm, raw) = match key.split_first() {
            Some((1, raw)) => (Algorithm::Ed25519, raw),
            Some((4, raw)) => (Algorithm::Cosignature, raw),
            Some(_) => return Err(KeyError::Algorithm(name)),
            None => return Err(KeyError::Form),
        };
        let raw = raw.try_into().map_err(|_| KeyError::Form)?;
        let key = Self { name, algorithm, key: PublicKey::from_raw(raw) };
        if id == format!("{:08x}", key.id()) { Ok(key) } else { Err(KeyError::Id(key.name)) }
    }
}

impl Serialize for VerifierKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifierKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// One signature of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key.
    pub name: Name,
    /// The id of the key.
    pub id: u32,
    /// What the key made of the text.
    pub bytes: Vec<u8>,
}

impl fmt::Display for Signature {
    /// The line, with its line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.to_be_bytes()[..], &self.bytes].concat();
        writeln!(f, "{DASH}{} {}", self.name, STANDARD.encode(bytes))
    }
}

impl FromStr for Signature {
    type Err = NoteError;

    /// Reads a line, without its line feed.
    fn from_str(line: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed("a signature is a dash, a name and base64");
        let parse = || {
            let (name, bytes) = line.strip_prefix(DASH)?.split_once(' ')?;
            let bytes = STANDARD.decode(bytes).ok()?;
            let (id, bytes) = bytes.split_first_chunk()?;
            Some(Self { name: Name::new(name).ok()?, id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
        };
        parse().filter(|signature| !signature.bytes.is_empty()).ok_or(malformed)
    }
}

/// A text and its signatures, as they were read: not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text, which ends with a line feed.
    pub text: String,
    /// The signatures, at least one.
    pub signatures: Vec<Signature>,
}

impl Note {
    /// Takes a note apart.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE {
            return Err(NoteError::TooLarge);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("not UTF-8"))?;
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteError::Malformed("it has control characters"));
        }
        let (text, signatures) =
            note.rsplit_once("\n\n").ok_or(NoteError::Malformed("no blank line before the signatures"))?;
        let signatures =
            signatures.strip_suffix('\n').ok_or(NoteError::Malformed("no line feed at its end"))?;
        if signatures.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::TooLarge);
        }
        let signatures = signatures.split('\n').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The keys among `keys` that signed it.
    ///
    /// # Errors
    /// If none did, or one is named and did not.
    pub fn verify<'a>(&self, keys: &'a [VerifierKey]) -> Result<Vec<&'a VerifierKey>, NoteError> {
        let mut signers = Vec::new();
        for signature in &self.signatures {
            let named = |key: &&VerifierKey| key.name == signature.name && key.id() == signature.id;
            let Some(key) = keys.iter().find(named) else { continue };
            if !key.signed(&self.text, &signature.bytes) {
                return Err(NoteError::Signature(signature.name.clone()));
            }
            if !signers.contains(&key) {
                signers.push(key);
            }
        }
        if signers.is_empty() { Err(NoteError::Unsigned) } else { Ok(signers) }
    }

    /// The signature of one key, if it is there and that key's.
    #[must_use]
    pub fn signature_of(&self, key: &VerifierKey) -> Option<&Signature> {
        let own = |signature: &&Signature| signature.name == key.name && signature.id == key.id();
        self.signatures.iter().find(own).filter(|signature| key.signed(&self.text, &signature.bytes))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| signature.fmt(f))
    }
}

/// The signature of a log's key over a text that ends with a line feed.
///
/// # Errors
/// If the signer fails.
pub fn sign(text: &str, name: &Name, signer: &dyn Signer) -> Result<Signature, SignError> {
    let key = VerifierKey::new(name.clone(), Algorithm::Ed25519, signer.public_key().clone());
    let bytes = signer.sign(text.as_bytes())?.as_bytes().to_vec();
    Ok(Signature { name: name.clone(), id: key.id(), bytes })
}

/// Base64 of a hash, as notes and proofs have it.
pub(super) fn hash_line(hash: &Sha256) -> String {
    STANDARD.encode(hash.as_bytes())
}

/// The hash in a line, in the one spelling that it has.
pub(super) fn parse_hash(line: &str) -> Option<Sha256> {
    <[u8; 32]>::try_from(STANDARD.decode(line).ok()?).ok().map(Sha256::from)
}

/// A decimal number in the one spelling that it has.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
