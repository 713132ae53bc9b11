//! Where the collector runs: what its manifests say of that.

use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_archive::manifest;

use super::{ConfigError, wrong};

/// Where the collector runs; its manifests say so. Whatever is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Namespace of the pod.
    pub namespace: Option<String>,
    /// Name of the pod.
    pub pod: Option<String>,
    /// ServiceAccount of the pod.
    pub service_account: Option<String>,
    /// Uid of the pod: names come again.
    pub uid: Option<String>,
    /// Node, or host, that it runs on.
    pub node: Option<String>,
}

impl Workload {
    /// As manifests have it.
    pub(crate) fn to_manifest(&self) -> manifest::Workload {
        let Self { namespace, pod, service_account, uid, node } = self.clone();
        manifest::Workload { namespace, pod, service_account, uid, node }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self.to_manifest().check() {
            Ok(()) => Ok(()),
            Err(problem) => wrong("workload", format!("cannot be used: {problem}")),
        }
    }
}
