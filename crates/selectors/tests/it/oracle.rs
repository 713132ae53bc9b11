//! The matcher against the rules written down naively, on random selectors and events.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::matching::takes;

/// Values from a small alphabet, so that prefixes, suffixes and equal texts are common.
fn text() -> impl Strategy<Value = String> {
    "[ab]{1,3}"
}

fn list() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 1..4)
}

const OPERATORS: [&str; 6] =
    ["Equals", "StartsWith", "EndsWith", "NotEquals", "NotStartsWith", "NotEndsWith"];
/// Of a store's Data selectors: every operator goes with these.
const FIELDS: [&str; 5] = ["eventName", "eventSource", "eventType", "resources.ARN", "userIdentity.arn"];

/// Conditions on a field: one or more operators. The values of an operator and its opposite do not meet.
fn condition() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(prop::sample::select(&OPERATORS[..]), list(), 1..4).prop_map(|operators| {
        let mut condition: Map<String, Value> =
            operators.into_iter().map(|(operator, values)| (operator.to_owned(), json!(values))).collect();
        for operator in &OPERATORS[..3] {
            let wanted = condition.get(*operator).cloned();
            if let (Some(wanted), Some(unwanted)) = (wanted, condition.get_mut(&format!("Not{operator}"))) {
                let unwanted = unwanted.as_array_mut().unwrap();
                unwanted.retain(|value| !wanted.as_array().unwrap().contains(value));
                unwanted.push(json!("bbbbb"));
            }
        }
        condition
    })
}

fn advanced() -> impl Strategy<Value = Value> {
    let read_only = prop::option::of(any::<bool>());
    let fields = prop::collection::btree_map(prop::sample::select(&FIELDS[..]), condition(), 0..4);
    let selector = (read_only, fields).prop_map(|(read_only, fields)| {
        let mut conditions = vec![
            json!({"Field": "eventCategory", "Equals": ["Data"]}),
            json!({"Field": "resources.type", "Equals": ["A::B::C"]}),
        ];
        conditions.extend(read_only.map(|it| json!({"Field": "readOnly", "Equals": [it.to_string()]})));
        conditions.extend(fields.into_iter().map(|(field, mut condition)| {
            condition.insert("Field".to_owned(), json!(field));
            Value::Object(condition)
        }));
        json!({ "FieldSelectors": conditions })
    });
    prop::collection::vec(selector, 1..3).prop_map(|selectors| json!({ "AdvancedEventSelectors": selectors }))
}

fn basic() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        Just("arn:aws:s3".to_owned()),
        "[ab]{1,2}".prop_map(|bucket| format!("arn:aws:s3:::{bucket}")),
        "[ab]{1,2}/[ab]{0,2}".prop_map(|path| format!("arn:aws:s3:::{path}")),
    ];
    let resources = prop::collection::vec(prop::collection::vec(value, 1..3), 0..3);
    let kinds = prop::sample::select(&["All", "ReadOnly", "WriteOnly"][..]);
    let selector = (kinds, any::<bool>(), resources, prop::collection::vec(text(), 0..3)).prop_map(
        |(kind, management, resources, excluded)| {
            let management = management || resources.is_empty();
            let resources: Vec<_> = resources
                .into_iter()
                .map(|values| json!({"Type": "AWS::S3::Object", "Values": values}))
                .collect();
            let excluded = if management { excluded } else { Vec::new() };
            json!({"ReadWriteType": kind, "IncludeManagementEvents": management, "DataResources": resources,
                "ExcludeManagementEventSources": excluded})
        },
    );
    prop::collection::vec(selector, 1..4).prop_map(|selectors| json!({ "EventSelectors": selectors }))
}

fn event() -> impl Strategy<Value = Value> {
    let arn = prop_oneof![text(), "[ab]{1,2}(/[ab]{0,3})?".prop_map(|path| format!("arn:aws:s3:::{path}"))];
    let kind = prop::sample::select(&["A::B::C", "AWS::S3::Object", "A::B::D"][..]);
    let resource = (prop::option::of(kind), prop::option::of(arn)).prop_map(|(kind, arn)| {
        let mut resource = Map::new();
        resource.extend(kind.map(|kind| ("type".to_owned(), json!(kind))));
        resource.extend(arn.map(|arn| ("ARN".to_owned(), json!(arn))));
        Value::Object(resource)
    });
    let optional = || prop::option::weighted(0.8, text());
    let texts = (optional(), optional(), optional(), optional());
    let category = prop::sample::select(&["Data", "Management", "NetworkActivity"][..]);
    let flags = (category, prop::option::of(any::<bool>()));
    (flags, texts, prop::option::weighted(0.9, prop::collection::vec(resource, 0..4))).prop_map(
        |((category, read_only), (name, source, kind, arn), resources)| {
            let mut event = json!({ "eventCategory": category });
            let mut set = |name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    event[name] = value;
                }
            };
            set("readOnly", read_only.map(Value::from));
            set("eventName", name.map(Value::from));
            set("eventSource", source.map(Value::from));
            set("eventType", kind.map(Value::from));
            set("userIdentity", arn.map(|arn| json!({ "arn": arn })));
            set("resources", resources.map(Value::from));
            event
        },
    )
}

