//! The Helm chart: linted, rendered with several sets of values, and what comes out checked.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sidetrail_tests::tools;

use crate::{deploy, documents, is_configuration_of, read, script};

/// Sets of values, beside none.
const SETS: [&str; 3] = ["minimal", "ha", "cert-manager"];
/// The oldest API with all that the chart can ask for, the one that the admission reviews are from, and a newer one.
const VERSIONS: [&str; 3] = ["1.29", "1.36", "1.37"];
/// Custom resources: nobody publishes schemas of them with Kubernetes'. What is in them is checked elsewhere here.
const CUSTOM: [&str; 4] = ["ServiceMonitor", "PodMonitor", "PrometheusRule", "Certificate"];

fn helm(arguments: &[&str]) -> Result<Command> {
    let mut helm = Command::new(tools::tool("helm")?);
    helm.args(arguments);
    Ok(helm)
}

/// What `helm template` makes of a set of values, of none, or of `--set` more.
fn render(set: Option<&str>, more: &[&str]) -> Result<String> {
    let chart = deploy().join("helm/sidetrail");
    let mut helm = helm(&["template", "sidetrail"])?;
    helm.arg(&chart).args(["--namespace", "sidetrail"]).args(more);
    if let Some(set) = set {
        helm.arg("--values").arg(chart.join(format!("ci/{set}-values.yaml")));
    }
    tools::run(helm)?.success()
}

fn sets() -> impl Iterator<Item = Option<&'static str>> {
    std::iter::once(None).chain(SETS.map(Some))
}

#[test]
fn the_chart_is_clean_by_helm_lint() -> Result<()> {
    for set in sets() {
        let chart = deploy().join("helm/sidetrail");
        let mut helm = helm(&["lint", "--strict"])?;
        helm.arg(&chart);
        if let Some(set) = set {
            helm.arg("--values").arg(chart.join(format!("ci/{set}-values.yaml")));
        }
        tools::run(helm)?.success().with_context(|| format!("values {set:?}"))?;
    }
    Ok(())
}

#[test]
fn what_is_rendered_is_what_kubernetes_takes() -> Result<()> {
    let mut kinds = BTreeSet::new();
    let mut texts = sets().map(|set| render(set, &[])).collect::<Result<Vec<_>>>()?;
    texts.push(read("kubernetes/orders.yaml")?);
    for (text, version) in texts.iter().flat_map(|text| VERSIONS.map(|version| (text, version))) {
        let told = script("validate.py", &[version], text)?;
        let told = told.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        ensure!(told.len() == documents(text)?.len(), "{} of the documents were looked at", told.len());
        for document in told {
            ensure!(document["problem"].is_null(), "Kubernetes {version}: {document}");
            let kind = document["kind"].as_str().context("no kind")?;
            ensure!(document["schema"] == true || CUSTOM.contains(&kind), "nothing is known of {document}");
            kinds.insert(kind.to_owned());
        }
    }
    println!("{} kinds: {kinds:?}", kinds.len());
    ensure!(kinds.len() >= 19, "only {kinds:?}");
    Ok(())
}

/// What the README has people type is what is tried, with `template` for `install`.
#[test]
fn the_command_of_the_readme_works() -> Result<()> {
    let readme = read("../README.md")?;
    let (_, rest) = readme.split_once("$ helm install ").context("the README installs no chart")?;
    let (command, _) = rest.split_once("\n$ ").context("another command follows")?;
    let mut helm = helm(&["template"])?;
    helm.current_dir(deploy().join("..")).args(command.replace("\\\n", " ").split_whitespace());
    let rendered = tools::run(helm)?.success()?;
    ensure!(rendered.contains("destination: s3://audit/prod"), "{rendered}");
    Ok(())
}

/// The script that looks would find something.
#[test]
fn a_wrong_field_and_a_wrong_type_are_found() -> Result<()> {
    let good = render(Some("minimal"), &[])?;
    for (from, to) in [("replicas: 1", "replicas: '1'"), ("sideEffects: None", "sideEffect: None")] {
        ensure!(good.contains(from), "{from}");
        let told = script("validate.py", &["1.37"], &good.replace(from, to))?;
        ensure!(told.lines().any(|line| !line.contains("\"problem\": null")), "{to} was not found");
    }
    Ok(())
}

