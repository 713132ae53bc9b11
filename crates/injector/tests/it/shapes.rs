//! Pods of every shape, from `testdata/shapes.yaml`: what comes of each is said there, and to the letter in a golden file.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;
use serde_json::Value;
use sidetrail_injector::admit::Question;

use crate::golden::check;
use crate::judge::valid;
use crate::pods::{Cluster, review, testdata};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    /// What becomes of it.
    outcome: String,
    /// Of the cluster: nothing, or that it has no native sidecars.
    #[serde(default)]
    classic_cluster: bool,
    /// Of the injector's configuration.
    #[serde(default)]
    config: String,
    /// Of the namespace.
    #[serde(default)]
    namespace_annotations: BTreeMap<String, String>,
    /// What a warning or the denial says.
    #[serde(default)]
    says: Vec<String>,
    /// A text that the patch has.
    #[serde(default)]
    has: Vec<String>,
    /// A text that it has not.
    #[serde(default)]
    has_not: Vec<String>,
    #[serde(default)]
    metadata: Value,
    spec: Value,
}

#[test]
fn each_shape_becomes_what_is_said_of_it() {
    let text = fs::read_to_string(testdata("shapes.yaml")).unwrap();
    let shapes: BTreeMap<String, Shape> = serde_norway::from_str(&text).unwrap();
    assert!(shapes.len() >= 30, "{}", shapes.len());
    for (name, shape) in shapes {
        let mut cluster = Cluster::new(&shape.config);
        cluster.native = !shape.classic_cluster;
        cluster.namespace.annotations = shape.namespace_annotations;
        let mut metadata = if shape.metadata.is_null() { serde_json::json!({}) } else { shape.metadata };
        if metadata["namespace"].is_null() {
            metadata["namespace"] = "shop".into();
        }
        if metadata["generateName"].is_null() && metadata["name"].is_null() {
            metadata["name"] = name.clone().into();
        }
        let pod = serde_json::json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": shape.spec });
        assert_eq!(valid::problems(&pod), Vec::<String>::new(), "{name}");
        let review = review(&pod);
        let answered = cluster.ask(Question::MutateByNamespace, &review);
        check(&format!("shapes/{name}"), &answered);
        assert_eq!(format!("{:?}", answered.outcome), shape.outcome, "{name}: {:#}", answered.response);
        let (response, patch) = (answered.response.to_string(), answered.patch.to_string());
        for text in shape.says {
            assert!(response.contains(&text), "{name}: {response} does not say {text:?}");
        }
        for text in shape.has {
            assert!(patch.contains(&text), "{name}: {patch} does not have {text:?}");
        }
        for text in shape.has_not {
            assert!(!patch.contains(&text), "{name}: {patch} has {text:?}");
        }
        assert_eq!(cluster.inject(&review).is_some(), shape.outcome == "Injected", "{name}");
    }
}
