//! A server without a configuration file, to try things out on one machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;

use crate::config::{Config, ConfigError};

/// The account of what is tried out.
pub const ACCOUNT: &str = "123456789012";
/// Its access key.
pub const ACCESS_KEY: &str = "SIDETRAILDEVELOPMENT";
/// Its region.
pub const REGION: &str = "eu-central-1";
/// What trails call the bucket.
pub const BUCKET: &str = "sidetrail";

const CONFIG: &str = include_str!("development.yaml");

/// A configuration, and what was made for it.
#[derive(Debug)]
pub struct Development {
    /// The configuration.
    pub config: Config,
    /// The secret of [`ACCESS_KEY`], where it was made just now: it is shown once.
    pub new_secret: Option<String>,
    /// Where the secret is.
    pub secret_file: PathBuf,
}

/// It cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// A file or directory could not be made.
    #[error("cannot make {path}")]
    Make {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration does not fit the directory.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The configuration of a server that has all it needs in a directory, which is made if it is not there.
///
/// # Errors
/// If it cannot be made.
pub fn development(directory: &Path) -> Result<Development, DevelopmentError> {
    let made = |path: &Path, source| DevelopmentError::Make { path: path.to_owned(), source };
    fs::create_dir_all(directory).map_err(|source| made(directory, source))?;
    let directory = directory.canonicalize().map_err(|source| made(directory, source))?;
    let secret_file = directory.join("server.secret");
    let new_secret = secret(&secret_file).map_err(|source| made(&secret_file, source))?;
    let quoted = |path: PathBuf| serde_json::to_string(&path.to_string_lossy()).unwrap_or_default();
    let text = CONFIG
        .replace("{directory}", &quoted(directory.join("bucket")))
        .replace("{secret}", &quoted(secret_file.clone()));
    let config = serde_norway::from_str(&text)
        .map_err(|source| ConfigError::Parse { path: "of development".into(), source })?;
    Ok(Development { config, new_secret, secret_file })
}

/// Makes a secret, unless there is one.
fn secret(path: &Path) -> io::Result<Option<String>> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = [0; 30];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let secret = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes);
    writeln!(file, "{secret}")?;
    Ok(Some(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let first = development(&directory.path().join("a b\"c")).unwrap();
        assert_eq!(first.config.problems().len(), 0);
        assert_eq!(first.new_secret.as_ref().map(String::len), Some(40));
        let again = development(&directory.path().join("a b\"c")).unwrap();
        assert_eq!(again.new_secret, None);
        let secret = fs::read_to_string(&again.secret_file).unwrap();
        assert_eq!(Some(secret.trim_end()), first.new_secret.as_deref());
    }
}
