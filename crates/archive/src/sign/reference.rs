//! How a configuration or a command line names the private key of digests: a file, a key of a KMS, or one on a token.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::pem::MAX_PEM;
use super::{DigestSigner, KeyError, RsaSigner};

/// The longest reference, in bytes: the ARN of a key has at most 2,048.
pub const MAX_REFERENCE: usize = 4096;

/// The most characters of one that are shown.
const MAX_SHOWN: usize = 200;

const KMS: &str = "awskms:";
const PKCS11: &str = "pkcs11:";

/// Looks up a variable, as `std::env::var(name).ok()` does.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Names a private key of digests: the path of a PEM file, `awskms:///KEY` or `awskms://HOST/KEY`, or a `pkcs11:` URI
/// (RFC 7512) with `module-path`. What is displayed has no PIN in it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyReference(String);

/// Why a key that was named cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds no key, or no passphrase was the right one.
    #[error("{path} cannot be used")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// It is not written as it has to be.
    #[error("{key} is no reference to a key: {problem}")]
    Malformed {
        /// The reference, without what is secret.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// Support for it is a feature that was left out.
    #[error("{key} cannot be used: this program is built without the feature `{feature}`")]
    NotBuilt {
        /// The reference, without what is secret.
        key: String,
        /// The feature.
        feature: &'static str,
    },
    /// The service or token that has it does not give it.
    #[error("the key {key} cannot be used")]
    Elsewhere {
        /// The reference, without what is secret.
        key: String,
        /// What went wrong.
        source: ElsewhereError,
    },
}

impl ReferenceError {
    /// Whether it may be another time without anybody changing the reference: a service or a token is away.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Elsewhere { source, .. } if source.may_pass)
    }
}

/// A service or a token did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct ElsewhereError {
    text: String,
    may_pass: bool,
}

#[cfg_attr(
    not(any(feature = "kms", feature = "pkcs11")),
    expect(dead_code, reason = "nothing is elsewhere without these features")
)]
impl ElsewhereError {
    /// It may be another time.
    pub(super) fn passing(text: impl fmt::Display) -> Self {
        Self { text: text.to_string(), may_pass: true }
    }

    /// Whether it may be another time.
    pub(super) fn may_pass(&self) -> bool {
        self.may_pass
    }

    /// It takes somebody to change something.
    pub(super) fn lasting(text: impl fmt::Display) -> Self {
        Self { text: text.to_string(), may_pass: false }
    }
}

impl KeyReference {
    /// Takes the text as it is: [`KeyReference::check`] says whether it makes sense.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The file that it names, if it names one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        let elsewhere = self.0.starts_with(KMS) || self.0.starts_with(PKCS11);
        (!elsewhere).then(|| Path::new(&self.0))
    }

    /// Checks what can be checked without asking anybody: a file is read, another reference is taken apart.
    ///
    /// # Errors
    /// As [`KeyReference::open`].
    pub fn check(&self, passphrase: Option<&str>) -> Result<(), ReferenceError> {
        match self.place()? {
            Place::File(path) => read(path, passphrase).map(drop),
            #[cfg(any(feature = "kms", feature = "pkcs11"))]
            _ => Ok(()),
        }
    }

    /// Makes a signer of it. `passphrase` is for an encrypted file; `env` looks up the variables that AWS's own tools know.
    /// Where the key is elsewhere it may take as long as [`ANSWER_WITHIN`](super::ANSWER_WITHIN).
    ///
    /// # Errors
    /// If the key cannot be had, now ([`ReferenceError::may_pass`]) or at all.
    pub fn open(
        &self,
        passphrase: Option<&str>,
        env: Variables<'_>,
    ) -> Result<Arc<dyn DigestSigner>, ReferenceError> {
        #[cfg(any(feature = "kms", feature = "pkcs11"))]
        let elsewhere = |opened: Result<super::remote::Remote, ElsewhereError>| match opened {
            Ok(signer) => Ok(Arc::new(signer) as Arc<dyn DigestSigner>),
            Err(source) => Err(ReferenceError::Elsewhere { key: self.to_string(), source }),
        };
        // Only a KMS is looked for in variables.
        let _ = env;
        match self.place()? {
            Place::File(path) => Ok(Arc::new(read(path, passphrase)?)),
            #[cfg(feature = "kms")]
            Place::Kms(name) => elsewhere(super::kms::open(&name, env)),
            #[cfg(feature = "pkcs11")]
            Place::Pkcs11(uri) => elsewhere(super::pkcs11::open(uri)),
        }
    }

    fn place(&self) -> Result<Place<'_>, ReferenceError> {
        if let Some(path) = self.file() {
            return Ok(Place::File(path));
        }
        if self.0.len() > MAX_REFERENCE {
            let problem = format!("{} bytes are over the limit of {MAX_REFERENCE}", self.0.len());
            return Err(ReferenceError::Malformed { key: self.to_string(), problem });
        }
        let (kms, key) = (self.0.starts_with(KMS), self.to_string());
        #[cfg(feature = "kms")]
        if kms {
            let name = super::kms::KeyName::parse(&self.0);
            return name.map(Place::Kms).map_err(|problem| ReferenceError::Malformed { key, problem });
        }
        #[cfg(feature = "pkcs11")]
        if !kms {
            let uri = super::pkcs11::Uri::parse(&self.0);
            return uri.map(Place::Pkcs11).map_err(|problem| ReferenceError::Malformed { key, problem });
        }
        Err(ReferenceError::NotBuilt { key, feature: if kms { "kms" } else { "pkcs11" } })
    }
}

