//! From the configuration to writers of digests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sidetrail_archive::digest::{Cadence, Digester, Retention, Settings};
use sidetrail_archive::key::{Trail, TreePlace};
use sidetrail_archive::sign::{DigestSigner, KeyBundle, KeyError, KeyReference, MAX_PEM, ReferenceError};
use sidetrail_archive::store::{Mode, Store};
use sidetrail_archive::tlog::commit::LogCommitment;
use sidetrail_archive::tlog::note;
use zeroize::Zeroizing;

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
    /// A file holds no public keys.
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
    /// The key that signs cannot be used.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// Writers that can run, once there are the keys.
pub(crate) struct Opened {
    parts: Vec<Part>,
    pub(super) keys: Keys,
    /// What they do, in words.
    pub(super) told: String,
}

/// What it takes to write the digests of one trail, beside a key.
struct Part {
    trail: Trail,
    store: Store,
    settings: Settings,
    log: Option<LogCommitment>,
}

/// The keys that sign, oldest first.
pub(super) type Signers = Vec<Arc<dyn DigestSigner>>;

/// How there come to be keys.
pub(super) enum Keys {
    /// They were in files.
    There(Signers),
    /// One is elsewhere, and whoever has it may take a while, or be away.
    Elsewhere(Elsewhere),
}

/// Keys that have to be asked for.
pub(super) struct Elsewhere {
    keys: Vec<KeyReference>,
    passphrase: Option<Zeroizing<String>>,
}

impl Elsewhere {
    /// Asks for them, which may take a while.
    pub(super) fn open(&self) -> Result<Signers, ReferenceError> {
        let passphrase = self.passphrase.as_ref().map(|passphrase| passphrase.as_str());
        self.keys.iter().map(|key| key.open(passphrase, &|name| std::env::var(name).ok())).collect()
    }
}

impl Opened {
    pub(super) fn trails(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.trail.as_str())
    }

    /// The writers, by trail.
    pub(super) fn digesters(self, signers: &Signers) -> Vec<(String, Digester)> {
        let digester = |Part { trail, store, settings, log }: Part| {
            let digester = Digester::new(store, settings, signers.clone());
            let digester = match log {
                Some(log) => digester.with_commitment(Box::new(log)),
                None => digester,
            };
            (trail.to_string(), digester)
        };
        self.parts.into_iter().map(digester).collect()
    }
}

/// Opens stores, and keys that are in files. Nothing is written, and nobody is asked.
pub(crate) fn open(config: &Config, digest: &DigestConfig) -> Result<Opened, StartError> {
    let passphrase = passphrase(digest)?;
    let elsewhere = Elsewhere { keys: digest.keys().cloned().collect(), passphrase };
    let (keys, fingerprints) = if digest.keys().all(|key| key.file().is_some()) {
        let signers = elsewhere.open().map_err(DigestError::Reference)?;
        let fingerprints = signers.iter().map(|signer| signer.public_key().fingerprint()).collect();
        (Keys::There(signers), fingerprints)
    } else {
        check(digest)?;
        (Keys::Elsewhere(elsewhere), Vec::new())
    };
    let trusted_keys = match &digest.trusted_keys {
        Some(path) => {
            let text = read(path, MAX_PEM)?;
            let bundle = KeyBundle::from_pem(&text);
            Some(bundle.map_err(|source| DigestError::Key { path: path.clone(), source })?.manifest_keys)
        }
        None => None,
    };
    let mut told = format!("{digest:?} {fingerprints:?} {trusted_keys:?}");
    let mut parts = Vec::new();
    for trail in config.trails.iter().filter(|trail| digest.covers(trail)) {
        let store = open_store(trail)?;
        told.push_str(&format!(
            " {} {} {:?} {:?}",
            trail.name, trail.destination, trail.object_lock, trail.encryption
        ));
        let home = trail.home(store.prefix().cloned(), config.account.clone());
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
        parts.push(Part { trail: trail.name.clone(), store, settings, log });
    }
    Ok(Opened { parts, keys, told })
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

/// Checks the keys as far as it can be done without asking anybody.
pub(crate) fn check(digest: &DigestConfig) -> Result<(), DigestError> {
    let passphrase = passphrase(digest)?;
    let passphrase = passphrase.as_ref().map(|passphrase| passphrase.as_str());
    digest.keys().try_for_each(|key| Ok(key.check(passphrase)?))
}

fn passphrase(digest: &DigestConfig) -> Result<Option<Zeroizing<String>>, DigestError> {
    let passphrase = match (&digest.passphrase_file, &digest.passphrase_env) {
        (Some(path), _) => read(path, MAX_PASSPHRASE)?.lines().next().unwrap_or_default().to_owned(),
        (None, Some(name)) => std::env::var(name).map_err(|_| DigestError::Variable(name.clone()))?,
        (None, None) => return Ok(None),
    };
    Ok(Some(Zeroizing::new(passphrase)))
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
        let opened = open(&config, config.digest.as_ref().unwrap()).unwrap();
        let Keys::There(signers) = &opened.keys else { panic!("the key is in a file") };
        let signers = signers.clone();
        let (_, digester) = &mut opened.digesters(&signers)[0];
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
