//! RSA private keys in files: encrypted, and made.

use pkcs8::EncryptedPrivateKeyInfo;
#[cfg(feature = "key-generation")]
use zeroize::Zeroizing;

use super::pem::{self, ENCRYPTED, PRIVATE};
use super::{KeyError, RsaSigner};

impl RsaSigner {
    /// From a PEM text with exactly one block, `PRIVATE KEY` or `ENCRYPTED PRIVATE KEY` (PKCS#8). The passphrase is used for
    /// the second only. Its derivation is what the file says: with scrypt it may take a lot of memory for a moment.
    ///
    /// # Errors
    /// If the text is not that, or the passphrase is missing or wrong.
    pub fn from_pem_with(text: &str, passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        match pem::labelled(text, PRIVATE, &[PRIVATE, ENCRYPTED])?.as_slice() {
            [(PRIVATE, der)] => Self::from_pkcs8(der),
            [(_, der)] => {
                let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
                let encrypted = EncryptedPrivateKeyInfo::try_from(&der[..]).map_err(|_| KeyError::NotRsa)?;
                let plain = encrypted.decrypt(passphrase).map_err(|_| KeyError::Passphrase)?;
                Self::from_pkcs8(plain.as_bytes())
            }
            _ => Err(KeyError::TooMany),
        }
    }
}

/// How often a passphrase is hashed for a key that is encrypted here.
#[cfg(feature = "key-generation")]
const ITERATIONS: u32 = 600_000;

/// Makes an RSA key of 2048, 3072 or 4096 bits, as the text of a PEM file, encrypted (AES-256, PBKDF2 with SHA-256) if there
/// is a passphrase.
///
/// # Errors
/// [`KeyError::Crypto`] if there is no randomness, or [`KeyError::NotRsa`] for another size.
#[cfg(feature = "key-generation")]
pub fn generate_rsa_pem(bits: usize, passphrase: Option<&[u8]>) -> Result<Zeroizing<String>, KeyError> {
    use pkcs8::pkcs5::pbes2::Parameters;
    use pkcs8::{EncodePrivateKey as _, PrivateKeyInfo};
    use ring::rand::{SecureRandom as _, SystemRandom};
    use rsa::RsaPrivateKey;
    use rsa::rand_core::OsRng;

    if !matches!(bits, 2048 | 3072 | 4096) {
        return Err(KeyError::NotRsa);
    }
    let key = RsaPrivateKey::new(&mut OsRng, bits).map_err(|_| KeyError::Crypto)?;
    let plain = key.to_pkcs8_der().map_err(|_| KeyError::Crypto)?;
    let Some(passphrase) = passphrase else {
        return Ok(Zeroizing::new(pem::block(PRIVATE, plain.as_bytes())));
    };
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    let random = SystemRandom::new();
    random.fill(&mut salt).and_then(|()| random.fill(&mut iv)).map_err(|_| KeyError::Crypto)?;
    let parameters =
        Parameters::pbkdf2_sha256_aes256cbc(ITERATIONS, &salt, &iv).map_err(|_| KeyError::Crypto)?;
    let info = PrivateKeyInfo::try_from(plain.as_bytes()).map_err(|_| KeyError::Crypto)?;
    let encrypted = info.encrypt_with_params(parameters, passphrase).map_err(|_| KeyError::Crypto)?;
    Ok(Zeroizing::new(pem::block(ENCRYPTED, encrypted.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::{DigestSigner as _, Fingerprint};

    const PLAIN: &str = include_str!("../../testdata/digest/key-a.pem");
    /// The same, by `openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 1000 -passout pass:horse`.
    const ENCRYPTED_A: &str = include_str!("../../testdata/digest/key-a.encrypted.pem");

    fn fingerprint(text: &str, passphrase: Option<&[u8]>) -> Result<Fingerprint, KeyError> {
        RsaSigner::from_pem_with(text, passphrase).map(|signer| signer.public_key().fingerprint())
    }

    #[test]
    fn a_key_may_be_encrypted() {
        let plain = fingerprint(PLAIN, None).unwrap();
        assert_eq!(fingerprint(PLAIN, Some(b"not asked for")), Ok(plain));
        assert_eq!(fingerprint(ENCRYPTED_A, Some(b"horse")), Ok(plain));
        assert_eq!(fingerprint(ENCRYPTED_A, Some(b"donkey")), Err(KeyError::Passphrase));
        assert_eq!(fingerprint(ENCRYPTED_A, None), Err(KeyError::Encrypted));
        assert_eq!(fingerprint(&format!("{PLAIN}{PLAIN}"), None), Err(KeyError::TooMany));
    }

    #[cfg(feature = "key-generation")]
    #[test]
    fn keys_that_are_made_are_read() {
        let text = generate_rsa_pem(2048, None).unwrap();
        let signer = RsaSigner::from_pem(&text).unwrap();
        assert!(signer.public_key().verify(b"a", &signer.sign(b"a").unwrap()));
        let text = generate_rsa_pem(2048, Some(b"horse")).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert!(fingerprint(&text, Some(b"horse")).is_ok());
        assert_eq!(fingerprint(&text, Some(b"donkey")), Err(KeyError::Passphrase));
        assert_eq!(generate_rsa_pem(1024, None).unwrap_err(), KeyError::NotRsa);
    }
}
