//! The configuration file: YAML, every key known, every value checked before anything is opened.

mod control;
mod digest;
mod gateway;
mod lint;
mod listen;
mod protection;
mod selectors;
mod trail;
mod workload;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_archive::key::{Account, Region};

pub use control::{Control, ControlTls};
pub use digest::DigestConfig;
pub use gateway::{Forwarders, Gateway, GatewayTls};
pub use listen::{Limits, Listen, SocketMode, SocketPeers, Tls};
pub(crate) use protection::is_encryption;
pub use protection::{Encryption, EncryptionKind, LockMode, ObjectLock};
pub use selectors::SelectorsConfig;
pub use sidetrail_wire::peer::{InvalidPattern, Names, PeerPattern, is_spiffe_id};
pub use trail::{Rotate, TrailConfig};
pub use workload::Workload;

/// A spool needs room for a few segments, or nothing can be written while one is shipped.
const MIN_BUDGET_SEGMENTS: u64 = 4;
/// CloudTrail has no more in a region either.
pub(crate) const MAX_TRAILS: usize = 5;

/// A collector's configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Account that the records belong to: twelve digits, yours to choose.
    #[schemars(with = "String", regex(pattern = "^[0-9]{12}$"))]
    pub account: Account,
    /// Region that the records belong to, e.g. `eu-west-1`, or any name of yours in that alphabet.
    #[schemars(with = "String", regex(pattern = "^[a-z][a-z0-9-]{0,63}$"))]
    pub region: Region,
    /// Where applications and probes reach the collector.
    pub listen: Listen,
    /// Where events are kept until they are in the bucket.
    pub spool: Spool,
    /// Calls that were announced before they began.
    #[serde(default)]
    pub intents: Intents,
    /// Where they go. At most five, and at least one, unless a server says where.
    #[serde(default)]
    #[schemars(length(max = 5))]
    pub trails: Vec<TrailConfig>,
    /// A server that is told how the collector is, and says where events go.
    pub control: Option<Control>,
    /// Digests, if this collector writes them.
    pub digest: Option<DigestConfig>,
    /// Another collector, which ships for this one.
    pub gateway: Option<Gateway>,
    /// Collectors that this one ships for.
    pub forwarders: Option<Forwarders>,
    /// Where the collector runs, e.g. its pod: its manifests say so.
    pub workload: Option<Workload>,
    /// End, as after SIGTERM, once senders came and all of them have been gone for so long, e.g. `10s`: for a container
    /// beside others in a pod that is to end. From `1s` to `1h`. Left out: never.
    #[schemars(with = "Option<String>")]
    pub end_after_senders: Option<SignedDuration>,
    /// How long a shutdown may take to ship what is in the spool, e.g. `25s`. What is left is shipped after the next
    /// start.
    #[serde(default = "default_shutdown_timeout")]
    #[schemars(with = "String")]
    pub shutdown_timeout: SignedDuration,
    /// What to log, unless the command line or `SIDETRAIL_LOG` says so: `error`, `warn`, `info`, `debug`, `trace`, or a
    /// filter such as `info,sidetrail_collector::trail=debug`.
    pub log: Option<String>,
    /// What tells this text from another.
    #[serde(skip)]
    pub hash: String,
}

/// Where events are kept until they are in the bucket.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spool {
    /// Directory of the spool, made if it is not there. One collector at a time.
    pub directory: PathBuf,
    /// Disk space that it may use, e.g. `1GiB`. Beyond it applications have to wait.
    #[serde(default = "default_budget")]
    #[schemars(with = "String")]
    pub budget: ByteSize,
    /// Size of one segment file, e.g. `16MiB`: what is freed at once.
    #[serde(default = "default_segment")]
    #[schemars(with = "String")]
    pub segment: ByteSize,
}

/// Calls that were announced before they began, and of which nothing came.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Intents {
    /// How long a sender may be away before its open calls are recorded as `Incomplete`, e.g. `30s`. From `1s` to `1h`.
    /// What it reports after that is recorded too, as an amendment.
    #[schemars(with = "String")]
    pub grace: SignedDuration,
}

