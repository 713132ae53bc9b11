//! What a trail is told.

use std::path::PathBuf;

use bytesize::ByteSize;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_archive::key::{Account, Home, OrgId, Prefix, Trail};

use super::protection::{Encryption, ObjectLock};
use super::{ConfigError, SelectorsConfig, range, wrong};

/// One trail: which bucket, and how it is filled.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrailConfig {
    /// Name of the trail: 3 to 128 letters, digits and `._-`. It is part of the evidence, so it stays.
    #[schemars(with = "String", regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{1,126}[A-Za-z0-9]$"))]
    pub name: Trail,
    /// A local directory, or `s3://bucket` or `s3://bucket/prefix` with the usual `AWS_*` variables. Or `gateway`: then
    /// events are forwarded to another collector, that of `gateway`, and the rest of this is not looked at.
    pub destination: String,
    /// Of an organization's trail: its id, `o-` and ten to 32 letters and digits, which is then part of the keys.
    #[schemars(with = "Option<String>", regex(pattern = "^o-[a-z0-9]{10,32}$"))]
    pub organization: Option<OrgId>,
    /// When a log file is finished.
    #[serde(default)]
    pub rotate: Rotate,
    /// Private key that signs the manifests: PEM, PKCS#8, Ed25519. Where it is left out, one is made in the spool
    /// directory at the first start.
    pub key: Option<PathBuf>,
    /// Which events it takes. Everything where it is left out.
    pub selectors: Option<SelectorsConfig>,
    /// Locks every object that the trail stores.
    pub object_lock: Option<ObjectLock>,
    /// How the store encrypts them. Where it is left out, the bucket's default or the `AWS_*` variables say.
    pub encryption: Option<Encryption>,
}

/// When a log file is finished: whichever comes first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rotate {
    /// Records in it before compression, e.g. `16MiB`. From `64KiB` to `40MiB`.
    #[schemars(with = "String")]
    pub size: ByteSize,
    /// Age of its first record in the collector, e.g. `60s`. From `100ms` to `1h`.
    #[schemars(with = "String")]
    pub age: SignedDuration,
}

impl Default for Rotate {
    fn default() -> Self {
        Self { size: ByteSize::mib(16), age: SignedDuration::from_secs(60) }
    }
}

impl TrailConfig {
    /// Whether it goes to another collector, and not to a bucket.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.destination == "gateway"
    }

    /// Checks what the types cannot. `at` is where in the configuration this is, e.g. `trails[0]`.
    pub(super) fn check(&self, at: &str) -> Result<(), ConfigError> {
        if self.forwards() && self.selectors.is_some() {
            let problem =
                "are for trails with a bucket: what is forwarded is selected by the gateway's trails";
            return wrong(&format!("{at}.selectors"), problem.to_owned());
        }
        if let Some(lock) = &self.object_lock {
            lock.check(at, &self.destination)?;
        }
        if let Some(encryption) = &self.encryption {
            encryption.check(at, &self.destination)?;
        }
        self.rotate.check(at)
    }

    /// Where it stores for an account, below a prefix.
    pub(crate) fn home(&self, prefix: Option<Prefix>, account: Account) -> Home {
        Home { organization: self.organization.clone(), ..Home::new(prefix, account) }
    }
}

impl Rotate {
    /// `at` is where in the configuration it is a member.
    pub(super) fn check(&self, at: &str) -> Result<(), ConfigError> {
        let (min, max) = (ByteSize::kib(64), ByteSize::mib(40));
        range(&format!("{at}.rotate.size"), self.size, min, max)?;
        let (min, max) = (SignedDuration::from_millis(100), SignedDuration::from_hours(1));
        range(&format!("{at}.rotate.age"), self.age, min, max)
    }
}
