//! Reading what TLS is made of: certificates and private keys as PEM files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::pem::{Error, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Bytes of a file. A bundle of all public authorities has a quarter of it.
pub const MAX_FILE: u64 = 1 << 20;

/// A file is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// It cannot be read, or is too large.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not hold what it should.
    #[error("{path} holds no {what} in PEM")]
    Content {
        /// The file.
        path: PathBuf,
        /// Certificate or private key.
        what: &'static str,
        /// What was met instead.
        source: Error,
    },
}

/// The certificates in a file, at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let text = read(path)?;
    let invalid = |source| PemError::Content { path: path.to_owned(), what: "certificate", source };
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(invalid)?;
    if certificates.is_empty() { Err(invalid(Error::NoItemsFound)) } else { Ok(certificates) }
}

/// The first private key in a file: PKCS#8, SEC1 or PKCS#1.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|source| PemError::Content {
        path: path.to_owned(),
        what: "private key",
        source,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
        }
        Ok(bytes)
    };
    read().map_err(|source| PemError::Read { path: path.to_owned(), source })
}
