//! The pod's volumes: the socket's in memory, the spool's on disk, the token, and those of the configuration.

use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, PodSpec, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::config::Config;
use crate::names::{SOCKET_VOLUME, SPOOL_VOLUME, TOKEN_FILE, TOKEN_VOLUME};
use crate::options::Options;
use crate::patch::{Add, append};

/// What the spool's directory holds beside segments: cursors, plans, what another collector handed over. A volume that is
/// over its limit gets the pod evicted, so the limit is never the spool's budget itself.
pub(super) const HEADROOM: u64 = 128 << 20;
/// A socket and nothing else.
const SOCKET_SIZE: &str = "1Mi";
/// The kubelet renews a token when four fifths of that are over.
const TOKEN_SECONDS: i64 = 3600;

/// Adds what is missing. Where the collector is there, so are its volumes, except one that somebody took away again.
pub(super) fn add(
    patch: &mut Vec<Add>,
    spec: &PodSpec,
    options: &Options,
    config: &Config,
    found: bool,
    problems: &mut Vec<String>,
) {
    let there = spec.volumes.as_deref();
    let by_name = |name: &str| there.into_iter().flatten().find(|volume| volume.name == name);
    let mut missing = Vec::new();
    for volume in wanted(options, config) {
        match by_name(&volume.name) {
            None => missing.extend(serde_json::to_value(&volume).ok()),
            Some(own) if found || is_alike(own, &volume) => {}
            Some(_) => problems.push(format!(
                "volume {}: the name is taken by the pod, and Sidetrail's injector needs it; rename the volume",
                volume.name
            )),
        }
    }
    append(patch, "/spec/volumes", there.is_some(), missing);
}

/// Whether a volume of the same name serves as well: the ones that the injector makes, by their kind.
fn is_alike(own: &Volume, ours: &Volume) -> bool {
    let kind = |volume: &Volume| (volume.empty_dir.is_some(), volume.projected.is_some());
    own == ours
        || ([SOCKET_VOLUME, SPOOL_VOLUME, TOKEN_VOLUME].contains(&&*ours.name) && kind(own) == kind(ours))
}

fn wanted(options: &Options, config: &Config) -> Vec<Volume> {
    let empty = |name: &str, medium: Option<&str>, limit: String| Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: medium.map(str::to_owned),
            size_limit: Some(Quantity(limit)),
        }),
        ..Volume::default()
    };
    let mut volumes = vec![
        empty(SOCKET_VOLUME, Some("Memory"), SOCKET_SIZE.to_owned()),
        empty(SPOOL_VOLUME, None, (options.spool + HEADROOM).to_string()),
    ];
    volumes.extend(config.collector.audience().map(token));
    volumes.extend(config.collector.volumes.iter().map(|volume| volume.0.clone()));
    volumes
}

fn token(audience: &str) -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(audience.to_owned()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: TOKEN_FILE.to_owned(),
    };
    let source = VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() };
    let projected = ProjectedVolumeSource { default_mode: None, sources: Some(vec![source]) };
    Volume { name: TOKEN_VOLUME.to_owned(), projected: Some(projected), ..Volume::default() }
}
