//! The other questions: pods that ask themselves, and the webhook that refuses those without a collector.

use serde_json::{Value, json};
use sidetrail_injector::admit::{Context, Namespace, Outcome, Question, answer, parse};

use crate::pods::{Cluster, OWN, captured, config, review};

fn pod() -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "namespace": "shop" },
        "spec": { "containers": [{ "name": "app", "image": "app:1" }] } })
}

fn unlabelled() -> Cluster {
    let mut cluster = Cluster::new("");
    cluster.namespace.labels.clear();
    cluster
}

#[test]
fn a_pod_may_ask_where_its_namespace_does_not() {
    let cluster = unlabelled();
    let mut pod = pod();
    assert_eq!(cluster.ask(Question::MutateByPod, &review(&pod)).outcome, Outcome::Skipped);
    pod["metadata"]["labels"] = json!({ "sidetrail.dev/inject": "enabled" });
    assert_eq!(cluster.ask(Question::MutateByPod, &review(&pod)).outcome, Outcome::Injected);
}

/// The API server chose the path by the labels that the namespace has; a cache may not know of them yet.
#[test]
fn the_path_says_more_than_a_cache() {
    let cluster = unlabelled();
    assert_eq!(cluster.ask(Question::MutateByNamespace, &review(&pod())).outcome, Outcome::Injected);
    let config = config("");
    let review = captured("create-pod-from-job").to_string();
    let context = Context { config: &config, own_namespace: OWN, native: true, namespace: None };
    let (bytes, outcome) =
        answer(Question::MutateByNamespace, &parse(review.as_bytes()).unwrap(), context).unwrap();
    assert_eq!(outcome, Outcome::Injected);
    assert!(String::from_utf8(bytes).unwrap().contains("annotations are not known right now"));
}

#[test]
fn a_pod_without_a_collector_is_refused() {
    let cluster = Cluster::new("");
    let answered = cluster.ask(Question::Validate, &review(&pod()));
    assert_eq!(answered.outcome, Outcome::Denied);
    assert_eq!(answered.response["status"]["code"], 403);
    let message = answered.response["status"]["message"].as_str().unwrap();
    assert!(message.contains("it has no container sidetrail-collector"), "{message}");

    let mut sound = cluster.inject(&review(&pod())).unwrap();
    let refusal = |pod: &Value| {
        let response = cluster.ask(Question::Validate, &review(pod)).response;
        response["status"]["message"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(refusal(&sound), "");
    let mut other = sound.clone();
    other["spec"]["initContainers"][0]["image"] = "busybox:1".into();
    assert!(refusal(&other).contains("has the image busybox:1"));
    let mut other = sound.clone();
    other["spec"]["containers"][0]["volumeMounts"] = json!([]);
    assert!(refusal(&other).contains("container app does not reach the collector"));
    // Another version of the same image is no reason.
    sound["spec"]["initContainers"][0]["image"] = "registry.example/sidetrail/collector:0.0.1".into();
    assert_eq!(refusal(&sound), "");

    let mut exempt = pod();
    exempt["metadata"]["labels"] = json!({ "sidetrail.dev/inject": "disabled" });
    assert_eq!(refusal(&exempt), "");
    let mut windows = pod();
    windows["spec"]["os"] = json!({ "name": "windows" });
    assert!(refusal(&windows).contains("Windows pods cannot be"));
}

#[test]
fn what_is_no_review_is_said() {
    let config = config("");
    let unknown = Namespace::default();
    let context = Context { config: &config, own_namespace: OWN, native: true, namespace: Some(&unknown) };
    for (body, expected) in [
        ("", "no AdmissionReview"),
        (r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}"#, "admission.k8s.io/v1beta1"),
        (r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#, "has no request"),
    ] {
        let answered = parse(body.as_bytes())
            .and_then(|review| answer(Question::MutateByPod, &review, context).map(drop));
        let error = answered.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut broken = review(&pod());
    broken["request"]["object"]["spec"]["containers"] = "none".into();
    let text = broken.to_string();
    let error = answer(Question::MutateByNamespace, &parse(text.as_bytes()).unwrap(), context).unwrap_err();
    assert!(error.to_string().contains("no Pod"), "{error}");
}
