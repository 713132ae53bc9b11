//! Random pods: what was valid stays valid, what is not the injector's stays as it was, and asking twice changes nothing.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sidetrail_injector::admit::Outcome;
use sidetrail_injector::admit::Question;

use crate::judge::valid;
use crate::pods::{Cluster, review};

fn name() -> impl Strategy<Value = String> {
    "[a-z]([a-z0-9-]{0,8}[a-z0-9])?"
}

/// Maybe a member, and maybe an empty one.
fn maybe<S: Strategy<Value = Value> + 'static>(strategy: S) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![3 => strategy.prop_map(Some), 2 => Just(None)]
}

fn variable() -> impl Strategy<Value = Value> {
    let names = prop_oneof![
        8 => "[A-Z_]{1,12}",
        1 => Just("SIDETRAIL_COLLECTOR".to_owned()),
        1 => Just("SIDETRAIL_NODE".to_owned()),
        1 => Just("SIDETRAIL_DELIVERY".to_owned()),
    ];
    let value = prop_oneof!["[ -~]{0,20}", Just("unix:/run/sidetrail/collector.sock".to_owned())];
    (names, value).prop_map(|(name, value)| json!({ "name": name, "value": value }))
}

fn resources() -> impl Strategy<Value = Value> {
    let quantity = prop_oneof![Just("100m"), Just("1"), Just("0.5"), Just("64Mi"), Just("1Gi")];
    let amounts = move || {
        btree_map(prop_oneof![Just("cpu"), Just("memory"), Just("ephemeral-storage")], quantity.clone(), 0..3)
    };
    prop_oneof![
        amounts().prop_map(|limits| json!({ "limits": limits })),
        amounts().prop_map(|requests| json!({ "requests": requests })),
        amounts().prop_map(|both| json!({ "limits": both, "requests": both })),
        Just(json!({})),
    ]
}

fn container() -> impl Strategy<Value = Value> {
    let port = (1_u16..65_535).prop_map(|port| json!({ "containerPort": port }));
    let port = prop_oneof![port, Just(json!({ "containerPort": 9464 }))];
    let path = prop_oneof![6 => "/[a-z]{1,6}(/[a-z]{1,6})?", 1 => Just("/run/sidetrail".to_owned()), 1 => Just("/run".to_owned())];
    let members = (
        name(),
        maybe(vec(variable(), 0..4).prop_map(Value::from)),
        maybe(vec(port, 0..3).prop_map(Value::from)),
        maybe(resources()),
        maybe(
            any::<bool>().prop_map(|root| json!({ "runAsNonRoot": !root, "allowPrivilegeEscalation": root })),
        ),
        maybe(vec(path, 0..3).prop_map(|paths| {
            let mut paths = paths;
            paths.sort();
            paths.dedup();
            Value::from(
                paths
                    .into_iter()
                    .map(|path| json!({ "name": "data", "mountPath": path }))
                    .collect::<Vec<_>>(),
            )
        })),
        maybe(Just(json!({ "httpGet": { "port": 8080 } }))),
    );
    members.prop_map(|(name, env, ports, resources, security, mounts, probe)| {
        let mut map =
            Map::from_iter([("name".to_owned(), name.into()), ("image".to_owned(), "app:1".into())]);
        for (key, value) in [
            ("env", env),
            ("ports", ports),
            ("resources", resources),
            ("securityContext", security),
            ("volumeMounts", mounts),
            ("livenessProbe", probe),
        ] {
            map.extend(value.map(|value| (key.to_owned(), value)));
        }
        Value::Object(map)
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let annotation = prop_oneof![
        Just(("example.com/a".to_owned(), "b".to_owned())),
        Just(("sidetrail.dev/native".to_owned(), "false".to_owned())),
        Just(("sidetrail.dev/delivery".to_owned(), "guarded".to_owned())),
        Just(("sidetrail.dev/spool-size".to_owned(), "512Mi".to_owned())),
        Just(("sidetrail.dev/trail".to_owned(), "refunds".to_owned())),
        Just(("sidetrail.dev/metrics-port".to_owned(), "9464".to_owned())),
        Just(("prometheus.io/scrape".to_owned(), "true".to_owned())),
    ];
    let members = (
        vec(container(), 1..4),
        maybe(vec(container(), 0..3).prop_map(Value::from)),
        maybe(vec(annotation, 0..4).prop_map(|entries| {
            Value::Object(entries.into_iter().map(|(key, value)| (key, value.into())).collect())
        })),
        maybe(Just(json!({ "app": "shop" }))),
        maybe(prop_oneof![Just("Always"), Just("Never"), Just("OnFailure")].prop_map(Value::from)),
        maybe(any::<bool>().prop_map(Value::from)),
        maybe((0_i64..1000).prop_map(Value::from)),
        maybe(prop_oneof![Just(json!({})), Just(json!({ "fsGroup": 7 })), Just(json!({ "runAsUser": 0 }))]),
    );
    members.prop_map(|(mut containers, mut init, annotations, labels, restart, host, grace, security)| {
        // Names are unique in a pod.
        let inits = init.iter_mut().flat_map(|init| init.as_array_mut().into_iter().flatten());
        for (index, container) in inits.enumerate() {
            if let Some(container) = container.as_object_mut() {
                container["name"] = format!("i{index}").into();
                container.remove("livenessProbe");
            }
        }
        for (index, container) in containers.iter_mut().enumerate() {
            container["name"] = format!("c{index}").into();
        }
        let mut spec = Map::from_iter([
            ("containers".to_owned(), Value::from(containers)),
            ("volumes".to_owned(), json!([{ "name": "data", "emptyDir": {} }])),
        ]);
        for (key, value) in [
            ("initContainers", init),
            ("restartPolicy", restart),
            ("hostNetwork", host),
            ("terminationGracePeriodSeconds", grace),
            ("securityContext", security),
        ] {
            spec.extend(value.map(|value| (key.to_owned(), value)));
        }
        let mut metadata =
            Map::from_iter([("name".to_owned(), "p".into()), ("namespace".to_owned(), "shop".into())]);
        metadata.extend(annotations.map(|value| ("annotations".to_owned(), value)));
        metadata.extend(labels.map(|value| ("labels".to_owned(), value)));
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn valid_in_valid_out(pod in pod(), native in any::<bool>()) {
        prop_assert_eq!(valid::problems(&pod), Vec::<String>::new());
        let mut cluster = Cluster::new("");
        cluster.native = native;
        let review = review(&pod);
        let answered = cluster.ask(Question::MutateByNamespace, &review);
        let in_the_way = pod.to_string().contains(r#""mountPath":"/run/sidetrail""#);
        let expected = if answered.outcome == Outcome::Denied { Outcome::Denied } else { Outcome::Injected };
        prop_assert_eq!(answered.outcome, expected);
        // In classic mode init containers are left alone, so what is in their way is in nobody's.
        prop_assert!(in_the_way || answered.outcome == Outcome::Injected, "{:#}", answered.response);
        let twice = cluster.ask(Question::MutateByNamespace, &review);
        prop_assert_eq!(&answered.patch, &twice.patch, "the same pod, another patch");
        cluster.inject(&review);
    }
}
