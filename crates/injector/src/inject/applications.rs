//! The other containers: where the collector is, and who they are. Nothing that they have is changed.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Value, json};

use super::Mode;
use crate::names::{
    CONTAINER, ENV_COLLECTOR, ENV_DELIVERY, IDENTITY, SOCKET, SOCKET_DIRECTORY, SOCKET_VOLUME,
};
use crate::options::Options;
use crate::patch::{Add, append};

/// Gives each container what it lacks. Init containers are given it only where the collector runs before them.
pub(super) fn add(
    patch: &mut Vec<Add>,
    spec: &PodSpec,
    options: &Options,
    mode: Mode,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) {
    let none = Vec::new();
    let init = match mode {
        Mode::Native => spec.init_containers.as_ref().unwrap_or(&none),
        Mode::Classic => &none,
    };
    for (kind, containers) in [("initContainers", init), ("containers", &spec.containers)] {
        for (index, container) in
            containers.iter().enumerate().filter(|(_, container)| container.name != CONTAINER)
        {
            let path = format!("/spec/{kind}/{index}");
            environment(patch, &path, container, options, warnings);
            mount(patch, &path, container, problems);
        }
    }
}

fn environment(
    patch: &mut Vec<Add>,
    path: &str,
    container: &Container,
    options: &Options,
    warnings: &mut Vec<String>,
) {
    let own = |name: &str| container.env.iter().flatten().find(|variable| variable.name == name);
    let address = format!("unix:{SOCKET}");
    let mut missing = Vec::new();
    match own(ENV_COLLECTOR) {
        None => missing.push(json!({ "name": ENV_COLLECTOR, "value": address })),
        Some(variable) if variable.value.as_ref() == Some(&address) => {}
        Some(_) => warnings.push(format!(
            "container {} says itself where its collector is ({ENV_COLLECTOR}): that was left as it is",
            container.name
        )),
    }
    missing.extend(
        IDENTITY
            .iter()
            .filter(|(name, _)| own(name).is_none())
            .map(|(name, field)| field_of_pod(name, field)),
    );
    if let Some(delivery) = options.delivery
        && own(ENV_DELIVERY).is_none()
    {
        missing.push(json!({ "name": ENV_DELIVERY, "value": delivery.as_str() }));
    }
    append(patch, &format!("{path}/env"), container.env.is_some(), missing);
}

/// A variable that the kubelet fills in. The version is what the server would add.
fn field_of_pod(name: &str, field: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": field } } })
}

/// Read-only: connecting to a socket needs no writable mount, and so no application can put another in its place.
fn mount(patch: &mut Vec<Add>, path: &str, container: &Container, problems: &mut Vec<String>) {
    let mounts = container.volume_mounts.as_deref();
    let there =
        mounts.into_iter().flatten().find(|mount| mount.mount_path.trim_end_matches('/') == SOCKET_DIRECTORY);
    match there {
        Some(mount) if mount.name == SOCKET_VOLUME => {}
        Some(mount) => problems.push(format!(
            "container {} has volume {} at {SOCKET_DIRECTORY}, where the collector's socket has to be; mount it elsewhere",
            container.name, mount.name
        )),
        None => {
            let mount = json!({ "mountPath": SOCKET_DIRECTORY, "name": SOCKET_VOLUME, "readOnly": true });
            append(patch, &format!("{path}/volumeMounts"), mounts.is_some(), vec![mount]);
        }
    }
}