/// Where a key is.
enum Place<'a> {
    File(&'a Path),
    #[cfg(feature = "kms")]
    Kms(super::kms::KeyName),
    #[cfg(feature = "pkcs11")]
    Pkcs11(super::pkcs11::Uri),
}

impl fmt::Display for KeyReference {
    /// A PIN may follow the question mark of a URI.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file() {
            Some(path) => path.display().fmt(f),
            None => {
                let shown = self.0.split('?').next().unwrap_or_default();
                shown.chars().take(MAX_SHOWN).collect::<String>().fmt(f)
            }
        }
    }
}

impl fmt::Debug for KeyReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyReference({self})")
    }
}

impl<'de> Deserialize<'de> for KeyReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl From<&str> for KeyReference {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

fn read(path: &Path, passphrase: Option<&str>) -> Result<RsaSigner, ReferenceError> {
    let failed = |source| ReferenceError::File { path: path.to_owned(), source };
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(failed)?;
    // One byte more, so that what is too large is seen to be.
    file.take(MAX_PEM as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    RsaSigner::from_pem_with(&text, passphrase.map(str::as_bytes))
        .map_err(|source| ReferenceError::Key { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        crate::causes::chain(&KeyReference::from(text).check(None).unwrap_err())
    }

    #[test]
    fn a_path_is_a_file_and_what_is_no_path_is_not() {
        assert_eq!(KeyReference::from("/run/key.pem").file(), Some(Path::new("/run/key.pem")));
        for text in ["awskms:///alias/a", "pkcs11:token=a"] {
            assert_eq!(KeyReference::from(text).file(), None, "{text}");
        }
        let plain = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/digest/key-a.pem");
        KeyReference::from(plain).check(None).unwrap();
        assert!(KeyReference::from(plain).open(None, &|_| None).is_ok());
        let encrypted = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/digest/key-a.encrypted.pem");
        KeyReference::from(encrypted).check(Some("horse")).unwrap();
        assert!(said(encrypted).contains("no passphrase"), "{}", said(encrypted));
        assert!(said("/nowhere").starts_with("cannot read /nowhere: "), "{}", said("/nowhere"));
    }

    #[test]
    fn a_pin_is_never_shown() {
        let text = "pkcs11:token=a;object=b?module-path=/m.so&pin-value=geheim";
        let reference = KeyReference::from(text);
        assert_eq!(reference.to_string(), "pkcs11:token=a;object=b");
        assert_eq!(format!("{reference:?}"), "KeyReference(pkcs11:token=a;object=b)");
        let wrong = "pkcs11:token=a;objekt=b?module-path=/m.so&pin-value=geheim";
        assert!(!said(wrong).contains("geheim"), "{}", said(wrong));
    }

    #[cfg(not(feature = "kms"))]
    #[test]
    fn what_is_left_out_is_named() {
        assert!(
            said("awskms:///alias/a").ends_with("without the feature `kms`"),
            "{}",
            said("awskms:///alias/a")
        );
    }

    #[cfg(not(feature = "pkcs11"))]
    #[test]
    fn what_is_left_out_is_named_too() {
        assert!(
            said("pkcs11:token=a").ends_with("without the feature `pkcs11`"),
            "{}",
            said("pkcs11:token=a")
        );
    }
}
