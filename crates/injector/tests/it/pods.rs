//! Reviews and pods for the tests, and what is checked of each that was given a collector.

use std::path::PathBuf;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use sidetrail_injector::admit::{Context, Namespace, Outcome, Question, answer, parse};
use sidetrail_injector::config::Config;
use sidetrail_injector::inject::find_collector;
use sidetrail_injector::names::{CONTAINER, ENV_COLLECTOR, ENV_DELIVERY, IDENTITY, SOCKET_VOLUME};

use crate::judge::{restricted, valid};

pub(crate) const CONFIG: &str = "
collector:
  image: registry.example/sidetrail/collector@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  config:
    account: '123456789012'
    region: eu-central-1
    control: { server: 'https://sidetrail-server.sidetrail.svc:8422', tls: { ca: /run/sidetrail-tls/ca.crt } }
    trails: [{ name: default, destination: s3://audit/prod }, { name: refunds, destination: s3://audit-refunds }]
";

/// The injector's own namespace.
pub(crate) const OWN: &str = "sidetrail";

pub(crate) fn config(more: &str) -> Config {
    let config: Config = serde_norway::from_str(&format!("{CONFIG}{more}")).unwrap();
    assert_eq!(config.problems().len(), 0, "{:?}", config.problems());
    config
}

pub(crate) fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// A captured review.
pub(crate) fn captured(name: &str) -> Value {
    let path = testdata("admission-reviews").join(format!("{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The review that a pod comes in.
pub(crate) fn review(pod: &Value) -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "0f8e0000-0000-4000-8000-000000000001",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": pod["metadata"]["namespace"].as_str().unwrap_or("shop"),
            "operation": "CREATE", "object": pod, "oldObject": null, "dryRun": false,
        }
    })
}

/// What is answered: the response, and its patch as JSON.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) response: Value,
    pub(crate) patch: Value,
    pub(crate) outcome: Outcome,
}

/// A cluster as far as an answer depends on it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) config: Config,
    pub(crate) namespace: Namespace,
    pub(crate) native: bool,
}

impl Cluster {
    pub(crate) fn new(more: &str) -> Self {
        let mut namespace = Namespace::default();
        namespace.labels.insert("sidetrail.dev/inject".to_owned(), "enabled".to_owned());
        Self { config: config(more), namespace, native: true }
    }

    pub(crate) fn ask(&self, question: Question, review: &Value) -> Answered {
        let body = review.to_string();
        let parsed = parse(body.as_bytes()).unwrap();
        let context = Context {
            config: &self.config,
            own_namespace: OWN,
            native: self.native,
            namespace: Some(&self.namespace),
        };
        let (bytes, outcome) = answer(question, &parsed, context).unwrap();
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
        let mut response = answer["response"].clone();
        let encoded = response.as_object_mut().unwrap().remove("patch");
        let patch = encoded.map_or(Value::Null, |encoded| {
            assert_eq!(response["patchType"], "JSONPatch");
            let decoded: ByteString = serde_json::from_value(encoded).unwrap();
            serde_json::from_slice(&decoded.0).unwrap()
        });
        Answered { response, patch, outcome }
    }

    /// Gives a pod a collector, and checks whatever holds of every pod that has one.
    pub(crate) fn inject(&self, review: &Value) -> Option<Value> {
        let answered = self.ask(Question::MutateByNamespace, review);
        if answered.patch.is_null() {
            return None;
        }
        let before = &review["request"]["object"];
        let after = patched(before, &answered.patch);
        if valid::problems(before).is_empty() {
            assert_eq!(valid::problems(&after), Vec::<String>::new(), "{after:#}");
        }
        check_security(before, &after);
        self.check_untouched(before, &after);
        let mut again = review.clone();
        again["request"]["object"] = after.clone();
        again["request"]["uid"] = "another".into();
        let second = self.ask(Question::MutateByNamespace, &again);
        assert_eq!(second.patch, Value::Null, "applied twice");
        assert_eq!(second.outcome, Outcome::Unchanged);
        let refused = self.ask(Question::Validate, &again);
        assert_eq!(refused.response["allowed"], true, "{:#}", refused.response);
        Some(after)
    }

