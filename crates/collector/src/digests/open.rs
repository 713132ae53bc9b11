//! From the configuration to writers of digests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sidetrail_archive::digest::{Cadence, Digester, Retention, Settings};
use sidetrail_archive::key::{Home, Trail, TreePlace};
use sidetrail_archive::sign::{DigestSigner, Fingerprint, KeyBundle, KeyError, MAX_PEM, RsaSigner};
use sidetrail_archive::store::Mode;
use sidetrail_archive::tlog::commit::LogCommitment;
use sidetrail_archive::tlog::note;

use crate::config::{Config, DigestConfig, LockMode, TrailConfig};
use crate::trail::open_store;
use crate::{StartError, identity};

/// The longest line of a passphrase file, in bytes.
const MAX_PASSPHRASE: usize = 4096;

/// What `digest` names cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds no key, or no passphrase was the right one.
    #[error("{path} cannot be used")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The variable for the passphrase is not set.
    #[error("the variable {0} of digest.passphrase_env is not set")]
    Variable(String),
    /// A log cannot have the name that its place gives it.
    #[error("the log of the trail {trail} has no name")]
    Log {
        /// The trail.
        trail: Trail,
        /// What is wrong.
        source: note::KeyError,
    },
    /// A key that is elsewhere cannot be had.
    #[error("the key {key} cannot be used")]
    Remote {
        /// The key, without what is secret.
        key: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Writers that can run.
pub(crate) struct Opened {
    /// By trail.
    pub(super) digesters: Vec<(String, Digester)>,
    /// The key that signs.
    pub(super) fingerprint: Fingerprint,
    /// What they do, in words.
    pub(super) told: String,
}

impl Opened {
    pub(super) fn trails(&self) -> impl Iterator<Item = &str> {
        self.digesters.iter().map(|(trail, _)| trail.as_str())
    }
}

/// Opens keys and stores. Nothing is written.
pub(crate) fn open(config: &Config, digest: &DigestConfig) -> Result<Opened, StartError> {
    let signers = signers(digest)?;
    let trusted_keys = match &digest.trusted_keys {
        Some(path) => {
            let text = read(path, MAX_PEM)?;
            let bundle = KeyBundle::from_pem(&text);
            Some(bundle.map_err(|source| DigestError::Key { path: path.clone(), source })?.manifest_keys)
        }
        None => None,
    };
    let fingerprints: Vec<_> = signers.iter().map(|signer| signer.public_key().fingerprint()).collect();
    let mut told = format!("{digest:?} {fingerprints:?} {trusted_keys:?}");
    let mut digesters = Vec::new();
    for trail in config.trails.iter().filter(|trail| digest.covers(trail)) {
        let store = open_store(trail)?;
        told.push_str(&format!(
            " {} {} {:?} {:?}",
            trail.name, trail.destination, trail.object_lock, trail.encryption
        ));
        let home = Home::new(store.prefix().cloned(), config.account.clone());
        let mut settings = Settings::new(&store, home, config.region.clone(), trail.name.clone());
        if let Some(region) = &digest.home_region {
            settings.home_region = region.clone();
        }
        settings.cadence = Cadence::new(digest.cadence).unwrap_or(Cadence::HOURLY);
        settings.settle = digest.settle;
        settings.trusted_keys.clone_from(&trusted_keys);
        settings.retention = trail.object_lock.as_ref().map(|lock| Retention {
            mode: match lock.mode {
                LockMode::Governance => Mode::Governance,
                LockMode::Compliance => Mode::Compliance,
            },
            days: lock.days,
            legal_hold: lock.legal_hold,
        });
        let log = match digest.log {
            true => Some(log(config, digest, trail, &settings, &mut told)?),
            false => None,
        };
        let mut digester = Digester::new(store, settings, signers.clone());
        if let Some(log) = log {
            digester = digester.with_commitment(Box::new(log));
        }
        digesters.push((trail.name.to_string(), digester));
    }
    let fingerprint = fingerprints.last().copied();
    let fingerprint = fingerprint.ok_or_else(|| DigestError::Variable("digest.key".to_owned()))?;
    Ok(Opened { digesters, fingerprint, told })
}

/// The log of a trail, whose checkpoints are signed with a key of their own, or that of the trail's manifests.
fn log(
    config: &Config,
    digest: &DigestConfig,
    trail: &TrailConfig,
    settings: &Settings,
    told: &mut String,
) -> Result<LogCommitment, StartError> {
    let key = digest.log_key.as_deref().or(trail.key.as_deref());
    let signer = identity::signer(&config.spool.directory, key)?;
    told.push_str(&format!(" {}", signer.key_id()));
    let (home, region) = (settings.home.clone(), settings.region.clone());
    let place = TreePlace { home, region, trail: trail.name.clone() };
    let name = trail.name.clone();
    let tell = Box::new(move |what: &str| tracing::warn!(trail = %name, "{what}"));
    let log = LogCommitment::new(place, &settings.bucket, signer, tell);
    log.map_err(|source| DigestError::Log { trail: trail.name.clone(), source }.into())
}

/// The keys, oldest first.
pub(crate) fn signers(digest: &DigestConfig) -> Result<Vec<Arc<dyn DigestSigner>>, DigestError> {
    let passphrase = match (&digest.passphrase_file, &digest.passphrase_env) {
        (Some(path), _) => Some(read(path, MAX_PASSPHRASE)?.lines().next().unwrap_or_default().to_owned()),
        (None, Some(name)) => Some(std::env::var(name).map_err(|_| DigestError::Variable(name.clone()))?),
        (None, None) => None,
    };
    let keys = [digest.previous_key.as_ref(), Some(&digest.key)].into_iter().flatten();
    keys.map(|key| signer(key, passphrase.as_deref())).collect()
}

fn signer(key: &str, passphrase: Option<&str>) -> Result<Arc<dyn DigestSigner>, DigestError> {
    if key.starts_with("awskms:") || key.starts_with("pkcs11:") {
        return remote(key);
    }
    let path = PathBuf::from(key);
    let text = read(&path, MAX_PEM)?;
    match RsaSigner::from_pem_with(&text, passphrase.map(str::as_bytes)) {
        Ok(signer) => Ok(Arc::new(signer)),
        Err(source) => Err(DigestError::Key { path, source }),
    }
}

fn remote(key: &str) -> Result<Arc<dyn DigestSigner>, DigestError> {
    // What follows the question mark may be a PIN.
    let shown = key.split('?').next().unwrap_or_default().to_owned();
    Err(DigestError::Remote { key: shown, source: "this collector is built without it".into() })
}

fn read(path: &Path, limit: usize) -> Result<String, DigestError> {
    let failed = |source| DigestError::File { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > limit as u64 {
        let source = std::io::Error::other(format!("{size} bytes are over the limit of {limit}"));
        return Err(failed(source));
    }
    std::fs::read_to_string(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A first digest, with the log beside it or without.
    async fn written(more: &str) -> (bool, bool) {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        for name in ["spool", "bucket"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("key.pem"), include_str!("../../../archive/testdata/digest/key-a.pem")).unwrap();
        let yaml = format!(
            "account: '123456789012'\nregion: local\nlisten: {{ socket: {} }}\nspool: {{ directory: {} }}\n\
             trails: [{{ name: default, destination: {} }}]\ndigest: {{ key: {}{more} }}\n",
            at("socket"),
            at("spool"),
            at("bucket"),
            at("key.pem")
        );
        let config: Config = serde_norway::from_str(&yaml).unwrap();
        let mut opened = open(&config, config.digest.as_ref().unwrap()).unwrap();
        let (_, digester) = &mut opened.digesters[0];
        digester.step("2026-01-15T11:10:00Z".parse().unwrap()).await.unwrap();
        let home = directory.path().join("bucket/AWSLogs/123456789012");
        let checkpoint = fs::read_to_string(home.join("Sidetrail-Log/local/default/checkpoint"));
        let empty = "local/AWSLogs/123456789012/Sidetrail-Log/local/default\n0\n47DEQpj8HBSa";
        let log = checkpoint.is_ok_and(|checkpoint| checkpoint.starts_with(empty));
        (home.join("CloudTrail-Digest").is_dir(), log)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn digests_have_a_log_unless_it_is_turned_off() {
        assert_eq!(written("").await, (true, true));
        assert_eq!(written(", log: false").await, (true, false));
    }
}
