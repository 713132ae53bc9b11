//! A changed configuration while the collector runs: what is taken over at once, and what needs a restart.
//!
//! Everything is read and checked first. If anything is wrong, nothing changes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sidetrail_archive::hash::Sha256;

use crate::config::{Config, ConfigError, DigestConfig};
use crate::{AssignmentError, StartError, TlsError};

/// A changed configuration cannot be used; the collector goes on by the old one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// A value that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The files for TLS.
    #[error("listen.tls cannot be used")]
    Tls(#[from] TlsError),
    /// A trail.
    #[error(transparent)]
    Trail(#[from] StartError),
    /// What a server says cannot be kept.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// The budget does not go with the segments that there are.
    #[error("spool.budget cannot be used")]
    Budget(#[from] sidetrail_spool::Error),
}

/// The keys whose change needs a restart, where the two differ. `next` gets the values of `now` there.
pub(crate) fn keep_what_needs_a_restart(now: &Config, next: &mut Config) -> Vec<&'static str> {
    fn keep<T: Clone + PartialEq>(pending: &mut Vec<&'static str>, key: &'static str, now: &T, next: &mut T) {
        if now != next {
            *next = now.clone();
            pending.push(key);
        }
    }
    let mut pending = Vec::new();
    keep(&mut pending, "account", &now.account, &mut next.account);
    keep(&mut pending, "region", &now.region, &mut next.region);
    keep(&mut pending, "spool.directory", &now.spool.directory, &mut next.spool.directory);
    keep(&mut pending, "spool.segment", &now.spool.segment, &mut next.spool.segment);
    keep(&mut pending, "gateway", &now.gateway, &mut next.gateway);
    keep(&mut pending, "control", &now.control, &mut next.control);
    keep(&mut pending, "forwarders", &now.forwarders, &mut next.forwarders);
    keep(&mut pending, "workload", &now.workload, &mut next.workload);
    let (listen, next) = (&now.listen, &mut next.listen);
    keep(&mut pending, "listen.socket", &listen.socket, &mut next.socket);
    keep(&mut pending, "listen.socket_mode", &listen.socket_mode, &mut next.socket_mode);
    keep(&mut pending, "listen.tcp", &listen.tcp, &mut next.tcp);
    keep(&mut pending, "listen.health", &listen.health, &mut next.health);
    // Files and peers change at once. TLS does not come or go on a port that is open.
    if listen.tls.is_some() != next.tls.is_some() {
        keep(&mut pending, "listen.tls", &listen.tls, &mut next.tls);
    }
    keep(
        &mut pending,
        "listen.unencrypted_beyond_loopback",
        &listen.unencrypted_beyond_loopback,
        &mut next.unencrypted_beyond_loopback,
    );
    pending
}

/// Looks whether the configuration file, or a file that it names, has changed. It asks for the state of a handful of
/// files, so it can be asked every few seconds, and it sees through the symbolic links by which Kubernetes swaps the files
/// of a ConfigMap or a Secret.
#[derive(Debug)]
pub struct Watch {
    /// The configuration file first, then what it names.
    files: Vec<(PathBuf, State)>,
}

/// Device, inode, size and time of modification; `None` of a file that is not there.
type State = Option<(u64, u64, u64, i64, i64)>;

impl Watch {
    /// Watches the configuration file and what `config` names, from how they are now on.
    #[must_use]
    pub fn new(file: &Path, config: &Config) -> Self {
        let mut watch = Self { files: vec![(file.to_owned(), state(file))] };
        watch.follow(config);
        watch
    }

    /// Watches what `config` names instead of what another did. A file that both name is not looked at again: what has
    /// happened to it meanwhile is still a change.
    pub fn follow(&mut self, config: &Config) {
        let tls = config.listen.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key, &tls.client_ca]);
        let trails = config.trails.iter().flat_map(|trail| {
            let selectors = trail.selectors.as_ref().and_then(|selectors| selectors.file.as_ref());
            [trail.key.as_ref(), selectors].into_iter().flatten()
        });
        let mut known = std::mem::take(&mut self.files).into_iter();
        self.files.extend(known.next());
        let known: Vec<_> = known.collect();
        let digest = config.digest.iter().flat_map(DigestConfig::files);
        for path in tls.chain(trails).cloned().chain(digest) {
            let seen = known.iter().find(|(seen, _)| *seen == path).map(|(_, state)| *state);
            let seen = seen.unwrap_or_else(|| state(&path));
            self.files.push((path, seen));
        }
    }

    /// Whether anything is different from when it was last asked.
    pub fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, seen) in &mut self.files {
            let now = state(path);
            changed |= std::mem::replace(seen, now) != now;
        }
        changed
    }
}

fn state(path: &Path) -> State {
    let meta = fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

/// What tells two configurations apart: half of the SHA-256 of the text, in hex.
pub(crate) fn hash(text: &str) -> String {
    let mut hash = Sha256::of(text.as_bytes()).to_string();
    hash.truncate(32);
    hash
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const YAML: &str = "
account: '111122223333'
region: eu-west-1
listen: { socket: /run/sidetrail/collector.sock }
spool: { directory: /var/lib/sidetrail }
trails: [{ name: default, destination: s3://audit/logs }]
";

    fn config(from: &str, to: &str) -> Config {
        serde_norway::from_str(&YAML.replace(from, to)).unwrap()
    }

    #[test]
    fn what_needs_a_restart_is_named_and_stays() {
        let now = config("", "");
        for (from, to, expected) in [
            ("eu-west-1", "eu-west-2", &["region"][..]),
            ("eu-west-1", "eu-west-1\nworkload: { node: n }", &["workload"]),
            ("collector.sock", "other.sock", &["listen.socket"]),
            (
                "directory: /var/lib/sidetrail",
                "directory: /var/lib/other, segment: 32MiB",
                &["spool.directory", "spool.segment"],
            ),
            ("s3://audit/logs", "s3://audit/other", &[]),
            ("directory: /var/lib/sidetrail", "directory: /var/lib/sidetrail, budget: 2GiB", &[]),
        ] {
            let mut next = config(from, to);
            assert_eq!(keep_what_needs_a_restart(&now, &mut next), expected, "{to}");
            assert!(keep_what_needs_a_restart(&now, &mut next).is_empty(), "{to} stays");
        }
    }

    #[test]
    fn a_config_map_that_is_swapped_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for version in ["one", "two"] {
            fs::create_dir(at(version)).unwrap();
            // Of the same size and, for all we know, of the same time.
            fs::write(at(version).join("collector.yaml"), YAML).unwrap();
        }
        symlink("one", at("..data")).unwrap();
        symlink("..data/collector.yaml", at("collector.yaml")).unwrap();
        let mut watch = Watch::new(&at("collector.yaml"), &config("", ""));
        assert!(!watch.changed());
        symlink("two", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert!(watch.changed());
        assert!(!watch.changed());
        fs::remove_file(at("..data")).unwrap();
        assert!(watch.changed(), "what is gone has changed");
    }

    #[test]
    fn files_that_the_configuration_names_are_watched() {
        let directory = tempfile::tempdir().unwrap();
        let (file, key) = (directory.path().join("collector.yaml"), directory.path().join("key.pem"));
        fs::write(&key, "1").unwrap();
        let named = format!("s3://audit/logs, key: {}", key.display());
        let mut watch = Watch::new(&file, &config("s3://audit/logs", &named));
        assert!(!watch.changed());
        fs::write(&key, "22").unwrap();
        assert!(watch.changed());
    }
}