/// For those who have no Helm: `kubectl apply --filename deploy/kubernetes/sidetrail.yaml`.
#[test]
fn the_plain_manifests_are_those_of_the_chart() -> Result<()> {
    let rendered = render(None, &[])?;
    let committed = read("kubernetes/sidetrail.yaml")?;
    let (_, committed) = committed.split_once("---\n").context("the comment ends with a document")?;
    let namespace = documents(committed)?.first().context("no document")?.clone();
    ensure!(namespace["kind"] == "Namespace" && namespace["metadata"]["name"] == "sidetrail", "{namespace}");
    ensure!(
        documents(committed)?[1..] == documents(&rendered)?[..],
        "deploy/kubernetes/sidetrail.yaml is not what `helm template sidetrail deploy/helm/sidetrail --namespace \
         sidetrail` prints; replace what follows its Namespace"
    );
    Ok(())
}

#[test]
fn values_that_cannot_work_are_refused_by_name() -> Result<()> {
    for (value, named) in [
        ("account=12345", "account"),
        ("destination=/var/audit", "destination"),
        ("gateway.replicas=0", "replicas"),
        ("injector.webhook.failurePolicy=ignore", "failurePolicy"),
        ("injector.webhook.timeoutSeconds=11", "timeoutSeconds"),
        ("injector.certificates.type=cert-manager", "name"),
        ("injector.collector.digest=latest", "digest"),
        ("injector.podOverrides={inject,everything}", "podOverrides"),
        ("server.enabled=true", "accessKeys"),
        ("gateway.enabled=true", "injector.collector.volumes"),
        ("gateway.tls.allowedPeers={spiffe://example.org/ns/*/sa/*}", "allowedPeers"),
        ("gatewey.enabled=true", "gatewey"),
        ("server.control.tls.certManager=true", "name"),
        ("server.control.workloads[0].namespace=Prod", "namespace"),
    ] {
        match render(None, &["--set-string", value]).or_else(|_| render(None, &["--set", value])) {
            Ok(_) => bail!("{value} was taken"),
            Err(error) => ensure!(format!("{error:#}").contains(named), "{value}: {error:#}"),
        }
    }
    Ok(())
}

/// Every configuration in a ConfigMap is one for the binary that mounts it.
#[test]
fn the_configurations_are_those_of_our_binaries() -> Result<()> {
    let mut checked = 0;
    for set in sets() {
        for document in documents(&render(set, &[])?)?.iter().filter(|it| it["kind"] == "ConfigMap") {
            for (file, text) in document["data"].as_object().context("no data")? {
                let text = text.as_str().context("no text")?;
                let binary = match file.as_str() {
                    "collector.yaml" => "sidetrail-collector",
                    "injector.yaml" => "sidetrail-injector",
                    "server.yaml" => "sidetrail-server",
                    "sidetrail.json" => continue,
                    _ => bail!("whose is {file}?"),
                };
                is_configuration_of(binary, text)?;
                is_taken_by(binary, text).with_context(|| format!("values {set:?}"))?;
                checked += 1;
                if binary == "sidetrail-injector" {
                    let config = documents(text)?.remove(0)["collector"]["config"].clone();
                    let mut config = config.as_object().context("no configuration")?.clone();
                    // What the injector adds.
                    let listen = serde_json::json!({ "socket": "/run/sidetrail/collector.sock" });
                    config.insert("listen".to_owned(), listen);
                    config
                        .insert("spool".to_owned(), serde_json::json!({ "directory": "/var/lib/sidetrail" }));
                    is_configuration_of("sidetrail-collector", &Value::from(config).to_string())?;
                    checked += 1;
                }
            }
        }
    }
    ensure!(checked >= 11, "only {checked} configurations");
    Ok(())
}

