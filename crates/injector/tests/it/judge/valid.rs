//! Whether an API server takes a pod: its form, by Kubernetes' types, and the rules of validation that a change could
//! break, written after the API reference.
//!
//! The types pass over unknown members and give missing ones a default. What is written again is therefore compared with
//! what was read: a misspelt member is gone, and a missing one is there.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;
use sidetrail_injector::quantity::Quantity;

/// Everything that is wrong.
pub(crate) fn problems(pod: &Value) -> Vec<String> {
    let typed: Pod = match serde_json::from_value(pod.clone()) {
        Ok(typed) => typed,
        Err(error) => return vec![format!("not a Pod: {error}")],
    };
    let mut problems = Vec::new();
    let again = serde_json::to_value(&typed).unwrap();
    differences(&without_nulls(pod.clone()), &without_nulls(again), "", &mut problems);
    metadata(&typed, &mut problems);
    match &typed.spec {
        Some(spec) => check_spec(spec, &mut problems),
        None => problems.push("no spec".to_owned()),
    }
    problems
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn differences(given: &Value, typed: &Value, path: &str, problems: &mut Vec<String>) {
    match (given, typed) {
        (Value::Object(given), Value::Object(typed)) => {
            for key in given.keys().chain(typed.keys()).collect::<BTreeSet<_>>() {
                let path = format!("{path}.{key}");
                match (given.get(key), typed.get(key)) {
                    (Some(given), Some(typed)) => differences(given, typed, &path, problems),
                    (Some(_), None) => problems.push(format!("{path} is unknown")),
                    // Empty is what the types make of what is not there.
                    (None, Some(typed))
                        if path == ".metadata"
                            && typed.as_object().is_some_and(serde_json::Map::is_empty) => {}
                    (None, Some(_)) => problems.push(format!("{path} is missing")),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(given), Value::Array(typed)) => {
            for (index, (given, typed)) in given.iter().zip(typed).enumerate() {
                differences(given, typed, &format!("{path}[{index}]"), problems);
            }
        }
        (given, typed) if given == typed => {}
        (given, typed) => problems.push(format!("{path} is {given}, read as {typed}")),
    }
}

fn metadata(pod: &Pod, problems: &mut Vec<String>) {
    for (key, value) in pod.metadata.labels.iter().flatten() {
        if !is_qualified(key) || value.len() > 63 {
            problems.push(format!("label {key}={value}"));
        }
    }
    let annotations = pod.metadata.annotations.iter().flatten();
    let size: usize = annotations.clone().map(|(key, value)| key.len() + value.len()).sum();
    if size > 256 << 10 {
        problems.push(format!("annotations have {size} bytes"));
    }
    problems.extend(
        annotations.filter(|(key, _)| !is_qualified(key)).map(|(key, _)| format!("annotation {key}")),
    );
}

fn is_qualified(key: &str) -> bool {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 63 && name.bytes().all(inner)
}

fn is_label(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn check_spec(spec: &PodSpec, problems: &mut Vec<String>) {
    if spec.containers.is_empty() {
        problems.push("no container".to_owned());
    }
    let mut volumes = BTreeSet::new();
    for volume in spec.volumes.iter().flatten() {
        if !is_label(&volume.name) {
            problems.push(format!("volume name {:?}", volume.name));
        }
        if !volumes.insert(volume.name.as_str()) {
            problems.push(format!("volume {} twice", volume.name));
        }
        let sources = serde_json::to_value(volume).unwrap().as_object().unwrap().len() - 1;
        // No source is an emptyDir, by default.
        if sources > 1 {
            problems.push(format!("volume {} has {sources} sources", volume.name));
        }
        if let Some(medium) = volume.empty_dir.as_ref().and_then(|empty| empty.medium.as_deref())
            && !["", "Memory"].contains(&medium)
            && !medium.starts_with("HugePages")
        {
            problems.push(format!("volume {} has the medium {medium}", volume.name));
        }
        if let Some(limit) = volume.empty_dir.as_ref().and_then(|empty| empty.size_limit.as_ref())
            && limit.0.parse::<Quantity>().is_err()
        {
            problems.push(format!("volume {} has the limit {}", volume.name, limit.0));
        }
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            if let Some(token) = &source.service_account_token
                && !(600..=1 << 32).contains(&token.expiration_seconds.unwrap_or(3600))
            {
                problems
                    .push(format!("volume {} has a token of {:?}", volume.name, token.expiration_seconds));
            }
        }
    }
    let mut names = BTreeSet::new();
    let init = spec.init_containers.iter().flatten();
    for (container, is_init) in init.map(|c| (c, true)).chain(spec.containers.iter().map(|c| (c, false))) {
        if !is_label(&container.name) || !names.insert(container.name.as_str()) {
            problems.push(format!("container name {:?} is none or is there twice", container.name));
        }
        let mut say = |what: String| problems.push(format!("container {}: {what}", container.name));
        check_container(container, is_init, spec, &volumes, &mut say);
    }
}

fn check_container(
    container: &Container,
    is_init: bool,
    spec: &PodSpec,
    volumes: &BTreeSet<&str>,
    say: &mut dyn FnMut(String),
) {
    if container.image.as_deref().is_none_or(str::is_empty) {
        say("no image".to_owned());
    }
    one_of(
        say,
        "imagePullPolicy",
        container.image_pull_policy.as_deref(),
        &["Always", "IfNotPresent", "Never"],
    );
    // The server stores others for init containers, and means nothing by it; none of ours may.
    one_of(say, "restartPolicy", container.restart_policy.as_deref(), &["Always", "OnFailure", "Never"]);
    let stays = is_init && container.restart_policy.as_deref() == Some("Always");
    let probes = [&container.startup_probe, &container.liveness_probe, &container.readiness_probe];
    if is_init && !stays && (probes.iter().any(|probe| probe.is_some()) || container.lifecycle.is_some()) {
        say("probes and hooks are for init containers that stay".to_owned());
    }
    for probe in probes.into_iter().flatten() {
        check_probe(probe, say);
    }
    if container.liveness_probe.as_ref().is_some_and(|probe| probe.success_threshold.unwrap_or(1) != 1) {
        say("a livenessProbe's successThreshold is 1".to_owned());
    }
    let mut paths = BTreeSet::new();
    for mount in container.volume_mounts.iter().flatten() {
        if !volumes.contains(mount.name.as_str()) {
            say(format!("mounts {}, which is no volume", mount.name));
        }
        if !paths.insert(mount.mount_path.as_str())
            || mount.mount_path.is_empty()
            || mount.mount_path.contains(':')
        {
            say(format!("mounts {:?} twice, or it is no path", mount.mount_path));
        }
    }
    for variable in container.env.iter().flatten() {
        if variable.name.is_empty() || variable.name.contains('=') {
            say(format!("variable {:?}", variable.name));
        }
        if let Some(source) = &variable.value_from {
            if variable.value.as_deref().is_some_and(|value| !value.is_empty()) {
                say(format!("variable {} has value and valueFrom", variable.name));
            }
            if let Some(field) = &source.field_ref {
                one_of(say, "fieldRef.apiVersion", field.api_version.as_deref(), &["v1"]);
                let known = [
                    "metadata.name",
                    "metadata.namespace",
                    "metadata.uid",
                    "spec.nodeName",
                    "spec.serviceAccountName",
                    "status.hostIP",
                    "status.hostIPs",
                    "status.podIP",
                    "status.podIPs",
                ];
                let path = field.field_path.as_str();
                if !known.contains(&path)
                    && !path.starts_with("metadata.labels['")
                    && !path.starts_with("metadata.annotations['")
                {
                    say(format!("variable {} is of {path}", variable.name));
                }
            }
        }
    }
    let mut port_names = BTreeSet::new();
    for port in container.ports.iter().flatten() {
        if !(1..=65_535).contains(&port.container_port) {
            say(format!("port {}", port.container_port));
        }
        one_of(say, "protocol", port.protocol.as_deref(), &["TCP", "UDP", "SCTP"]);
        if let Some(name) = &port.name
            && (name.len() > 15
                || !is_label(name)
                || name.contains("--")
                || !port_names.insert(name.as_str()))
        {
            say(format!("port name {name:?}"));
        }
        if spec.host_network == Some(true) && port.host_port.is_some_and(|host| host != port.container_port) {
            say(format!("hostPort of {} on the host's network", port.container_port));
        }
    }
    if let Some(resources) = &container.resources {
        let read = |text: &str| text.parse::<Quantity>();
        for (name, quantity) in resources.requests.iter().chain(&resources.limits).flatten() {
            if read(&quantity.0).is_err() {
                say(format!("{name} is {}", quantity.0));
            }
        }
        for (name, limit) in resources.limits.iter().flatten() {
            if let Some(request) = resources.requests.as_ref().and_then(|requests| requests.get(name))
                && read(&request.0).ok() > read(&limit.0).ok()
            {
                say(format!("asks for more {name} than it may have"));
            }
        }
    }
    if let Some(context) = &container.security_context {
        let may_escalate = context.privileged == Some(true);
        if may_escalate && context.allow_privilege_escalation == Some(false) {
            say("privileged without escalation".to_owned());
        }
        if context.run_as_user.is_some_and(|user| !(0..=i64::from(i32::MAX)).contains(&user)) {
            say("runAsUser".to_owned());
        }
        if let Some(profile) = &context.seccomp_profile {
            one_of(
                say,
                "seccompProfile",
                Some(&profile.type_),
                &["RuntimeDefault", "Localhost", "Unconfined"],
            );
        }
    }
}

fn check_probe(probe: &Probe, say: &mut dyn FnMut(String)) {
    let handlers =
        [probe.exec.is_some(), probe.grpc.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some()];
    if handlers.iter().filter(|is| **is).count() != 1 {
        say("a probe has one handler".to_owned());
    }
    for number in
        [probe.failure_threshold, probe.period_seconds, probe.success_threshold, probe.timeout_seconds]
    {
        if number.is_some_and(|number| number < 1) {
            say(format!("a probe with {number:?}"));
        }
    }
    if let Some(get) = &probe.http_get {
        one_of(say, "scheme", get.scheme.as_deref(), &["HTTP", "HTTPS"]);
        if matches!(get.port, IntOrString::Int(port) if !(1..=65_535).contains(&port)) {
            say("a probe's port".to_owned());
        }
    }
    if probe.exec.as_ref().is_some_and(|exec| exec.command.as_ref().is_none_or(Vec::is_empty)) {
        say("a probe without a command".to_owned());
    }
}

fn one_of(say: &mut dyn FnMut(String), what: &str, value: Option<&str>, allowed: &[&str]) {
    if let Some(value) = value
        && !allowed.contains(&value)
    {
        say(format!("{what} is {value:?}"));
    }
}

#[test]
fn what_a_server_would_refuse_or_drop_is_found() {
    let sound = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" },
        "spec": { "containers": [{ "name": "app", "image": "i", "ports": [{ "containerPort": 80 }] }], "volumes": [{ "name": "v", "emptyDir": {} }] }
    });
    assert_eq!(problems(&sound), Vec::<String>::new());
    for (pointer, value, expected) in [
        ("/spec/containers/0/imagePulPolicy", serde_json::json!("Always"), "imagePulPolicy is unknown"),
        ("/spec/containers/0/image", serde_json::json!(""), "no image"),
        ("/spec/containers/0/image", serde_json::json!(7), "not a Pod"),
        ("/spec/containers/0/name", Value::Null, "name is missing"),
        ("/spec/containers/0/imagePullPolicy", serde_json::json!("always"), "imagePullPolicy"),
        (
            "/spec/containers/0/volumeMounts",
            serde_json::json!([{ "name": "w", "mountPath": "/a" }]),
            "no volume",
        ),
        ("/spec/initContainers", serde_json::json!([{ "name": "app", "image": "i" }]), "twice"),
        (
            "/spec/initContainers",
            serde_json::json!([{ "name": "i", "image": "i", "startupProbe": { "exec": { "command": ["a"] } } }]),
            "init containers that stay",
        ),
        ("/spec/containers/0/resources", serde_json::json!({ "limits": { "cpu": "much" } }), "cpu is much"),
        ("/spec/containers/0/livenessProbe", serde_json::json!({}), "one handler"),
        ("/spec/volumes/0/configMap", serde_json::json!({ "name": "c" }), "2 sources"),
        (
            "/spec/containers/0/env",
            serde_json::json!([{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "spec.node" } } }]),
            "spec.node",
        ),
    ] {
        let mut pod = sound.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[key] = value;
        let found = problems(&pod).join("; ");
        assert!(found.contains(expected), "{pointer}: {found:?} does not say {expected:?}");
    }
}
