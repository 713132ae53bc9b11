//! Ed25519 (RFC 8032): keys and signatures.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::pem::{self, PRIVATE, PUBLIC};
use super::{KeyError, KeyId, SignError, Signer};
use crate::hash::Sha256;

/// What precedes the 32 raw bytes in an Ed25519 SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_HEADER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What precedes the 32 bytes of the seed in a PKCS#8 private key of version 1 (RFC 8410, section 7): the whole's header, the
/// version, the algorithm, and two octet strings, one in the other.
const PKCS8_HEADER: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

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

    /// The 32 raw bytes.
    #[must_use]
    pub fn to_raw(&self) -> [u8; 32] {
        self.raw
    }

    /// As SubjectPublicKeyInfo DER, 44 bytes.
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        spki(&self.raw)
    }

    /// As one PEM block `PUBLIC KEY`. Blocks can be concatenated to a bundle.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::block(PUBLIC, &self.to_spki())
    }

    /// Every key of a PEM bundle, in order; text between the blocks is ignored.
    ///
    /// # Errors
    /// If the text is not PEM, holds no public key, or holds a block of another kind.
    pub fn from_pem_bundle(text: &str) -> Result<Vec<Self>, KeyError> {
        pem::blocks(text, PUBLIC)?.iter().map(|der| Self::from_spki(der)).collect()
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

/// A private key held in memory. It is not shown by `Debug`. Its seed is wiped when it is dropped; ring does not wipe what
/// it derives from that.
pub struct Ed25519Signer {
    seed: Seed,
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// The private key as RFC 8032 has it, 32 bytes.
type Seed = Zeroizing<[u8; 32]>;

impl Ed25519Signer {
    /// A new key, drawn from the operating system.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] if that fails.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Seed::default();
        SystemRandom::new().fill(&mut *seed).map_err(|_| KeyError::Crypto)?;
        Self::from_seed(seed)
    }

    /// From PKCS#8 DER, with or without the public key in it.
    ///
    /// # Errors
    /// [`KeyError::NotEd25519`] for anything else.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::NotEd25519)?;
        let signer = Self::from_seed(seed_of(der).ok_or(KeyError::NotEd25519)?)?;
        if signer.pair.public_key().as_ref() == pair.public_key().as_ref() {
            Ok(signer)
        } else {
            Err(KeyError::NotEd25519)
        }
    }

    /// From a PEM text with exactly one `PRIVATE KEY` block.
    ///
    /// # Errors
    /// If the text is not that.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        match Zeroizing::new(pem::blocks(text, PRIVATE)?).as_slice() {
            [der] => Self::from_pkcs8(der),
            _ => Err(KeyError::TooMany),
        }
    }

    /// The private key as one PEM block `PRIVATE KEY` (PKCS#8 version 1, which every tool reads).
    #[must_use]
    pub fn to_pem(&self) -> String {
        let mut der = Zeroizing::new([0; PKCS8_HEADER.len() + 32]);
        let (header, seed) = der.split_at_mut(PKCS8_HEADER.len());
        header.copy_from_slice(&PKCS8_HEADER);
        seed.copy_from_slice(&*self.seed);
        pem::block(PRIVATE, &*der)
    }

    fn from_seed(seed: Seed) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| KeyError::Crypto)?;
        let raw = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Crypto)?;
        Ok(Self { seed, pair, public: PublicKey::from_raw(raw) })
    }
}

/// The seed in a PKCS#8 key that ring has read: it checks all the rest and keeps the seed to itself.
fn seed_of(der: &[u8]) -> Option<Seed> {
    // The length of the whole takes one byte more where attributes make it long.
    let skipped = if *der.get(1)? == 0x81 { 3 } else { 2 };
    let (version, rest) = der.get(skipped..)?.split_at_checked(3)?;
    let seed = rest.strip_prefix(&PKCS8_HEADER[2 + version.len()..])?.first_chunk()?;
    Some(Zeroizing::new(*seed))
}

impl Signer for Ed25519Signer {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        self.pair.sign(message).as_ref().try_into().map(Signature).map_err(|_| SignError(None))
    }
}

impl fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519Signer").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::MAX_PEM;

    /// RFC 8410, section 10.3: the example key pair.
    const RFC_8410: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const RFC_8410_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn reads_and_writes_the_example_of_rfc_8410() {
        let signer = Ed25519Signer::from_pem(RFC_8410).unwrap();
        assert_eq!(signer.to_pem(), RFC_8410);
        assert_eq!(signer.public_key().to_pem(), RFC_8410_PUBLIC);
        assert_eq!(PublicKey::from_pem_bundle(RFC_8410_PUBLIC).unwrap(), [signer.public_key().clone()]);
    }

    /// RFC 8410, section 10.3: the same with attributes and the public key (PKCS#8 version 2).
    const RFC_8410_LONG: &str = "-----BEGIN PRIVATE KEY-----\n\
        MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\n\
        Z9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PRIVATE KEY-----\n";

    #[test]
    fn reads_keys_of_version_2_with_attributes_of_any_length() {
        let signer = Ed25519Signer::from_pem(RFC_8410_LONG).unwrap();
        assert_eq!(signer.to_pem(), RFC_8410);

        let mut der = pem::blocks(RFC_8410_LONG, PRIVATE).unwrap().remove(0);
        let attributes = [&[0xa0, 0x81, 0x90][..], &[0; 0x90]].concat();
        der.splice(48..48 + 0x21, attributes);
        let length = u8::try_from(der.len() - 2).unwrap();
        der.splice(1..2, [0x81, length]);
        assert_eq!(Ed25519Signer::from_pkcs8(&der).unwrap().to_pem(), RFC_8410);

        for (place, bit) in [(16, 1), (der.len() - 1, 1), (2, 1), (10, 1), (14, 1)] {
            let mut der = der.clone();
            der[place] ^= bit;
            assert_eq!(Ed25519Signer::from_pkcs8(&der).unwrap_err(), KeyError::NotEd25519, "{place}");
        }
        for length in 0..der.len() {
            assert_eq!(Ed25519Signer::from_pkcs8(&der[..length]).unwrap_err(), KeyError::NotEd25519);
        }
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