impl Default for Intents {
    fn default() -> Self {
        Self { grace: SignedDuration::from_secs(30) }
    }
}

impl Intents {
    /// How long a sender may be away.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.grace.unsigned_abs()
    }
}

impl Spool {
    fn check_budget(&self) -> Result<(), ConfigError> {
        let least = ByteSize(self.segment.as_u64().saturating_mul(MIN_BUDGET_SEGMENTS));
        if self.budget < least {
            return wrong(
                "spool.budget",
                format!(
                    "is {}, at least {MIN_BUDGET_SEGMENTS} times spool.segment are needed, which is {least}",
                    self.budget
                ),
            );
        }
        Ok(())
    }
}

fn default_budget() -> ByteSize {
    ByteSize::gib(1)
}

fn default_segment() -> ByteSize {
    ByteSize::mib(16)
}

fn default_shutdown_timeout() -> SignedDuration {
    SignedDuration::from_secs(25)
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
        /// Path of the key, e.g. `trails[0].rotate.size`.
        field: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
}

impl Config {
    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let config = Self::parse(path)?;
        config.check()?;
        Ok(config)
    }

    /// Reads a configuration file, and leaves it to the caller to ask for its [problems](Self::problems). `env:NAME` is
    /// no file but the environment variable `NAME`.
    pub fn parse(path: &Path) -> Result<Self, ConfigError> {
        let text = match path.to_str().and_then(|path| path.strip_prefix("env:")) {
            Some(variable) => std::env::var(variable).map_err(std::io::Error::other),
            None => std::fs::read_to_string(path),
        };
        let text = text.map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config: Self = serde_norway::from_str(&text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source })?;
        config.hash = crate::reload::hash(&text);
        Ok(config)
    }

    /// Checks what the types cannot: ranges, and values that depend on each other.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// Everything that the types cannot check and that is wrong.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut problems = self.listen.problems();
        let hour = SignedDuration::from_hours(1);
        let values = [
            range("spool.segment", self.spool.segment, ByteSize::mib(1), ByteSize::mib(256)),
            self.spool.check_budget(),
            self.check_number_of_trails(),
            range("intents.grace", self.intents.grace, SignedDuration::from_secs(1), hour),
            range("shutdown_timeout", self.shutdown_timeout, SignedDuration::ZERO, hour),
            self.workload.as_ref().map_or(Ok(()), Workload::check),
            self.end_after_senders.map_or(Ok(()), |after| {
                range("end_after_senders", after, SignedDuration::from_secs(1), hour)
            }),
        ];
        problems.extend(values.into_iter().filter_map(Result::err));
        for (index, trail) in self.trails.iter().enumerate() {
            if self.trails[..index].iter().any(|other| other.name == trail.name) {
                let problem = format!("{} is the name of an earlier trail", trail.name);
                problems.push(ConfigError::Value { field: format!("trails[{index}].name"), problem });
            }
            let at = format!("trails[{index}]");
            problems.extend(trail.check(&at).err());
            if trail.forwards() && self.gateway.is_none() {
                let problem = "is gateway, and there is none".to_owned();
                problems.push(ConfigError::Value { field: format!("{at}.destination"), problem });
            }
        }
        problems.extend(self.control.as_ref().and_then(|control| control.check().err()));
        problems.extend(self.gateway.as_ref().and_then(|gateway| gateway.endpoint().err()));
        problems.extend(self.forwarders.as_ref().and_then(|them| them.check().err()));
        problems.extend(self.digest.as_ref().and_then(|digest| digest.check(self).err()));
        problems.extend(self.selectors().err());
        problems
    }

    fn check_number_of_trails(&self) -> Result<(), ConfigError> {
        let least = usize::from(!self.control.as_ref().is_some_and(|control| control.trails));
        match self.trails.len() {
            count if (least..=MAX_TRAILS).contains(&count) => Ok(()),
            count => wrong("trails", format!("has {count} entries, allowed are {least} to {MAX_TRAILS}")),
        }
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
}

