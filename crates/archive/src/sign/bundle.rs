//! The keys that somebody believes, as they keep them: one PEM file for both kinds.

use super::pem::{self, PUBLIC};
use super::rsa::PKCS1_PUBLIC;
use super::{KeyError, PublicKey, RsaPublicKey};

/// Public keys of both kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyBundle {
    /// Those that sign manifests.
    pub manifest_keys: Vec<PublicKey>,
    /// Those that sign digests.
    pub digest_keys: Vec<RsaPublicKey>,
}

impl KeyBundle {
    /// Every key of a PEM text, in order: blocks `PUBLIC KEY`, which are either kind, and `RSA PUBLIC KEY`. Text between
    /// the blocks is ignored.
    ///
    /// # Errors
    /// If the text is not PEM, holds no public key, or holds a block of another kind.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let mut bundle = Self::default();
        for (label, der) in pem::labelled(text, PUBLIC, &[PUBLIC, PKCS1_PUBLIC])? {
            match PublicKey::from_spki(&der) {
                Ok(key) if label == PUBLIC => bundle.manifest_keys.push(key),
                _ if label == PUBLIC => bundle.digest_keys.push(RsaPublicKey::from_spki(&der)?),
                _ => bundle.digest_keys.push(RsaPublicKey::from_pkcs1(&der)?),
            }
        }
        Ok(bundle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::{DigestSigner as _, Ed25519Signer, RsaSigner, Signer as _};

    #[test]
    fn a_file_holds_both_kinds() {
        let manifest = Ed25519Signer::generate().unwrap().public_key().clone();
        let private = include_str!("../../testdata/digest/key-a.pem");
        let digest = RsaSigner::from_pem(private).unwrap().public_key().clone();
        let text = format!("# a\n{}# b\n{}{}", digest.to_pem(), manifest.to_pem(), digest.to_pkcs1_pem());
        let bundle = KeyBundle::from_pem(&text).unwrap();
        assert_eq!(bundle.manifest_keys, [manifest]);
        assert_eq!(bundle.digest_keys, [digest.clone(), digest]);
        assert_eq!(KeyBundle::from_pem(""), Err(KeyError::Absent(PUBLIC)));
        assert_eq!(KeyBundle::from_pem(private), Err(KeyError::Unexpected(PUBLIC)));
    }
}
