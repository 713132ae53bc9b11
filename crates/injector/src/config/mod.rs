//! The configuration file: YAML, every key known, every value checked before anything is opened.

mod certificates;
mod collector;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;

pub use certificates::{Certificates, Files, SelfManaged, Validity, Webhooks};
pub use collector::{CollectorConfig, Resources, Strict};
pub(crate) use collector::{MIN_SPOOL, image, pull_policy, spool_size};

use crate::options::Override;
use crate::unaudited::ReportTo;

/// Bytes of a configuration file.
const MAX_FILE: u64 = 1 << 20;

/// An injector's configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// HTTPS address of the webhooks.
    #[serde(default = "default_listen")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// HTTP address of `/livez`, `/readyz`, `/metrics` and `/unaudited`.
    #[serde(default = "default_health")]
    #[schemars(with = "String")]
    pub health: SocketAddr,
    /// How long the webhooks go on after SIGTERM, while the API server learns that this replica goes. At most `1m`.
    #[serde(default = "default_shutdown_delay")]
    #[schemars(with = "String")]
    pub shutdown_delay: SignedDuration,
    /// Whether the collector is an init container that stays (Kubernetes 1.29 on).
    #[serde(default)]
    pub native_sidecars: NativeSidecars,
    /// Which pods are not ready while their collector is not.
    #[serde(default)]
    pub readiness: Readiness,
    /// What pods may say for themselves. Namespaces may say everything. By default all but `image`: who is audited does
    /// not choose the auditor.
    #[serde(default = "default_pod_overrides")]
    pub pod_overrides: BTreeSet<Override>,
    /// What the API server believes the webhooks by.
    #[serde(default)]
    pub certificates: Certificates,
    /// Pods that should have a collector, and do not.
    #[serde(default)]
    pub unaudited: Unaudited,
    /// What is put into pods.
    pub collector: CollectorConfig,
    /// What to log, unless the command line or `SIDETRAIL_LOG` says so: `error`, `warn`, `info`, `debug`, `trace`, or a
    /// filter such as `info,sidetrail_injector=debug`.
    pub log: Option<String>,
}

/// Whether the collector is an init container that stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NativeSidecars {
    /// If the API server's version has them.
    #[default]
    Auto,
    /// Yes.
    Always,
    /// No: a container among the others.
    Never,
}

/// Which pods are not ready while their collector takes no events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Readiness {
    /// None.
    Never,
    /// Those whose annotation asks for `durable` or `guarded` delivery: without a collector they answer 503 anyway. The
    /// others go on serving, drop records, and say so.
    #[default]
    Guarded,
    /// All. A bucket that is away for longer than the spools last then takes every service with it.
    Always,
}

/// Pods that should have a collector, and do not.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Unaudited {
    /// Whether they are looked for.
    pub enabled: bool,
    /// How long a pod may take to have its collector started and a sender connected. From `1s` to `1h`.
    #[schemars(with = "String")]
    pub grace: SignedDuration,
    /// How often they are looked for. From `1s` to `1h`.
    #[schemars(with = "String")]
    pub every: SignedDuration,
    /// Whether Kubernetes Events are made for them.
    pub events: bool,
    /// Whether each collector's `/metrics` are asked if an application ever came.
    pub scrape: bool,
    /// A server that shows them too, and says which of their collectors are not in touch with it.
    pub report: Option<ReportTo>,
}

impl Default for Unaudited {
    fn default() -> Self {
        Self {
            enabled: true,
            grace: SignedDuration::from_secs(60),
            every: SignedDuration::from_secs(30),
            events: true,
            scrape: true,
            report: None,
        }
    }
}

fn default_listen() -> SocketAddr {
    ([0, 0, 0, 0], 8443).into()
}

fn default_health() -> SocketAddr {
    ([0, 0, 0, 0], 9465).into()
}

fn default_shutdown_delay() -> SignedDuration {
    SignedDuration::from_secs(5)
}

fn default_pod_overrides() -> BTreeSet<Override> {
    Override::ALL.into_iter().filter(|name| *name != Override::Image).collect()
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or is too large.
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
        /// Path of the key, e.g. `collector.spool_size`.
        field: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
}

