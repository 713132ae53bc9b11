//! Who this collector is: its id and its signing key, made once and kept in the spool directory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sidetrail_archive::key::Id;
use sidetrail_archive::sign::{Ed25519Signer, KeyError, MAX_PEM, Signer};
use sidetrail_spool::{OsFs, durable};

use crate::environment::Environment;

const ID_FILE: &str = "collector-id";
const KEY_FILE: &str = "signing-key.pem";
/// The key is nobody else's business.
const KEY_MODE: u32 = 0o600;

/// Id or key cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The spool's own way of writing a file failed.
    #[error("cannot keep the collector id")]
    Keep(#[source] sidetrail_spool::Error),
    /// The id file holds no id.
    #[error("{path} does not hold a collector id")]
    Id {
        /// The file.
        path: PathBuf,
    },
    /// The key file holds no key.
    #[error("{path} does not hold a signing key")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The system gave no random bytes.
    #[error("no randomness")]
    Random(#[source] io::Error),
}

/// The id of the collector whose spool is in `directory`. Two spools are two collectors, so that their objects never
/// have the same name.
pub(crate) fn collector_id(directory: &Path, environment: &dyn Environment) -> Result<Id, IdentityError> {
    let path = directory.join(ID_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| IdentityError::Id { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut bytes = [0; 16];
            environment.random(&mut bytes).map_err(IdentityError::Random)?;
            // Version 4, RFC 9562.
            bytes[6] = bytes[6] & 0x0f | 0x40;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            let id = Id(bytes);
            durable::replace(&OsFs, &path, format!("{id}\n").as_bytes()).map_err(IdentityError::Keep)?;
            Ok(id)
        }
        Err(source) => Err(IdentityError::File { action: "read", path, source }),
    }
}

/// The signer of a trail: the key at `configured`, which must be there, or the collector's own.
pub(crate) fn signer(directory: &Path, configured: Option<&Path>) -> Result<Arc<dyn Signer>, IdentityError> {
    let own = directory.join(KEY_FILE);
    let path = configured.unwrap_or(&own);
    match read_key(path) {
        Ok(text) => Ed25519Signer::from_pem(&text)
            .map(|signer| Arc::new(signer) as Arc<dyn Signer>)
            .map_err(|source| IdentityError::Key { path: path.to_owned(), source }),
        Err(error) if configured.is_none() && error.kind() == io::ErrorKind::NotFound => {
            let failed = |source| IdentityError::Key { path: own.clone(), source };
            let signer = Ed25519Signer::generate().map_err(failed)?;
            write_key(&own, &signer.to_pem())?;
            Ok(Arc::new(signer))
        }
        Err(source) => Err(IdentityError::File { action: "read", path: path.to_owned(), source }),
    }
}

fn read_key(path: &Path) -> io::Result<String> {
    let size = fs::metadata(path)?.len();
    if size > MAX_PEM as u64 {
        return Err(io::Error::other(format!("{size} bytes are over the limit of {MAX_PEM}")));
    }
    fs::read_to_string(path)
}

/// Writes a private key where nobody else reads it, not even for a moment.
fn write_key(path: &Path, pem: &str) -> Result<(), IdentityError> {
    let temporary = path.with_extension("new");
    let write = || {
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(KEY_MODE).open(&temporary)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        // A hard link fails where a rename would overwrite a key that signed something.
        fs::hard_link(&temporary, path)?;
        fs::remove_file(&temporary)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| IdentityError::File { action: "write", path: path.to_owned(), source })
}
