//! What is put into pods: image, resources, and the configuration of the collector.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Volume, VolumeMount};
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{ConfigError, wrong};
use crate::names::{ENV_CONFIG, IDENTITY, SOCKET_VOLUME, SPOOL_VOLUME, TOKEN_VOLUME};
use crate::quantity::Quantity;

/// What a collector's segments need as room: four of 16 MiB.
pub(crate) const MIN_SPOOL: u64 = 64 << 20;
/// Volumes, mounts and variables of one kind: they go into each pod.
const MAX_ENTRIES: usize = 64;
/// The injector writes these keys of the collector's configuration.
const OURS: [&str; 4] = ["listen", "spool", "workload", "shutdown_timeout"];

/// What is put into pods.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectorConfig {
    /// The collector's image, best by digest: `registry.example/sidetrail/collector@sha256:…`.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    #[serde(default = "default_pull_policy")]
    pub image_pull_policy: String,
    /// Secrets in the pods' namespaces, added to those of the pod, for a registry that wants to know who asks.
    #[serde(default)]
    pub image_pull_secrets: Vec<String>,
    /// User and group of the collector. Null leaves the choice to the cluster, as OpenShift wants it.
    #[serde(default = "default_user")]
    pub run_as_user: Option<i64>,
    /// What the container asks for, and what it may have.
    #[serde(default)]
    pub resources: Resources,
    /// What events may take up on the node's disk until they are shipped. The volume gets 128 MiB more.
    #[serde(default = "default_spool_size")]
    pub spool_size: String,
    /// Audience of the ServiceAccount token by which a collector proves to the server who it is, where `config.control` names
    /// one and no other way. Null: no token.
    #[serde(default = "default_audience")]
    pub token_audience: Option<String>,
    /// `prometheus.io/…` annotations on pods that have none.
    #[serde(default = "yes")]
    pub metrics_annotations: bool,
    /// Variables of the collector's container, e.g. `AWS_ENDPOINT_URL_S3`: Kubernetes' EnvVar.
    #[serde(default)]
    #[schemars(with = "Vec<Map<String, Value>>")]
    pub env: Vec<Strict<EnvVar>>,
    /// Secrets and ConfigMaps of the pod's namespace whose entries become variables: Kubernetes' EnvFromSource.
    #[serde(default)]
    #[schemars(with = "Vec<Map<String, Value>>")]
    pub env_from: Vec<Strict<EnvFromSource>>,
    /// Volumes of the pod for the collector, e.g. a CSI driver's certificates: Kubernetes' Volume.
    #[serde(default)]
    #[schemars(with = "Vec<Map<String, Value>>")]
    pub volumes: Vec<Strict<Volume>>,
    /// Where they are in the collector's container: Kubernetes' VolumeMount.
    #[serde(default)]
    #[schemars(with = "Vec<Map<String, Value>>")]
    pub volume_mounts: Vec<Strict<VolumeMount>>,
    /// The collector's own configuration. `listen`, `spool`, `workload` and `shutdown_timeout` are the injector's.
    pub config: Map<String, Value>,
}

/// What the collector's container asks for, and what it may have: Kubernetes quantities.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// CPU that is kept for it.
    pub cpu_request: Option<String>,
    /// CPU beyond which it is slowed down.
    pub cpu_limit: Option<String>,
    /// Memory that is kept for it.
    pub memory_request: Option<String>,
    /// Memory beyond which it is killed.
    pub memory_limit: Option<String>,
}

impl Default for Resources {
    fn default() -> Self {
        let some = |text: &str| Some(text.to_owned());
        Self {
            cpu_request: some("10m"),
            cpu_limit: None,
            memory_request: some("32Mi"),
            memory_limit: some("128Mi"),
        }
    }
}

/// A Kubernetes object of which every member is known. Kubernetes' types pass over what they do not know, and the
/// server drops it in silence.
#[derive(Clone, Debug, PartialEq)]
pub struct Strict<T>(pub T);

impl<'de, T: DeserializeOwned + Serialize> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let typed: T = serde_json::from_value(value.clone()).map_err(D::Error::custom)?;
        let known = serde_json::to_value(&typed).map_err(D::Error::custom)?;
        match unknown(&value, &known, "") {
            None => Ok(Self(typed)),
            Some(path) => Err(D::Error::custom(format!("{} is not known", path.trim_start_matches('.')))),
        }
    }
}

/// The first member of `given` that `known` does not have, or has another value for.
fn unknown(given: &Value, known: &Value, path: &str) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match known.get(key) {
                Some(known) => unknown(value, known, &path),
                None => (!value.is_null()).then_some(path),
            }
        }),
        (Value::Array(given), Value::Array(known)) => (given.iter().zip(known).enumerate())
            .find_map(|(index, (given, known))| unknown(given, known, &format!("{path}[{index}]"))),
        _ => None,
    }
}

