//! The configuration file: YAML, every key known, every value checked before anything is opened.

mod access;
mod audit_events;
mod control;
mod digest;
mod history;
mod kubernetes;
mod limits;
mod otlp;
mod topics;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_archive::key::{Account, OrgId, Region};

pub use access::{AccessKey, Role, SecretSource};
pub use audit_events::AuditEventsConfig;
pub use control::{ControlConfig, ControlTls, JoinCertificates, JoinToken};
pub use digest::DigestConfig;
pub use history::History;
pub use kubernetes::{Injector, Kubernetes, Workloads};
pub use limits::{Limits, RateLimit, Throttling};
pub use otlp::{OtlpConfig, OtlpToken};
pub use topics::{NatsConfig, TopicConfig, WebhookConfig};

/// Regions of one server.
const MAX_REGIONS: usize = 64;
/// Access keys of one server.
const MAX_ACCESS_KEYS: usize = 1024;
/// Accounts of an organization.
const MAX_ACCOUNTS: usize = 1024;
/// Buckets that are named in the configuration.
const MAX_BUCKETS: usize = 256;

/// A server's configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Regions that are served, e.g. `[eu-central-1]`: those that requests may be signed for.
    #[schemars(with = "Vec<String>", length(min = 1, max = 64))]
    pub regions: Vec<Region>,
    /// Where clients and probes reach the server.
    pub listen: Listen,
    /// Where the server keeps its state: a directory, or `s3://bucket/prefix`.
    pub bucket: String,
    /// Where buckets of trails are whose names S3 does not know: directories, or `s3://bucket`, by the names that trails
    /// call them. Any other name is a bucket of S3 if the state's is one.
    #[serde(default)]
    pub buckets: BTreeMap<String, String>,
    /// Who may ask for what.
    #[schemars(length(min = 1, max = 1024))]
    pub access_keys: Vec<AccessKey>,
    /// The organization that accounts belong to, for organization trails.
    pub organization: Option<Organization>,
    /// Where collectors keep in touch. Without it they go by their files, and this server knows nothing of them.
    pub control: Option<ControlConfig>,
    /// Which collectors take the events that `PutAuditEvents` brings.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub audit_events: Vec<AuditEventsConfig>,
    /// Who may bring events as OpenTelemetry's logs. Without it nobody may.
    pub otlp: Option<OtlpConfig>,
    /// Where notifications of log files and digests go: topics, by the names that trails' `SnsTopicName` has.
    #[serde(default)]
    pub topics: BTreeMap<String, TopicConfig>,
    /// Who signs digests. Without it this server writes none, and a collector, or another server, may.
    pub digest: Option<DigestConfig>,
    /// How much is taken at a time.
    #[serde(default)]
    pub limits: Limits,
    /// What events can be looked up.
    #[serde(default)]
    pub history: History,
    /// Where the server's own calls are recorded. Without it they are not.
    pub record: Option<Recording>,
    /// How long a shutdown may wait for requests that are under way, e.g. `10s`.
    #[serde(default = "default_shutdown_timeout")]
    #[schemars(with = "String")]
    pub shutdown_timeout: SignedDuration,
    /// What to log, unless the command line or `SIDETRAIL_LOG` says so: `error`, `warn`, `info`, `debug`, `trace`, or a
    /// filter such as `info,sidetrail_server::state=debug`.
    pub log: Option<String>,
}

/// Where clients and probes reach the server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address of the API, e.g. `127.0.0.1:8420`.
    #[schemars(with = "String")]
    pub api: SocketAddr,
    /// Address of `/livez` and `/readyz`.
    #[schemars(with = "Option<String>")]
    pub health: Option<SocketAddr>,
    /// Lets the API be reached from other hosts without TLS, behind a proxy that has it. Requests are signed, and not
    /// encrypted.
    #[serde(default)]
    pub unencrypted_beyond_loopback: bool,
}

/// The organization that accounts belong to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    /// Its id: `o-` and ten to 32 letters and digits.
    #[schemars(with = "String", regex(pattern = "^o-[a-z0-9]{10,32}$"))]
    pub id: OrgId,
    /// The account that manages it, and has its trails.
    #[schemars(with = "String", regex(pattern = "^[0-9]{12}$"))]
    pub management_account: Account,
    /// All other accounts.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub accounts: Vec<Account>,
}

impl Organization {
    /// Whether an account belongs to it.
    #[must_use]
    pub fn has(&self, account: &str) -> bool {
        self.management_account.as_str() == account || self.accounts.iter().any(|it| it.as_str() == account)
    }
}

/// Where the server's own calls are recorded.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// The collector: `unix:/run/sidetrail/collector.sock` or `http://127.0.0.1:4319`.
    pub collector: String,
    /// The records' `eventSource`.
    #[serde(default = "default_event_source")]
    pub event_source: String,
}

fn default_event_source() -> String {
    "cloudtrail.amazonaws.com".to_owned()
}

fn default_shutdown_timeout() -> SignedDuration {
    SignedDuration::from_secs(10)
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not YAML, an unknown key, or a value of the wrong form.
    #[error("configuration {path} is not valid")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Names the key and the place.
        source: serde_norway::Error,
    },
    /// A value that cannot work.
    #[error("configuration: {field} {problem}")]
    Value {
        /// Path of the key, e.g. `access_keys[0].id`.
        field: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
}