/// Where collectors in pods have a server, they have something to show it, and the server is allowed to ask about that.
#[test]
fn collectors_of_pods_can_join_the_server() -> Result<()> {
    let rendered = documents(&render(Some("ha"), &[])?)?;
    let one = |kind: &str, name: &str| {
        let mut all = rendered.iter().filter(|it| it["kind"] == kind && it["metadata"]["name"] == name);
        all.next().with_context(|| format!("no {kind} {name}"))
    };
    let role = one("ClusterRole", "sidetrail-server")?;
    let rules = serde_json::json!([{ "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"],
        "verbs": ["create"] }]);
    ensure!(role["rules"] == rules, "{role}");
    ensure!(one("ClusterRoleBinding", "sidetrail-server")?["roleRef"]["name"] == "sidetrail-server");
    let configuration = |name: &str, file: &str| -> Result<Value> {
        let text = one("ConfigMap", name)?["data"][file].as_str().context("no text")?.to_owned();
        Ok(documents(&text)?.remove(0))
    };
    let server = configuration("sidetrail-server", "server.yaml")?;
    let injector = configuration("sidetrail-injector", "injector.yaml")?;
    let audience = &server["control"]["kubernetes"]["audience"];
    ensure!(*audience == "sidetrail" && *audience == injector["collector"]["token_audience"], "{server}");
    ensure!(server["control"]["tls"]["certificate"] == "/run/control-tls/tls.crt", "{server}");
    let control = &injector["collector"]["config"]["control"];
    ensure!(control["server"] == "https://sidetrail-server.sidetrail.svc:8422", "{control}");
    let pod = &one("Deployment", "sidetrail-server")?["spec"]["template"]["spec"];
    ensure!(pod["automountServiceAccountToken"] == true, "{pod}");

    let more = ["--set", "injector.collector.tokenAudience=null"];
    let error = render(Some("ha"), &more).err().context("collectors have nothing to join with")?;
    ensure!(format!("{error:#}").contains("injector.collector.tokenAudience"), "{error:#}");
    let none = documents(&render(None, &[])?)?;
    ensure!(
        !none.iter().any(|it| it["metadata"]["name"] == "sidetrail-server" && it["kind"] == "ClusterRole")
    );
    Ok(())
}

/// Binaries look at more than their schemas say, and then at files that are not here.
fn is_taken_by(binary: &str, text: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    let mut validate = Command::new(tools::binary(binary)?);
    validate.arg("--config").arg(file.path()).arg("--validate");
    match tools::run(validate)?.success() {
        Err(error) if !format!("{error:#}").contains("cannot read /run/certs/") => Err(error),
        _ => Ok(()),
    }
}

/// What runs in the cluster keeps to the *restricted* profile, on a read-only root, with bounded memory.
#[test]
fn every_pod_is_hardened() -> Result<()> {
    let mut pods = 0;
    for set in sets() {
        for document in documents(&render(set, &[])?)? {
            let spec = &document["spec"]["template"]["spec"];
            let Some(containers) = spec["containers"].as_array() else { continue };
            pods += 1;
            let pod = &spec["securityContext"];
            ensure!(
                pod["runAsNonRoot"] == true && pod["seccompProfile"]["type"] == "RuntimeDefault",
                "{spec}"
            );
            ensure!(document["spec"]["template"]["metadata"]["labels"]["sidetrail.dev/inject"] == "disabled");
            for container in containers {
                let context = &container["securityContext"];
                ensure!(context["allowPrivilegeEscalation"] == false, "{container}");
                ensure!(context["readOnlyRootFilesystem"] == true, "{container}");
                ensure!(context["capabilities"]["drop"] == serde_json::json!(["ALL"]), "{container}");
                ensure!(container["resources"]["limits"]["memory"].is_string(), "{container}");
                for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                    ensure!(container[probe].is_object(), "no {probe}: {container}");
                }
            }
        }
    }
    ensure!(pods == 7, "only {pods} pods");
    Ok(())
}

/// The injector's own pods must come back whatever becomes of its webhook.
#[test]
fn no_webhook_is_asked_about_its_own_namespace() -> Result<()> {
    let mut webhooks = 0;
    for set in sets() {
        for document in documents(&render(set, &[])?)? {
            for webhook in document["webhooks"].as_array().into_iter().flatten() {
                webhooks += 1;
                let expressions =
                    webhook["namespaceSelector"]["matchExpressions"].as_array().context("none")?;
                let own = expressions.iter().any(|expression| {
                    let names = expression["values"].as_array();
                    expression["key"] == "kubernetes.io/metadata.name"
                        && expression["operator"] == "NotIn"
                        && names.is_some_and(|names| names.contains(&"sidetrail".into()))
                });
                ensure!(own, "{webhook}");
                ensure!(
                    webhook["clientConfig"]["caBundle"].is_null(),
                    "helm upgrade would take the bundle away"
                );
            }
        }
    }
    ensure!(webhooks == 9, "{webhooks} webhooks");
    Ok(())
}
