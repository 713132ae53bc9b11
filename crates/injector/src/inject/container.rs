//! The collector's container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, Lifecycle,
    LifecycleHandler, ObjectFieldSelector, PodSpec, Probe, ResourceRequirements, SeccompProfile,
    SecurityContext, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Mode, rendered, volumes};
use crate::config::{Config, Readiness, Strict};
use crate::names::{
    COLLECTOR, CONTAINER, ENV_CONFIG, IDENTITY, PORT_NAME, SOCKET_DIRECTORY, SOCKET_VOLUME, SPOOL_DIRECTORY,
    SPOOL_VOLUME, TOKEN_DIRECTORY, TOKEN_VOLUME,
};
use crate::options::{Delivery, Options};
use crate::quantity::Quantity;

/// What of the node's disk is kept for a spool. Most stay nearly empty, and a pod is to find a node.
const DISK_REQUEST: &str = "64Mi";

/// What the container is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sidecar<'a> {
    pub(super) config: &'a Config,
    pub(super) options: &'a Options,
    pub(super) spec: &'a PodSpec,
    pub(super) mode: Mode,
    pub(super) port: Option<u16>,
}

impl Sidecar<'_> {
    pub(super) fn container(&self) -> Container {
        let collector = &self.config.collector;
        let native = self.mode == Mode::Native;
        Container {
            name: CONTAINER.to_owned(),
            image: Some(self.options.image.clone()),
            image_pull_policy: Some(self.options.image_pull_policy.clone()),
            restart_policy: native.then(|| "Always".to_owned()),
            args: Some(vec!["--config".to_owned(), format!("env:{ENV_CONFIG}")]),
            env: Some(self.environment()),
            env_from: Some(plain(&collector.env_from)).filter(|sources| !sources.is_empty()),
            ports: self.port.map(|port| {
                vec![ContainerPort {
                    name: Some(PORT_NAME.to_owned()),
                    container_port: port.into(),
                    protocol: Some("TCP".to_owned()),
                    ..ContainerPort::default()
                }]
            }),
            // The others start when it has succeeded: of a container among others the kubelet waits for the hook only.
            startup_probe: Some(Probe {
                period_seconds: Some(1),
                failure_threshold: Some(120),
                ..self.probe("/startupz")
            }),
            liveness_probe: Some(Probe {
                period_seconds: Some(10),
                failure_threshold: Some(6),
                ..self.probe("/livez")
            }),
            readiness_probe: self.readiness(),
            lifecycle: Some(self.hooks()).filter(|hooks| *hooks != Lifecycle::default()),
            resources: Some(self.resources()),
            security_context: Some(security(collector.run_as_user)),
            volume_mounts: Some(self.mounts()),
            ..Container::default()
        }
    }

    /// The end is announced when the pod's end begins, so that as much as can be is shipped while applications still send.
    /// A container among others gets SIGTERM together with them, after its hook: that waits for them to go.
    fn hooks(&self) -> Lifecycle {
        let hook = |arguments: &[&str]| {
            Some(LifecycleHandler { exec: Some(exec(arguments)), ..LifecycleHandler::default() })
        };
        // Over the port of probes: without one there is nobody to tell.
        let flush = |more: &[&str]| self.port.and_then(|_| hook(&[&["flush"], more].concat()));
        match self.mode {
            Mode::Native => Lifecycle { pre_stop: flush(&[]), ..Lifecycle::default() },
            Mode::Classic => {
                let wait = format!("{}s", rendered::grace(self.spec) / 2);
                Lifecycle {
                    post_start: hook(&["probe", "--wait", "60s"]),
                    pre_stop: flush(&["--wait", &wait]),
                    ..Lifecycle::default()
                }
            }
        }
    }

    fn environment(&self) -> Vec<EnvVar> {
        let identity = IDENTITY.iter().map(|(name, field)| EnvVar {
            name: (*name).to_owned(),
            value: None,
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: (*field).to_owned(),
                }),
                ..EnvVarSource::default()
            }),
        });
        let text = rendered::render(self.config, self.options, self.spec, self.mode, self.port);
        let mut variables: Vec<_> = identity.collect();
        variables.extend(plain(&self.config.collector.env));
        // After what it refers to, or the kubelet would leave `$(NAME)` as it is.
        variables.push(EnvVar { name: ENV_CONFIG.to_owned(), value: Some(text), value_from: None });
        variables
    }

    fn probe(&self, path: &str) -> Probe {
        let Some(port) = self.port else {
            return Probe { exec: Some(exec(&["probe"])), timeout_seconds: Some(2), ..Probe::default() };
        };
        let get = HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(port.into()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        };
        Probe { http_get: Some(get), timeout_seconds: Some(2), ..Probe::default() }
    }

    fn readiness(&self) -> Option<Probe> {
        let waits = matches!(self.options.delivery, Some(Delivery::Durable | Delivery::Guarded));
        let wanted = match self.config.readiness {
            Readiness::Never => false,
            Readiness::Guarded => waits,
            Readiness::Always => true,
        };
        wanted.then(|| Probe { period_seconds: Some(5), failure_threshold: Some(2), ..self.probe("/readyz") })
    }

    fn resources(&self) -> ResourceRequirements {
        let asked = &self.options.resources;
        let mut requests = [("cpu", asked.cpu_request.clone()), ("memory", asked.memory_request.clone())];
        let mut limits = [("cpu", asked.cpu_limit.clone()), ("memory", asked.memory_limit.clone())];
        if is_guaranteed(self.spec) {
            // A pod keeps its class only if all of its containers ask for exactly what they may have.
            let memory = limits[1].1.clone().or_else(|| requests[1].1.clone());
            let cpu = limits[0].1.clone().or_else(|| requests[0].1.clone());
            let same = [
                ("cpu", cpu.or_else(|| Some("100m".to_owned()))),
                ("memory", memory.or_else(|| Some("128Mi".to_owned()))),
            ];
            (requests, limits) = (same.clone(), same);
        }
        let map = |entries: [(&str, Option<String>); 2], disk: String| {
            let entries = entries.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Text(text?))));
            Some(entries.chain([("ephemeral-storage".to_owned(), Text(disk))]).collect::<BTreeMap<_, _>>())
        };
        let disk = self.options.spool + volumes::HEADROOM;
        ResourceRequirements {
            requests: map(requests, DISK_REQUEST.to_owned()),
            // Where other containers have a limit, theirs and this one are what the pod's volumes may take.
            limits: map(limits, disk.to_string()),
            ..ResourceRequirements::default()
        }
    }

    fn mounts(&self) -> Vec<VolumeMount> {
        let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        };
        let collector = &self.config.collector;
        let mut mounts =
            vec![mount(SOCKET_VOLUME, SOCKET_DIRECTORY, false), mount(SPOOL_VOLUME, SPOOL_DIRECTORY, false)];
        mounts.extend(collector.audience().iter().map(|_| mount(TOKEN_VOLUME, TOKEN_DIRECTORY, true)));
        mounts.extend(plain(&collector.volume_mounts));
        mounts
    }
}