pub(crate) fn wrong<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value { field: field.into(), problem: problem.into() })
}

fn count(field: &str, count: usize, min: usize, max: usize) -> Result<(), ConfigError> {
    if (min..=max).contains(&count) {
        return Ok(());
    }
    wrong(field, format!("has {count} entries, allowed are {min} to {max}"))
}

impl Config {
    /// Reads a configuration file; its [problems](Self::problems) are the caller's to ask for.
    ///
    /// # Errors
    /// If it cannot be read, or is not of the form.
    pub fn parse(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        serde_norway::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })
    }

    /// Everything that the types cannot check and that is wrong.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigError> {
        let checks = [
            count("regions", self.regions.len(), 1, MAX_REGIONS),
            count("audit_events", self.audit_events.len(), 0, audit_events::MAX_COLLECTORS),
            count("buckets", self.buckets.len(), 0, MAX_BUCKETS),
            count("topics", self.topics.len(), 0, topics::MAX_TOPICS),
            count("access_keys", self.access_keys.len(), 1, MAX_ACCESS_KEYS),
            self.check_regions(),
            self.check_listen(),
            self.check_buckets(),
            self.check_organization(),
            self.history.check(),
            self.digest.as_ref().map_or(Ok(()), DigestConfig::check),
            self.control.as_ref().map_or(Ok(()), |control| control.check(&self.regions)),
            self.limits.check(),
            self.otlp.as_ref().map_or(Ok(()), |otlp| otlp.check(&self.audit_events)),
            self.check_shutdown_timeout(),
        ];
        let mut problems: Vec<_> = checks.into_iter().filter_map(Result::err).collect();
        problems.extend(self.topics.iter().filter_map(|(name, topic)| topic.check(name).err()));
        for (index, taker) in self.audit_events.iter().enumerate() {
            let at = format!("audit_events[{index}]");
            problems.extend(taker.check(&at, &self.regions).err());
            let same = |other: &AuditEventsConfig| {
                (&other.account, &other.region) == (&taker.account, &taker.region)
            };
            if self.audit_events[..index].iter().any(same) {
                problems.extend(wrong::<()>(at, "is for the account and region of an earlier one").err());
            }
        }
        for (index, key) in self.access_keys.iter().enumerate() {
            let at = format!("access_keys[{index}]");
            problems.extend(key.check(&at).err());
            if self.access_keys[..index].iter().any(|other| other.id == key.id) {
                problems.extend(wrong::<()>(format!("{at}.id"), "is the id of an earlier access key").err());
            }
        }
        problems
    }

    fn check_regions(&self) -> Result<(), ConfigError> {
        let mut regions = self.regions.clone();
        regions.sort_unstable();
        match regions.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => wrong("regions", format!("has {} twice", pair[0])),
            None => Ok(()),
        }
    }

    fn check_listen(&self) -> Result<(), ConfigError> {
        if self.listen.api.ip().is_loopback() || self.listen.unencrypted_beyond_loopback {
            return Ok(());
        }
        wrong(
            "listen.api",
            format!(
                "{} is not a loopback address, and requests are not encrypted: put a proxy with TLS in front, and say \
                 unencrypted_beyond_loopback",
                self.listen.api
            ),
        )
    }

    fn check_buckets(&self) -> Result<(), ConfigError> {
        if self.bucket.is_empty() {
            return wrong("bucket", "is empty");
        }
        for (name, location) in &self.buckets {
            if sidetrail_api::name::check_bucket(name).is_err() {
                return wrong(
                    format!("buckets.{name}"),
                    "is no name of a bucket: 3 to 63 of a-z, 0-9, . and -",
                );
            }
            let bucket = location.strip_prefix("s3://").map(|rest| rest.trim_end_matches('/'));
            if location.is_empty() || bucket.is_some_and(|bucket| bucket.is_empty() || bucket.contains('/')) {
                let problem = "must be a directory or s3://bucket; what precedes AWSLogs/ is the trail's own";
                return wrong(format!("buckets.{name}"), problem);
            }
        }
        Ok(())
    }

    fn check_organization(&self) -> Result<(), ConfigError> {
        let Some(organization) = &self.organization else { return Ok(()) };
        count("organization.accounts", organization.accounts.len(), 0, MAX_ACCOUNTS)
    }

    fn check_shutdown_timeout(&self) -> Result<(), ConfigError> {
        let (min, max) = (SignedDuration::ZERO, SignedDuration::from_hours(1));
        if (min..=max).contains(&self.shutdown_timeout) {
            return Ok(());
        }
        wrong("shutdown_timeout", format!("is {:#}, allowed are 0s to 1h", self.shutdown_timeout))
    }

    /// The JSON Schema of the configuration file.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// How long a shutdown may take.
    #[must_use]
    pub fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout.unsigned_abs()
    }

    /// Whether a bucket that is not named in the configuration is one of S3.
    #[must_use]
    pub fn has_s3(&self) -> bool {
        self.bucket.starts_with("s3://")
    }
}

#[cfg(test)]
mod tests;
