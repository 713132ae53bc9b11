//! What is changed of a pod so that it is audited. Pure: the pod and what is asked for go in, a patch comes out.
//!
//! What is there already is looked for in the pod and nowhere else, so it can be asked again at any time: after another
//! webhook changed the pod, or of a pod that was made from an injected one. Containers that came since are then given what
//! the others have.

mod applications;
mod container;
mod ports;
mod rendered;
mod volumes;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::{Value, json};

pub use rendered::render;

use crate::config::Config;
use crate::names::{CONTAINER, DEFAULT_CONTAINER, ENV_CONFIG, INJECTED, SOCKET_VOLUME, STATUS};
use crate::options::{Annotations, Options};
use crate::patch::{Add, append, merge};

/// How the collector is in a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An init container that stays: it starts before all others and ends after them.
    Native,
    /// A container among the others, the first of them.
    Classic,
}

impl Mode {
    /// As it is written into the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Classic => "classic",
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// The changes, in an order that depends on the pod and the configuration only. Empty if all is there.
    pub patch: Vec<Add>,
    /// What the author of the pod should know.
    pub warnings: Vec<String>,
}

/// The pod cannot be given a collector, for what its author has to change. Each says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub problems: Vec<String>,
    /// What the author should know besides.
    pub warnings: Vec<String>,
}

/// The collector's container in a pod, and how it is there.
#[must_use]
pub fn find_collector(spec: &PodSpec) -> Option<(&Container, Mode)> {
    let is = |container: &&Container| container.name == CONTAINER;
    let init = spec.init_containers.iter().flatten().find(is).map(|container| (container, Mode::Native));
    init.or_else(|| spec.containers.iter().find(is).map(|container| (container, Mode::Classic)))
}

/// Whether a container of the collector's name is one that an injector made.
#[must_use]
pub fn is_ours(container: &Container) -> bool {
    container.env.iter().flatten().any(|variable| variable.name == ENV_CONFIG)
}

/// Gives `pod` a collector, or what it lacks of one. `native` is whether the cluster has sidecars.
///
/// # Errors
/// If the result could not work, or the server would refuse it.
pub fn inject(
    pod: &Pod,
    config: &Config,
    namespace: &Annotations,
    native: bool,
) -> Result<Injection, Refusal> {
    let no_annotations = Annotations::new();
    let annotations = pod.metadata.annotations.as_ref().unwrap_or(&no_annotations);
    let read = Options::read(config, namespace, annotations);
    let (options, mut warnings, mut problems) = (read.options, read.warnings, read.refusals);
    let Some(spec) = &pod.spec else {
        return Err(Refusal { problems: vec!["the pod has no spec".to_owned()], warnings });
    };
    let found = find_collector(spec);
    if let Some((container, _)) = found
        && !is_ours(container)
    {
        warnings.push(format!(
            "container {CONTAINER} is the pod's own, not the injector's: nothing was added, and nothing is known of it"
        ));
        return Ok(Injection { patch: Vec::new(), warnings });
    }
    let mode = match found {
        Some((_, mode)) => mode,
        None if options.native.unwrap_or(native) => Mode::Native,
        None => Mode::Classic,
    };
    let mut patch = Vec::new();
    volumes::add(&mut patch, spec, &options, config, found.is_some(), &mut problems);
    applications::add(&mut patch, spec, &options, mode, &mut problems, &mut warnings);
    if !problems.is_empty() {
        return Err(Refusal { problems, warnings });
    }
    if found.is_none() {
        pull_secrets(&mut patch, spec, config);
        let port = ports::choose(spec, &options, &mut warnings);
        let sidecar = container::Sidecar { config, options: &options, spec, mode, port };
        match serde_json::to_value(sidecar.container()) {
            Ok(container) => place(&mut patch, spec, mode, container),
            // A container that is no JSON cannot be: there is no map in it whose keys are not texts.
            Err(error) => return Err(Refusal { problems: vec![error.to_string()], warnings }),
        }
        if mode == Mode::Classic && spec.restart_policy.as_deref().is_some_and(|policy| policy != "Always") {
            warnings.push(
                "without native sidecars the collector of a pod that is to end goes when its senders have gone; one \
                 that never has a sender keeps the pod running"
                    .to_owned(),
            );
        }
        mark(&mut patch, pod, spec, &options, mode, port.filter(|_| config.collector.metrics_annotations));
    }
    Ok(Injection { patch, warnings })
}

/// Puts the container where it starts first.
fn place(patch: &mut Vec<Add>, spec: &PodSpec, mode: Mode, container: Value) {
    match (mode, &spec.init_containers) {
        (Mode::Classic, _) => patch.push(Add::new("/spec/containers/0", container)),
        (Mode::Native, Some(_)) => patch.push(Add::new("/spec/initContainers/0", container)),
        (Mode::Native, None) => patch.push(Add::new("/spec/initContainers", vec![container])),
    }
}

fn pull_secrets(patch: &mut Vec<Add>, spec: &PodSpec, config: &Config) {
    let there = spec.image_pull_secrets.as_deref();
    let missing = config.collector.image_pull_secrets.iter();
    let missing = missing.filter(|name| there.is_none_or(|there| there.iter().all(|own| own.name != **name)));
    let missing = missing.map(|name| json!({ "name": name })).collect();
    append(patch, "/spec/imagePullSecrets", there.is_some(), missing);
}

/// Says in the pod's labels and annotations what was done.
fn mark(patch: &mut Vec<Add>, pod: &Pod, spec: &PodSpec, options: &Options, mode: Mode, port: Option<u16>) {
    let labels = &pod.metadata.labels;
    if labels.as_ref().is_none_or(|labels| labels.get(INJECTED).is_none_or(|value| value != "true")) {
        merge(patch, "/metadata/labels", labels.is_some(), vec![(INJECTED, "true".to_owned())]);
    }
    let annotations = pod.metadata.annotations.as_ref();
    let has = |prefix: &str| {
        annotations.into_iter().flat_map(|entries| entries.keys()).any(|key| key.starts_with(prefix))
    };
    let status =
        json!({ "mode": mode.as_str(), "trails": options.trails, "version": env!("CARGO_PKG_VERSION") });
    let mut entries = Vec::new();
    // kubectl takes the first container otherwise.
    if mode == Mode::Classic && !has(DEFAULT_CONTAINER) {
        entries.extend(spec.containers.first().map(|first| (DEFAULT_CONTAINER, first.name.clone())));
    }
    // An application that has its own metrics scraped keeps them: these annotations name one port for all.
    if let Some(port) = port.filter(|_| !has("prometheus.io/")) {
        entries.push(("prometheus.io/path", "/metrics".to_owned()));
        entries.push(("prometheus.io/port", port.to_string()));
        entries.push(("prometheus.io/scrape", "true".to_owned()));
    }
    entries.push((STATUS, status.to_string()));
    merge(patch, "/metadata/annotations", annotations.is_some(), entries);
}

/// Whether a pod has the volume by which its containers reach the collector.
#[must_use]
pub fn has_socket_volume(spec: &PodSpec) -> bool {
    spec.volumes.iter().flatten().any(|volume| volume.name == SOCKET_VOLUME)
}
