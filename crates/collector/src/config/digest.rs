//! What the writer of digests is told.

use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_archive::digest::Cadence;
use sidetrail_archive::key::{Region, Trail};
use sidetrail_archive::sign::KeyReference;

use super::{Config, ConfigError, range, wrong};

/// Digests: what CloudTrail's readers validate log files by. They are written by each collector that has this, for its
/// trails and its region, and cover what others shipped there, too. Several may: the first one of an hour counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DigestConfig {
    /// The key that signs digests: a PEM file with an RSA key (PKCS#8, encrypted or not) of 2048 bits or more. Where the
    /// collector is built with the feature `kms`, also `awskms:///KEY` or `awskms://HOST/KEY`, a key of AWS KMS or what speaks
    /// like it; with the feature `pkcs11`, also a `pkcs11:` URI (RFC 7512) with `module-path`, `object` or `id`, and
    /// `pin-source` or `pin-value`. A key that is elsewhere is asked for when the collector runs: it starts without.
    #[schemars(with = "String")]
    pub key: KeyReference,
    /// The key before it, while both may be needed: it announces the new one, and signs nothing after that. In the same
    /// form.
    #[schemars(with = "Option<String>")]
    pub previous_key: Option<KeyReference>,
    /// File with the passphrase of the key files, in its first line.
    pub passphrase_file: Option<PathBuf>,
    /// Environment variable with the passphrase of the key files.
    pub passphrase_env: Option<String>,
    /// How long the period of a digest is, e.g. `1h`. From `1m` to `24h`, in whole minutes that a day is a multiple of.
    #[serde(default = "default_cadence")]
    #[schemars(with = "String")]
    pub cadence: SignedDuration,
    /// How long after a period its digest is written, e.g. `5m`. From `0s` to `1h`. What is delivered later is in a later
    /// digest.
    #[serde(default = "default_settle")]
    #[schemars(with = "String")]
    pub settle: SignedDuration,
    /// The trails that get digests. All that have a bucket, where it is left out.
    #[schemars(with = "Option<Vec<String>>")]
    pub trails: Option<Vec<Trail>>,
    /// The region in the trail's ARN, for a trail of several regions. The collector's, where it is left out.
    #[schemars(with = "Option<String>", regex(pattern = "^[a-z][a-z0-9-]{0,63}$"))]
    pub home_region: Option<Region>,
    /// Whether digests have a transparency log beside them: a Merkle tree over their records, by which one record is proved
    /// and a witness finds out that the bucket was rolled back.
    #[serde(default = "yes")]
    pub log: bool,
    /// The key that signs the checkpoints of the log: a PEM file with an Ed25519 key (PKCS#8). The one that signs the trail's
    /// manifests, where it is left out; where several collectors write digests of a trail, they should have one.
    pub log_key: Option<PathBuf>,
    /// PEM file with the public keys of the collectors whose manifests are certified. Those that are published in the
    /// bucket, where it is left out: then who can write to it can add one.
    pub trusted_keys: Option<PathBuf>,
}

fn default_cadence() -> SignedDuration {
    SignedDuration::from_hours(1)
}

fn default_settle() -> SignedDuration {
    SignedDuration::from_mins(5)
}

fn yes() -> bool {
    true
}

impl DigestConfig {
    /// Checks what the types cannot.
    pub(super) fn check(&self, config: &Config) -> Result<(), ConfigError> {
        let hour = SignedDuration::from_hours(1);
        range("digest.settle", self.settle, SignedDuration::ZERO, hour)?;
        if let Err(error) = Cadence::new(self.cadence) {
            return wrong("digest.cadence", format!("is {:#}: {error}", self.cadence));
        }
        if self.passphrase_file.is_some() && self.passphrase_env.is_some() {
            return wrong("digest.passphrase_env", "is of no use beside digest.passphrase_file".to_owned());
        }
        if self.log_key.is_some() && !self.log {
            return wrong("digest.log_key", "is of no use without digest.log".to_owned());
        }
        for (index, name) in self.trails.iter().flatten().enumerate() {
            let at = format!("digest.trails[{index}]");
            match config.trails.iter().find(|trail| trail.name == *name) {
                Some(trail) if trail.forwards() => {
                    let problem =
                        format!("{name} is forwarded: its digests are written by who has its bucket");
                    return wrong(&at, problem);
                }
                Some(_) => {}
                None => return wrong(&at, format!("{name} is not the name of a trail")),
            }
        }
        if config.trails.iter().all(|trail| !self.covers(trail)) {
            return wrong("digest", "is of no use: no trail has a bucket".to_owned());
        }
        Ok(())
    }

    /// Whether a trail gets digests.
    pub(crate) fn covers(&self, trail: &super::TrailConfig) -> bool {
        !trail.forwards() && self.trails.as_ref().is_none_or(|trails| trails.contains(&trail.name))
    }

    /// The files that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        let keys = self.keys().filter_map(KeyReference::file).map(PathBuf::from);
        let others =
            [&self.passphrase_file, &self.log_key, &self.trusted_keys].into_iter().flatten().cloned();
        keys.chain(others).collect::<Vec<_>>().into_iter()
    }

    /// The keys that sign, oldest first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyReference> {
        [self.previous_key.as_ref(), Some(&self.key)].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::tests::MINIMAL;

    fn problems(digest: &str) -> Vec<String> {
        let yaml = format!("{MINIMAL}digest: {{ {digest} }}\n");
        match serde_norway::from_str::<Config>(&yaml) {
            Ok(config) => config.problems().iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn what_cannot_work_is_named() {
        assert_eq!(problems("key: /k.pem"), [""; 0]);
        assert_eq!(
            problems("key: /k.pem, cadence: 5m, settle: 0s, trails: [default], home_region: r"),
            [""; 0]
        );
        for (digest, expected) in [
            ("", "key"),
            ("key: /k.pem, kye: 1", "kye"),
            ("key: /k.pem, cadence: 7m", "digest.cadence is 7m: a cadence is 1 minute to 1 day"),
            ("key: /k.pem, settle: 2h", "digest.settle is 2h, allowed are 0s to 1h"),
            ("key: /k.pem, trails: [other]", "digest.trails[0] other is not the name of a trail"),
            ("key: /k.pem, log: false, log_key: /l.pem", "digest.log_key is of no use"),
            ("key: /k.pem, passphrase_file: /p, passphrase_env: P", "digest.passphrase_env is of no use"),
        ] {
            let problems = problems(digest);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}: {expected:?}");
        }
    }
}