fn holds(condition: &Value, value: Option<&str>) -> bool {
    let strings = |operator: &str| -> Vec<String> {
        condition[operator]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| it.as_str().unwrap().to_owned())
            .collect()
    };
    let mut wanted = Vec::new();
    let mut unwanted = Vec::new();
    for (operator, test) in [
        ("Equals", (|value, text| value == text) as fn(&str, &str) -> bool),
        ("StartsWith", |value, text| value.starts_with(text)),
        ("EndsWith", |value, text| value.ends_with(text)),
    ] {
        wanted.extend(strings(operator).iter().map(|text| value.is_some_and(|value| test(value, text))));
        unwanted.extend(
            strings(&format!("Not{operator}"))
                .iter()
                .map(|text| value.is_some_and(|value| test(value, text))),
        );
    }
    (wanted.is_empty() || wanted.contains(&true)) && !unwanted.contains(&true)
}

fn advanced_takes(selectors: &Value, event: &Value) -> bool {
    selectors["AdvancedEventSelectors"].as_array().unwrap().iter().any(|selector| {
        let conditions = selector["FieldSelectors"].as_array().unwrap();
        let of_event =
            conditions.iter().filter(|it| !it["Field"].as_str().unwrap().starts_with("resources."));
        let event_fits = of_event.clone().all(|condition| {
            let read_only = event["readOnly"].as_bool().map(|it| it.to_string());
            let value = match condition["Field"].as_str().unwrap() {
                "readOnly" => read_only.as_deref(),
                "userIdentity.arn" => event["userIdentity"]["arn"].as_str(),
                field => event[field].as_str(),
            };
            holds(condition, value)
        });
        let none = [Value::Null];
        let resources =
            event["resources"].as_array().filter(|it| !it.is_empty()).map_or(&none[..], |it| &it[..]);
        let resource_fits = resources.iter().any(|resource| {
            conditions.iter().all(|condition| match condition["Field"].as_str().unwrap() {
                "resources.type" => holds(condition, resource["type"].as_str()),
                "resources.ARN" => holds(condition, resource["ARN"].as_str()),
                _ => true,
            })
        });
        event_fits && resource_fits
    })
}

fn basic_takes(selectors: &Value, event: &Value) -> bool {
    selectors["EventSelectors"].as_array().unwrap().iter().any(|selector| {
        let read = event["readOnly"] == true;
        let kind = selector["ReadWriteType"].as_str().unwrap();
        if kind == "ReadOnly" && !read || kind == "WriteOnly" && read {
            return false;
        }
        if event["eventCategory"] == "Management" {
            let excluded = selector["ExcludeManagementEventSources"].as_array().unwrap();
            return selector["IncludeManagementEvents"] == true && !excluded.contains(&event["eventSource"]);
        }
        let fits = |resource: &Value, value: &str| {
            let path = value.strip_prefix("arn:aws:s3:::");
            let arn = resource["ARN"].as_str();
            resource["type"] == "AWS::S3::Object"
                && (value == "arn:aws:s3"
                    || path.is_some_and(|path| path.contains('/'))
                        && arn.is_some_and(|arn| arn.starts_with(value))
                    || arn == Some(value))
        };
        event["eventCategory"] == "Data"
            && event["resources"].as_array().into_iter().flatten().any(|resource| {
                let data = selector["DataResources"].as_array().unwrap().iter();
                data.flat_map(|it| it["Values"].as_array().unwrap())
                    .any(|it| fits(resource, it.as_str().unwrap()))
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn advanced_selectors_are_the_rules(selectors in advanced(), event in event()) {
        prop_assert_eq!(takes(&selectors, &event), advanced_takes(&selectors, &event));
    }

    #[test]
    fn basic_selectors_are_the_rules(selectors in basic(), event in event()) {
        prop_assert_eq!(takes(&selectors, &event), basic_takes(&selectors, &event));
    }
}
