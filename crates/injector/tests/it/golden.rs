//! Golden files: what is answered to each captured review and to each shape of `testdata/shapes.yaml`. They change with
//! `UPDATE_GOLDEN=1`, and are read by a person then.

use std::fs;

use serde_json::{Value, json};

use crate::pods::{Answered, Cluster, captured, testdata};
use sidetrail_injector::admit::{Outcome, Question};

/// All that was captured.
pub(crate) const CAPTURED: [&str; 27] = [
    "connect-pod-exec",
    "create-plain-pod",
    "create-pod-binding",
    "create-pod-dry-run",
    "create-pod-eviction",
    "create-pod-from-daemon-set",
    "create-pod-from-deployment",
    "create-pod-from-job",
    "create-pod-from-stateful-set",
    "create-pod-generate-name",
    "create-pod-host-network",
    "create-pod-limit-range",
    "create-pod-namespace-and-object-selector",
    "create-pod-passing-match-conditions",
    "create-pod-raw-post-no-namespace",
    "create-pod-server-side-apply",
    "create-pod-service-account-and-security",
    "create-pod-with-init-containers",
    "delete-pod",
    "reinvocation-1-first-call",
    "reinvocation-2-other-webhook",
    "reinvocation-3-second-call",
    "update-pod-ephemeral-containers",
    "update-pod-label-dry-run",
    "update-pod-label",
    "update-pod-resize",
    "update-pod-status",
];

/// Compares with the file, or writes it.
pub(crate) fn check(name: &str, answered: &Answered) {
    let path = testdata("golden").join(format!("{name}.json"));
    let outcome = format!("{:?}", answered.outcome);
    let text = json!({ "outcome": outcome, "response": answered.response, "patch": answered.patch });
    let text = format!("{text:#}\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(golden == text, "{name} is answered otherwise than in {}:\n{text}", path.display());
}

#[test]
fn each_captured_review_is_answered_as_ever() {
    let there = fs::read_dir(testdata("admission-reviews")).unwrap();
    let files =
        there.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|is| is == "json"));
    assert_eq!(files.count(), CAPTURED.len());
    let cluster = Cluster::new("");
    let mut injected = 0;
    for name in CAPTURED {
        let review = captured(name);
        let answered = cluster.ask(Question::MutateByNamespace, &review);
        check(&format!("captured/{name}"), &answered);
        assert_eq!(answered.response["allowed"], true, "{name}");
        let creates =
            review["request"]["operation"] == "CREATE" && review["request"]["subResource"].is_null();
        assert_eq!(answered.outcome == Outcome::Injected, creates, "{name}");
        injected += usize::from(cluster.inject(&review).is_some());
    }
    assert_eq!(injected, 18);
}

#[test]
fn what_is_not_the_creation_of_a_pod_is_let_through_by_each_question() {
    let cluster = Cluster::new("");
    for name in CAPTURED.into_iter().filter(|name| !name.starts_with("create") && !name.starts_with("reinvo"))
    {
        for question in Question::ALL {
            let answered = cluster.ask(question, &captured(name));
            assert_eq!(
                (answered.outcome, &answered.response["allowed"]),
                (Outcome::Skipped, &json!(true)),
                "{name}"
            );
        }
    }
}

/// The second webhook of the capture adds a container after our patch: it is given what the others have, and nothing else
/// changes.
#[test]
fn what_another_webhook_adds_is_seen_to_when_asked_again() {
    let cluster = Cluster::new("");
    let mut review = captured("reinvocation-1-first-call");
    let mut pod = cluster.inject(&review).unwrap();
    let other = json!({ "name": "meter", "image": "registry.example/meter:1", "resources": {} });
    pod["spec"]["containers"].as_array_mut().unwrap().push(other.clone());
    // One that sets itself before everybody.
    pod["spec"]["initContainers"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({ "name": "net", "image": "net:1" }));
    // What the server adds to ours in between.
    pod["spec"]["initContainers"][1]["terminationMessagePath"] = "/dev/termination-log".into();
    pod["spec"]["volumes"][2]["emptyDir"]["x-default"] = Value::Null;
    review["request"]["object"] = pod.clone();
    let answered = cluster.ask(Question::MutateByNamespace, &review);
    check("captured/reinvocation-after-others", &answered);
    let after = crate::pods::patched(&pod, &answered.patch);
    let collectors = after["spec"]["initContainers"].as_array().unwrap().iter();
    assert_eq!(collectors.filter(|container| container["name"] == "sidetrail-collector").count(), 1);
    for container in [&after["spec"]["containers"][1], &after["spec"]["initContainers"][0]] {
        assert_eq!(container["env"][0]["name"], "SIDETRAIL_COLLECTOR");
        assert_eq!(container["volumeMounts"][0]["name"], "sidetrail-socket");
    }
    review["request"]["object"] = after;
    assert_eq!(cluster.ask(Question::MutateByNamespace, &review).outcome, Outcome::Unchanged);
}