fn default_pull_policy() -> String {
    "IfNotPresent".to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's type")]
fn default_user() -> Option<i64> {
    // `nonroot` of distroless images.
    Some(65_532)
}

fn default_spool_size() -> String {
    "1Gi".to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's type")]
fn default_audience() -> Option<String> {
    Some("sidetrail".to_owned())
}

fn yes() -> bool {
    true
}

impl CollectorConfig {
    /// The names of the trails that there are.
    pub fn trails(&self) -> impl Iterator<Item = &str> {
        let trails = self.config.get("trails").and_then(Value::as_array);
        trails.into_iter().flatten().filter_map(|trail| trail.get("name").and_then(Value::as_str))
    }

    /// The audience of the token that its collectors need: where there is a server, and nothing else to show it.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        let control = self.config.get("control")?.as_object()?;
        let certificate = control.get("tls").and_then(|tls| tls.get("certificate"));
        let other = [control.get("join_token"), certificate].into_iter().flatten().any(|it| !it.is_null());
        self.token_audience.as_deref().filter(|_| !other)
    }

    pub(super) fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        let mut note = |field: &str, result: Result<(), String>| {
            problems.extend(
                result
                    .err()
                    .map(|problem| ConfigError::Value { field: format!("collector.{field}"), problem }),
            );
        };
        note("image", image(&self.image));
        note("image_pull_policy", pull_policy(&self.image_pull_policy));
        note("spool_size", spool_size(&self.spool_size).map(drop));
        if let Some(user) = self.run_as_user.filter(|user| !(1..=2_147_483_647).contains(user)) {
            note("run_as_user", Err(format!("is {user}, allowed are 1 to 2147483647: it must not be root")));
        }
        for (field, entries) in [
            ("env", self.env.len()),
            ("env_from", self.env_from.len()),
            ("volumes", self.volumes.len()),
            ("volume_mounts", self.volume_mounts.len()),
        ] {
            if entries > MAX_ENTRIES {
                note(field, Err(format!("has {entries} entries, allowed are {MAX_ENTRIES}")));
            }
        }
        let taken = |name: &str| name == ENV_CONFIG || IDENTITY.iter().any(|(own, _)| *own == name);
        if let Some(Strict(variable)) = self.env.iter().find(|variable| taken(&variable.0.name)) {
            note("env", Err(format!("has {}, which is the injector's", variable.name)));
        }
        let taken = [SOCKET_VOLUME, SPOOL_VOLUME, TOKEN_VOLUME];
        if let Some(Strict(volume)) = self.volumes.iter().find(|volume| taken.contains(&&*volume.0.name)) {
            note("volumes", Err(format!("has {}, which is the injector's", volume.name)));
        }
        problems.extend(self.resources.problems());
        problems.extend(self.config_problems());
        problems
    }

    fn config_problems(&self) -> Vec<ConfigError> {
        let problem =
            |field: &str, problem: &str| wrong::<()>(&format!("collector.config{field}"), problem).err();
        let mut problems = Vec::new();
        for key in OURS.iter().filter(|key| self.config.contains_key(**key)) {
            problems.extend(problem(&format!(".{key}"), "is the injector's to write"));
        }
        for key in ["account", "region"] {
            if !self.config.get(key).is_some_and(Value::is_string) {
                problems.extend(problem(&format!(".{key}"), "must be there, and a text"));
            }
        }
        match self.config.get("trails").and_then(Value::as_array) {
            Some(trails) if !trails.is_empty() => {
                for (index, trail) in trails.iter().enumerate() {
                    if !trail.get("name").is_some_and(Value::is_string) {
                        problems.extend(problem(&format!(".trails[{index}]"), "needs a name"));
                    }
                }
            }
            _ => problems.extend(problem(".trails", "needs at least one entry")),
        }
        problems
    }
}

impl Resources {
    fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        for (what, request, limit) in [
            ("cpu", &self.cpu_request, &self.cpu_limit),
            ("memory", &self.memory_request, &self.memory_limit),
        ] {
            let mut read = |kind: &str, text: &Option<String>| {
                let text = text.as_ref()?;
                let parsed = text.parse::<Quantity>();
                if parsed.is_err() {
                    let field = format!("collector.resources.{what}_{kind}");
                    problems.extend(wrong::<()>(&field, format!("{text:?} is no quantity")).err());
                }
                parsed.ok()
            };
            let (least, most) = (read("request", request), read("limit", limit));
            if let (Some(least), Some(most), Some(limit)) = (least, most, limit)
                && most < least
            {
                let field = format!("collector.resources.{what}_limit");
                problems.extend(wrong::<()>(&field, format!("{limit} is less than the request")).err());
            }
        }
        problems
    }
}

/// What can be the name of an image: the server takes anything, and the kubelet fails later.
pub(crate) fn image(image: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    if !image.is_empty() && image.len() <= 1024 && image.bytes().all(fits) {
        return Ok(());
    }
    Err(format!("{image:?} is no name of an image"))
}

/// `Always`, `IfNotPresent` or `Never`.
pub(crate) fn pull_policy(policy: &str) -> Result<(), String> {
    if ["Always", "IfNotPresent", "Never"].contains(&policy) {
        return Ok(());
    }
    Err(format!("is {policy:?}, allowed are Always, IfNotPresent and Never"))
}

/// Bytes of the spool.
pub(crate) fn spool_size(text: &str) -> Result<u64, String> {
    let quantity: Quantity = text.parse().map_err(|error| format!("{error}: {text:?}"))?;
    match quantity.to_bytes() {
        Some(bytes) if bytes < MIN_SPOOL => {
            Err(format!("is {text}, at least {}Mi are needed", MIN_SPOOL >> 20))
        }
        Some(bytes) if bytes <= 1 << 50 => Ok(bytes),
        _ => Err(format!("is {text}, at most 1Pi are allowed")),
    }
}