fn range<T: Copy + PartialOrd + std::fmt::Display>(
    field: &str,
    value: T,
    min: T,
    max: T,
) -> Result<(), ConfigError> {
    if value < min || value > max {
        // The alternate form is `1h` for a duration rather than `PT1H`.
        return wrong(field, format!("is {value:#}, allowed are {min:#} to {max:#}"));
    }
    Ok(())
}

fn wrong<T>(field: &str, problem: String) -> Result<T, ConfigError> {
    Err(ConfigError::Value { field: field.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use super::Config;

    pub(super) const MINIMAL: &str = "
account: '111122223333'
region: eu-west-1
listen: { socket: /run/sidetrail/collector.sock }
spool: { directory: /var/lib/sidetrail }
trails: [{ name: default, destination: s3://audit/logs }]
";

    fn error(yaml: &str) -> String {
        match serde_norway::from_str::<Config>(yaml) {
            Ok(config) => config.check().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_minimum_has_defaults() {
        let config: Config = serde_norway::from_str(MINIMAL).unwrap();
        config.check().unwrap();
        assert_eq!(config.spool.budget, bytesize::ByteSize::gib(1));
        assert_eq!(config.shutdown_timeout().as_secs(), 25);
        assert_eq!(config.intents.grace().as_secs(), 30);
    }

    #[test]
    fn plaintext_beyond_loopback_is_asked_for_by_name() {
        let gateway = "region: r\ngateway: { endpoint: 'http://g:1', plaintext: true }\nforwarders: {}";
        let yaml = MINIMAL.replace("region: eu-west-1", gateway).replace("s3://audit/logs", "gateway");
        let config: Config = serde_norway::from_str(&yaml).unwrap();
        config.check().unwrap();
        assert!(config.trails[0].forwards());
        assert_eq!(config.forwarders.unwrap().max, 256);
    }

    #[test]
    fn errors_name_the_key() {
        let with = |from: &str, to: &str| error(&MINIMAL.replace(from, to));
        for (from, to, expected) in [
            ("region: eu-west-1", "regoin: eu-west-1", "regoin"),
            ("directory: /var/lib/sidetrail", "directory: /s, budgte: 1GiB", "budgte"),
            ("'111122223333'", "'1234'", "account \"1234\" is not 12 digits"),
            ("directory: /var/lib/sidetrail", "directory: /s, budget: 32MiB", "spool.budget is 32"),
            ("directory: /var/lib/sidetrail", "directory: /s, budget: much", "spool.budget"),
            (
                "socket: /run/sidetrail/collector.sock",
                "tcp: '0.0.0.0:4319'",
                "listen.tcp 0.0.0.0:4319 is not a loop",
            ),
            ("socket: /run/sidetrail/collector.sock", "health: '127.0.0.1:1'", "listen needs socket or tcp"),
            ("collector.sock", "collector.sock, socket_mode: '0999'", "three octal digits"),
            (
                "socket: /run/sidetrail/collector.sock",
                "tcp: '0.0.0.0:1', tls: { certificate: a, key: b, client_ca: c, allowed_peers: [] }",
                "listen.tls.allowed_peers has 0 entries",
            ),
            (
                "socket: /run/sidetrail/collector.sock",
                "tcp: '0.0.0.0:1', tls: { certificate: a, key: b, client_ca: c, allowed_peers: ['spiffe://A/b'] }",
                "must be *, spiffe://domain/path",
            ),
            (
                "collector.sock",
                "collector.sock, tls: { certificate: a, key: b, client_ca: c, allowed_peers: ['*'] }",
                "listen.tls is of no use without listen.tcp",
            ),
            (
                "collector.sock",
                "collector.sock, limits: { connections: 0 }",
                "listen.limits.connections is 0, allowed are 1 to 65536",
            ),
            ("s3://audit/logs", "/b, rotate: { age: 0s }", "trails[0].rotate.age is 0s"),
            ("s3://audit/logs", "/b, rotate: { size: 1GiB }", "trails[0].rotate.size is 1"),
            (
                "region: eu-west-1",
                "region: r\nintents: { grace: 900ms }",
                "intents.grace is 900ms, allowed are 1s",
            ),
            ("region: eu-west-1", "region: r\nintents: { garce: 2s }", "garce"),
            (
                "region: eu-west-1",
                "region: r\nworkload: {}",
                "workload cannot be used: a workload of which nothing",
            ),
            ("region: eu-west-1", "region: r\nworkload: { pod: '' }", "workload cannot be used"),
            ("region: eu-west-1", "region: r\nworkload: { port: a }", "port"),
            ("region: eu-west-1", "region: r\nend_after_senders: 1ms", "end_after_senders is 1ms"),
            (
                "region: eu-west-1",
                "region: r\ncontrol: { server: 'http://127.0.0.1:1', token_file: /a, join_token: /b }",
                "control.token_file cannot be beside join_token",
            ),
            (
                "region: eu-west-1",
                "region: r\ncontrol: { server: 'https://s:1', tls: { ca: /a, key: /b } }",
                "control.tls has one of certificate and key",
            ),
            (
                "region: eu-west-1",
                "region: r\ncontrol: { server: 'https://s:1', token_file: /a }",
                "control.server \"https://s:1\" needs a CA",
            ),
            (
                "region: eu-west-1",
                "region: r\ncontrol: { server: 'http://s:1', token_file: /a }",
                "control.server \"http://s:1\" is not on this machine",
            ),
            ("s3://audit/logs", "gateway", "trails[0].destination is gateway, and there is none"),
            (
                "region: eu-west-1",
                "region: r\nforwarders: { max: 0 }",
                "forwarders.max is 0, allowed are 1 to 1024",
            ),
            ("region: eu-west-1", "region: r\nforwarders: { parcels: 1MiB }", "forwarders.parcels is 1"),
            (
                "region: eu-west-1",
                "region: r\ngateway: { endpoint: 'https://g:1' }",
                "gateway.endpoint \"https://g:1\" needs a CA, a client certificate and its key",
            ),
            (
                "destination: s3://audit/logs }]",
                "destination: gateway, selectors: { event_selectors: [{ ReadWriteType: All }] } }]",
                "trails[0].selectors are for trails with a bucket",
            ),
            (
                "region: eu-west-1",
                "region: r\ngateway: { endpoint: 'http://g:1' }",
                "gateway.endpoint \"http://g:1\" is not on this machine",
            ),
            (
                "trails: [",
                "trails: [{ name: default, destination: /a }, ",
                "trails[1].name default is the name",
            ),
            (
                "trails: [{ name: default, destination: s3://audit/logs }]",
                "trails: []",
                "trails has 0 entries",
            ),
        ] {
            let message = with(from, to);
            assert!(message.contains(expected), "{message:?} does not say {expected:?}");
        }
    }

    #[test]
    fn plaintext_leaves_the_host_only_when_it_is_asked_for() {
        let listens = |listen: &str| {
            let yaml = MINIMAL.replace("socket: /run/sidetrail/collector.sock", listen);
            serde_norway::from_str::<Config>(&yaml).unwrap().problems().len()
        };
        assert_eq!(listens("tcp: '127.0.0.1:1'"), 0);
        assert_eq!(listens("tcp: '[::1]:1'"), 0);
        assert_eq!(listens("tcp: '192.0.2.1:1'"), 1);
        assert_eq!(listens("tcp: '192.0.2.1:1', unencrypted_beyond_loopback: true"), 0);
        let tls = "tls: { certificate: a, key: b, client_ca: c, allowed_peers: ['*'] }";
        assert_eq!(listens(&format!("tcp: '192.0.2.1:1', {tls}")), 0);
        assert_eq!(listens(&format!("tcp: '192.0.2.1:1', {tls}, unencrypted_beyond_loopback: true")), 1);
    }

    #[test]
    fn the_schema_refuses_unknown_keys() {
        let schema = Config::schema();
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["properties"]["trails"].is_object());
    }
}
