//! Which pods of a Kubernetes cluster keep in touch, by the tokens of their ServiceAccounts.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_archive::key::{Account, Region};

use super::{ConfigError, count, wrong};

/// Entries of one server.
const MAX_ENTRIES: usize = 1024;
/// Trails of one entry.
const MAX_TRAILS: usize = 64;
/// Bytes of an audience.
const MAX_AUDIENCE: usize = 256;
/// Bytes of a name in Kubernetes.
const MAX_NAME: usize = 253;

/// Lets collectors join by the projected tokens of their pods' ServiceAccounts, which the cluster's API server is asked about
/// (`TokenReview`). This server's own ServiceAccount needs `create` on `tokenreviews.authentication.k8s.io`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// The audience that tokens must be for. One that is for the API server is refused.
    #[serde(default = "default_audience")]
    pub audience: String,
    /// Which pods may join, and what they record for. The first entry that fits a pod counts.
    #[schemars(length(min = 1, max = 1024))]
    pub workloads: Vec<Workloads>,
    /// The ServiceAccount of the injector, which may report pods that are not audited. Without it there is no page of them.
    pub injector: Option<Injector>,
    /// The API server, e.g. `https://10.0.0.1:6443`, if it is not the one of the cluster that this server is a pod of.
    pub server: Option<String>,
    /// PEM file of the authorities that may vouch for it, by default those that Kubernetes puts into pods.
    #[serde(default = "default_ca")]
    pub ca: PathBuf,
    /// File with the token that it is asked with, read anew every minute; by default that of this pod's ServiceAccount.
    #[serde(default = "default_token")]
    pub token: PathBuf,
}

/// The injector's ServiceAccount.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Injector {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub service_account: String,
}

/// Pods that may join.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workloads {
    /// Their namespace: a name, `team-*`, or `*`.
    pub namespace: String,
    /// Their ServiceAccount, likewise.
    #[serde(default = "anything")]
    pub service_account: String,
    /// The account that they record for.
    #[schemars(with = "String", regex(pattern = "^[0-9]{12}$"))]
    pub account: Account,
    /// The region, if it is for one only.
    #[schemars(with = "Option<String>")]
    pub region: Option<Region>,
    /// Names of the account's trails that they fill, if those are not all that there are.
    #[schemars(length(max = 64))]
    pub trails: Option<Vec<String>>,
}

fn default_audience() -> String {
    "sidetrail".to_owned()
}

fn default_ca() -> PathBuf {
    "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt".into()
}

fn default_token() -> PathBuf {
    "/var/run/secrets/kubernetes.io/serviceaccount/token".into()
}

fn anything() -> String {
    "*".to_owned()
}

impl Workloads {
    /// Whether they are of this namespace and ServiceAccount.
    pub(crate) fn are(&self, namespace: &str, service_account: &str) -> bool {
        fits(&self.namespace, namespace) && fits(&self.service_account, service_account)
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

impl Kubernetes {
    pub(super) fn check(&self, regions: &[Region]) -> Result<(), ConfigError> {
        if !(1..=MAX_AUDIENCE).contains(&self.audience.len())
            || !self.audience.bytes().all(|it| it.is_ascii_graphic())
        {
            return wrong(
                "control.kubernetes.audience",
                format!("must be 1 to {MAX_AUDIENCE} printable ASCII characters, no spaces"),
            );
        }
        count("control.kubernetes.workloads", self.workloads.len(), 1, MAX_ENTRIES)?;
        for (index, entry) in self.workloads.iter().enumerate() {
            let at = format!("control.kubernetes.workloads[{index}]");
            for (member, pattern) in
                [("namespace", &entry.namespace), ("service_account", &entry.service_account)]
            {
                let name = pattern.strip_suffix('*').unwrap_or(pattern);
                let of_name = |it: u8| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
                if pattern.is_empty() || pattern.len() > MAX_NAME || !name.bytes().all(of_name) {
                    return wrong(format!("{at}.{member}"), "is neither a name, nor the start of one and *");
                }
            }
            if entry.region.as_ref().is_some_and(|region| !regions.contains(region)) {
                return wrong(format!("{at}.region"), "is none of regions");
            }
            count(&format!("{at}.trails"), entry.trails.as_ref().map_or(0, Vec::len), 0, MAX_TRAILS)?;
        }
        match &self.server {
            Some(server) if !server.starts_with("https://") => wrong(
                "control.kubernetes.server",
                format!("{server:?} must begin with https://: the API server is sent tokens"),
            ),
            _ => Ok(()),
        }
    }
}
