//! A pod as the injector makes it, with the real collector in it: the container's arguments, variables and configuration,
//! filled in as the kubelet does, down to the manifest that says where it ran.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Value, json};
use sidetrail_injector::config::Config;
use sidetrail_injector::inject::{find_collector, inject};
use sidetrail_injector::options::Annotations;
use sidetrail_tests::{Process, START, STOP, free_address, tools};

/// What the kubelet knows of the pod. The namespace is one that YAML would take for a number.
const FIELDS: [(&str, &str); 5] = [
    ("metadata.name", "web-7b96576446-xghrz"),
    ("metadata.namespace", "123"),
    ("metadata.uid", "24307bca-30ac-4bed-a76a-05b25f1bc62c"),
    ("spec.nodeName", "node-1"),
    ("spec.serviceAccountName", "default"),
];

/// The collector's container of a pod with the collector in it.
fn container(bucket: &Path, annotations: &Value, restart: &str) -> Result<Container> {
    let config: Config = serde_json::from_value(json!({ "collector": {
        "image": "registry.example/sidetrail/collector@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "config": { "account": "111122223333", "region": "eu-central-1",
            "trails": [{ "name": "default", "destination": bucket }] } } }))?;
    ensure!(config.problems().is_empty(), "{:?}", config.problems());
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "web", "namespace": "123", "annotations": annotations },
        "spec": { "restartPolicy": restart, "containers": [{ "name": "app", "image": "app:1" }] } });
    let typed: Pod = serde_json::from_value(pod.clone())?;
    let injection = inject(&typed, &config, &Annotations::new(), true);
    let injection = injection.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    for add in &injection.patch {
        apply(&mut pod, &add.path, add.value.clone())?;
    }
    let pod: Pod = serde_json::from_value(pod)?;
    let spec = pod.spec.context("a spec")?;
    Ok(find_collector(&spec).context("a collector")?.0.clone())
}

/// Just enough of JSON Patch for what is only added.
fn apply(pod: &mut Value, path: &str, value: Value) -> Result<()> {
    let (parent, last) = path.rsplit_once('/').context("a path")?;
    let last = last.replace("~1", "/").replace("~0", "~");
    match pod.pointer_mut(parent).context("a parent")? {
        Value::Array(entries) if last == "-" => entries.push(value),
        Value::Array(entries) => entries.insert(last.parse()?, value),
        parent => parent[last] = value,
    }
    Ok(())
}

/// What the kubelet starts: the variables with the fields filled in, and `$(NAME)` after them. The volumes are folders.
fn start(container: &Container, root: &Path, arguments: &[&str]) -> Result<Command> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for variable in container.env.iter().flatten() {
        let field = variable.value_from.as_ref().and_then(|source| source.field_ref.as_ref());
        let value = match field {
            Some(field) => {
                let known = FIELDS.iter().find(|(path, _)| *path == field.field_path);
                known.context("a field that the kubelet knows")?.1.to_owned()
            }
            None => expand(variable.value.as_deref().unwrap_or_default(), &variables),
        };
        let value = value.replace("/run/sidetrail", &root.join("run").display().to_string());
        let value = value.replace("/var/lib/sidetrail", &root.join("spool").display().to_string());
        variables.push((variable.name.clone(), value));
    }
    fs::create_dir_all(root.join("run"))?;
    let mut command = Command::new(tools::binary("sidetrail-collector")?);
    command.args(container.args.iter().flatten()).args(arguments).env_clear().envs(variables);
    Ok(command)
}

/// `$(NAME)` is what came before, `$$` a `$`, and everything else stays.
fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'))
            && let Some((_, value)) = variables.iter().find(|(known, _)| known == name)
        {
            out.push_str(value);
            rest = after;
        } else {
            out.push('$');
        }
    }
    out + rest
}

fn send(root: &Path) -> Result<()> {
    let mut send = Command::new(tools::binary("sidetrail")?);
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/examples.ndjson");
    let socket = root.join("run/collector.sock");
    send.arg("send").arg(events).env("SIDETRAIL_COLLECTOR", format!("unix:{}", socket.display()));
    tools::run(send)?.success().map(drop)
}

#[test]
fn the_injected_container_runs_and_signs_where_it_was() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (root, bucket) = (directory.path().join("pod"), directory.path().join("bucket$(HOME)"));
    fs::create_dir_all(&root)?;
    let port = free_address()?.port().to_string();
    let annotations = json!({ "sidetrail.dev/metrics-port": port, "sidetrail.dev/log": "warn", "sidetrail.dev/spool-size": "64Mi" });
    let container = container(&bucket, &annotations, "Always")?;
    tools::run(start(&container, &root, &["--validate"])?)?.success()?;
    // What exec probes and hooks start.
    let probe = |wait: &str| tools::run(start(&container, &root, &["probe", "--wait", wait])?);
    ensure!(probe("0s")?.status.code() == Some(1));

    let mut collector = Process::spawn(start(&container, &root, &[])?, &directory.path().join("log"))?;
    probe("60s")?.success()?;
    collector.wait_http(format!("127.0.0.1:{port}").parse()?, "/startupz", START)?;
    send(&root)?;
    collector.terminate()?;
    ensure!(collector.wait(STOP)?.success(), "{}", collector.log()?);

    let mut verify = Command::new(tools::binary("sidetrail")?);
    verify.arg("verify").arg(&bucket);
    tools::run(verify)?.success()?;
    let manifests = manifests(&bucket)?;
    ensure!(!manifests.is_empty());
    for manifest in manifests {
        let expected = json!({ "namespace": "123", "pod": "web-7b96576446-xghrz", "serviceAccount": "default",
            "uid": "24307bca-30ac-4bed-a76a-05b25f1bc62c", "node": "node-1" });
        ensure!(manifest["workload"] == expected, "{manifest}");
    }
    Ok(())
}

/// In classic mode the collector of a Job goes when its senders have gone.
#[test]
fn the_collector_of_a_classic_job_ends_by_itself() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (root, bucket) = (directory.path().join("pod"), directory.path().join("bucket"));
    fs::create_dir_all(&root)?;
    let port = free_address()?.port().to_string();
    let annotations = json!({ "sidetrail.dev/native": "false", "sidetrail.dev/metrics-port": port });
    let mut container = container(&bucket, &annotations, "Never")?;
    // Ten seconds are long for a test.
    for variable in container.env.iter_mut().flatten() {
        variable.value = variable.value.take().map(|value| value.replace(r#""10s""#, r#""1s""#));
    }
    let mut collector = Process::spawn(start(&container, &root, &[])?, &directory.path().join("log"))?;
    tools::run(start(&container, &root, &["probe", "--wait", "60s"])?)?.success()?;
    send(&root)?;
    let status: ExitStatus = collector.wait(STOP)?;
    ensure!(status.success(), "{}", collector.log()?);
    ensure!(!manifests(&bucket)?.is_empty());
    Ok(())
}

/// The payloads of all manifests under a directory.
fn manifests(bucket: &Path) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    let mut open = vec![bucket.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().contains("Sidetrail-Manifest") {
                let envelope = sidetrail_archive::dsse::Envelope::read(&fs::read(path)?)?;
                found.push(serde_json::from_slice(&envelope.payload)?);
            }
        }
    }
    Ok(found)
}