    /// Without what the injector adds, everything is as it was.
    fn check_untouched(&self, before: &Value, after: &Value) {
        let mut stripped = after.clone();
        let ours = |name: &str| {
            name == ENV_COLLECTOR
                || name == ENV_DELIVERY
                || IDENTITY.iter().any(|(variable, _)| *variable == name)
        };
        for kind in ["initContainers", "containers"] {
            let Some(containers) = stripped["spec"].get_mut(kind).and_then(Value::as_array_mut) else {
                continue;
            };
            containers.retain(|container| container["name"] != CONTAINER);
            for (index, container) in containers.iter_mut().enumerate() {
                let original = &before["spec"][kind][index];
                for (list, is_ours) in [
                    (
                        "env",
                        &(|entry: &Value| ours(entry["name"].as_str().unwrap())) as &dyn Fn(&Value) -> bool,
                    ),
                    ("volumeMounts", &|entry: &Value| entry["name"] == SOCKET_VOLUME),
                ] {
                    let had = original[list].as_array().cloned().unwrap_or_default();
                    if let Some(entries) = container.get_mut(list).and_then(Value::as_array_mut) {
                        entries.retain(|entry| had.contains(entry) || !is_ours(entry));
                    }
                    drop_if_new(container, original, list);
                }
            }
            drop_if_new(&mut stripped["spec"], &before["spec"], kind);
        }
        if let Some(volumes) = stripped["spec"].get_mut("volumes").and_then(Value::as_array_mut) {
            let had = before["spec"]["volumes"].as_array().cloned().unwrap_or_default();
            let configured =
                |name: &str| self.config.collector.volumes.iter().any(|volume| volume.0.name == name);
            volumes.retain(|volume| {
                let name = volume["name"].as_str().unwrap();
                had.contains(volume) || !(name.starts_with("sidetrail-") || configured(name))
            });
        }
        drop_if_new(&mut stripped["spec"], &before["spec"], "volumes");
        if let Some(secrets) = stripped["spec"].get_mut("imagePullSecrets").and_then(Value::as_array_mut) {
            let configured = &self.config.collector.image_pull_secrets;
            let had = before["spec"]["imagePullSecrets"].as_array().cloned().unwrap_or_default();
            secrets.retain(|secret| {
                had.contains(secret) || !configured.iter().any(|name| secret["name"] == **name)
            });
        }
        drop_if_new(&mut stripped["spec"], &before["spec"], "imagePullSecrets");
        for kind in ["labels", "annotations"] {
            let had = before["metadata"][kind].as_object().cloned().unwrap_or_default();
            let is_ours = |key: &str| {
                key.starts_with("sidetrail.dev/")
                    || key.starts_with("prometheus.io/")
                    || key == "kubectl.kubernetes.io/default-container"
            };
            if let Some(entries) = stripped["metadata"].get_mut(kind).and_then(Value::as_object_mut) {
                entries.retain(|key, _| had.contains_key(key) || !is_ours(key));
            }
            drop_if_new(&mut stripped["metadata"], &before["metadata"], kind);
        }
        assert_eq!(&stripped, before, "something else was changed");
    }
}

pub(crate) fn patched(pod: &Value, patch: &Value) -> Value {
    let mut pod = pod.clone();
    let patch: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap_or_else(|error| panic!("{error}: {patch}"));
    pod
}

/// The collector passes *restricted* in any pod, and a pod that passed it still does.
fn check_security(before: &Value, after: &Value) {
    let pod = |value: &Value| serde_json::from_value::<Pod>(value.clone()).unwrap();
    let (before, after) = (pod(before), pod(after));
    let spec = after.spec.as_ref().unwrap();
    let (collector, _) = find_collector(spec).unwrap();
    let context = spec.security_context.clone().unwrap_or_default();
    let violations = restricted::container_violations(collector, &context);
    let inherited = |what: &String| what.ends_with("seLinuxOptions") || what.ends_with("appArmorProfile");
    assert!(violations.iter().all(inherited), "{violations:?}");
    let (earlier, now) = (restricted::violations(&before), restricted::violations(&after));
    let new: Vec<_> = now.iter().filter(|now| !earlier.contains(now) && !inherited(now)).collect();
    assert!(new.is_empty(), "{new:?}");
}

/// An empty list or map that was not there is nothing.
fn drop_if_new(object: &mut Value, original: &Value, member: &str) {
    let empty = match object.get(member) {
        Some(Value::Array(entries)) => entries.is_empty(),
        Some(Value::Object(entries)) => entries.is_empty(),
        _ => false,
    };
    if empty && original.get(member).is_none() {
        object.as_object_mut().unwrap().remove(member);
    }
}