impl Config {
    /// Reads a configuration file, and leaves it to the caller to ask for its [problems](Self::problems).
    ///
    /// # Errors
    /// If it cannot be read, or is not of the form.
    pub fn parse(path: &Path) -> Result<Self, ConfigError> {
        let read = || {
            let length = std::fs::metadata(path)?.len();
            if length > MAX_FILE {
                let message = format!("it has {length} bytes, allowed are {MAX_FILE}");
                return Err(std::io::Error::other(message));
            }
            std::fs::read_to_string(path)
        };
        let text = read().map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        serde_norway::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })
    }

    /// Everything that the types cannot check and that is wrong.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigError> {
        let hour = SignedDuration::from_hours(1);
        let second = SignedDuration::from_secs(1);
        let mut problems = Vec::new();
        let ranges = [
            range("shutdown_delay", self.shutdown_delay, SignedDuration::ZERO, SignedDuration::from_mins(1)),
            range("unaudited.grace", self.unaudited.grace, second, hour),
            range("unaudited.every", self.unaudited.every, second, hour),
        ];
        problems.extend(ranges.into_iter().filter_map(Result::err));
        if let Some(Err(problem)) = self.unaudited.report.as_ref().map(ReportTo::check) {
            problems.extend(wrong::<()>("unaudited.report.server", problem).err());
        }
        problems.extend(self.certificates.problems());
        problems.extend(self.collector.problems());
        problems
    }

    /// The JSON Schema of the configuration file.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// How long the webhooks go on after SIGTERM.
    #[must_use]
    pub fn shutdown_delay(&self) -> Duration {
        self.shutdown_delay.unsigned_abs()
    }
}

fn range<T: Copy + PartialOrd + std::fmt::Display>(
    field: &str,
    value: T,
    min: T,
    max: T,
) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    wrong(field, format!("is {value:#}, allowed are {min:#} to {max:#}"))
}

fn wrong<T>(field: &str, problem: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value { field: field.to_owned(), problem: problem.into() })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const MINIMAL: &str = "
collector:
  image: registry.example/sidetrail/collector@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  config:
    account: '123456789012'
    region: eu-central-1
    trails: [{ name: default, destination: s3://audit/prod }, { name: refunds, destination: s3://audit-refunds }]
";

    pub(crate) fn with(more: &str) -> Config {
        serde_norway::from_str(&format!("{MINIMAL}{more}")).unwrap()
    }

    fn problems(from: &str, to: &str) -> String {
        match serde_norway::from_str::<Config>(&MINIMAL.replace(from, to)) {
            Ok(config) => config.problems().iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn little_is_needed() {
        let config = with("");
        assert_eq!(config.problems().len(), 0, "{:?}", config.problems());
        assert_eq!(config.listen.port(), 8443);
        assert!(!config.pod_overrides.contains(&Override::Image));
        assert!(config.pod_overrides.contains(&Override::Inject));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, expected) in [
            ("collector:", "listne: 1\ncollector:", "unknown field `listne`"),
            ("collector:", "shutdown_delay: 2h\ncollector:", "shutdown_delay is 2h, allowed are 0s to 1m"),
            ("collector:", "unaudited: { every: 10ms }\ncollector:", "unaudited.every is 10ms"),
            ("collector:", "pod_overrides: [color]\ncollector:", "color"),
            (
                "collector:",
                "unaudited: { report: { server: 'http://s:1', ca: /a, token: /b } }\ncollector:",
                "unaudited.report.server \"http://s:1\" must be https",
            ),
            ("  config:", "  spool_size: lots\n  config:", "collector.spool_size is no quantity"),
            ("  config:", "  spool_size: 1Mi\n  config:", "collector.spool_size is 1Mi, at least 64Mi"),
            ("  config:", "  image: ''\n  config:", "duplicate"),
            ("account: '123456789012'", "listen: {}", "collector.config.listen is the injector's"),
            ("trails: [{ name: default,", "trails: [{ nam: default,", "collector.config.trails[0]"),
            ("  config:", "  env: [{ name: A, valeu: b }]\n  config:", "valeu"),
            ("  config:", "  env: [{ name: SIDETRAIL_NODE, value: b }]\n  config:", "SIDETRAIL_NODE"),
            ("  config:", "  run_as_user: 0\n  config:", "collector.run_as_user is 0"),
            (
                "  config:",
                "  resources: { cpu_request: 200m, cpu_limit: 100m }\n  config:",
                "collector.resources.cpu_limit 100m is less than the request",
            ),
            (
                "  config:",
                "  volumes: [{ name: sidetrail-spool, emptyDir: {} }]\n  config:",
                "collector.volumes has sidetrail-spool",
            ),
            (
                "collector:",
                "certificates: { type: self, validity: { serving: 1m } }\ncollector:",
                "certificates.validity.serving is 1m",
            ),
            ("collector:", "certificates: { type: files, certificate: a }\ncollector:", "key"),
        ] {
            let said = problems(from, to);
            assert!(said.contains(expected), "{said:?} does not say {expected:?}");
        }
    }

    #[test]
    fn the_schema_refuses_unknown_keys() {
        let schema = Config::schema();
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["properties"]["collector"].is_object());
    }
}
