//! Who signs digests.

use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_archive::digest::Cadence;

use super::{ConfigError, SecretSource, count, wrong};

/// Keys of one server: that which signs, and what it replaced.
const MAX_KEYS: usize = 16;

/// The server writes the digests of trails with log file validation, for as long as they record.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DigestConfig {
    /// RSA private keys, PEM (PKCS#8): the one that signs is the last, and before it are those that it replaced.
    #[schemars(length(min = 1, max = 16))]
    pub keys: Vec<PathBuf>,
    /// The passphrase of keys that are encrypted.
    pub passphrase: Option<SecretSource>,
    /// How long a period is: `1m` to `24h`, in whole minutes that a day is a multiple of.
    #[serde(default = "hour")]
    #[schemars(with = "String")]
    pub cadence: SignedDuration,
    /// How long after a period its digest is written: `0s` to `1h`.
    #[serde(default = "five_minutes")]
    #[schemars(with = "String")]
    pub settle: SignedDuration,
}

fn hour() -> SignedDuration {
    Cadence::HOURLY.length()
}

fn five_minutes() -> SignedDuration {
    sidetrail_archive::digest::DEFAULT_SETTLE
}

impl DigestConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        count("digest.keys", self.keys.len(), 1, MAX_KEYS)?;
        self.cadence()?;
        if !(SignedDuration::ZERO..=SignedDuration::from_hours(1)).contains(&self.settle) {
            return wrong("digest.settle", format!("is {:#}, allowed are 0s to 1h", self.settle));
        }
        Ok(())
    }

    /// How long a period is.
    pub(crate) fn cadence(&self) -> Result<Cadence, ConfigError> {
        Cadence::new(self.cadence)
            .or_else(|error| wrong("digest.cadence", format!("is {:#}: {error}", self.cadence)))
    }
}