fn plain<T: Clone>(entries: &[Strict<T>]) -> Vec<T> {
    entries.iter().map(|entry| entry.0.clone()).collect()
}

fn exec(arguments: &[&str]) -> ExecAction {
    let config = format!("env:{ENV_CONFIG}");
    let command = [COLLECTOR, "--config", &config];
    ExecAction { command: Some(command.iter().chain(arguments).map(|&part| part.to_owned()).collect()) }
}

/// As Pod Security's *restricted* wants it, whatever the pod says of itself.
fn security(user: Option<i64>) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_group: user,
        run_as_non_root: Some(true),
        run_as_user: user,
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

/// Whether every container has limits of CPU and memory, and asks for just that.
fn is_guaranteed(spec: &PodSpec) -> bool {
    let init = spec.init_containers.iter().flatten();
    let mut containers = init.chain(&spec.containers);
    containers.all(|container| {
        let Some(resources) = &container.resources else { return false };
        ["cpu", "memory"].iter().all(|name| {
            let read =
                |map: &Option<BTreeMap<String, Text>>| map.as_ref()?.get(*name)?.0.parse::<Quantity>().ok();
            let limit = read(&resources.limits);
            // The server fills a missing request in from the limit, before or after us.
            limit.is_some() && read(&resources.requests).or(limit) == limit
        })
    })
}
