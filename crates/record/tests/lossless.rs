//! Reading and writing gives the same JSON value, whatever the record.

#![expect(clippy::expect_used, reason = "a failed expectation is how a test fails")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sidetrail_record::Record;

#[track_caller]
fn check(text: &str) {
    let expected: Value = serde_json::from_str(text).expect("the test's own JSON");
    let record: Record = serde_json::from_str(text).expect("any JSON object is a record");
    let written = serde_json::to_string(&record).expect("a record serialises");
    let value: Value = serde_json::from_str(&written).expect("what was written is JSON");
    assert_eq!(value, expected);
    let again: Record = serde_json::from_str(&written).expect("what was written is a record");
    assert_eq!(again, record, "a second reading changes nothing");
}

#[test]
fn examples_of_the_format() {
    for line in include_str!("../testdata/examples.ndjson").lines() {
        check(line);
    }
}

#[test]
fn values_of_the_wrong_type_are_kept() {
    check(r#"{"eventTime":"redacted","readOnly":"true","resources":[{"ARN":"a"},7],"userIdentity":"root"}"#);
    check(r#"{"eventTime":null,"userAgent":null,"requestParameters":null,"userIdentity":{"type":7}}"#);
    check(r#"{"eventName":"first","eventName":"second"}"#);
    check(r#"{"eventName":7,"eventName":"second"}"#);
    check(r#"{"eventName":"first","eventName":7}"#);
    check(r#"{"other":1,"tlsDetails":{"other":[]},"n":1.10,"big":123456789012345678901234567890}"#);
    check("{}");
}

#[test]
fn only_an_object_is_a_record() {
    for text in ["[]", "null", "7", "\"\"", "{", "{}{}"] {
        assert!(serde_json::from_str::<Record>(text).is_err(), "{text}");
    }
}

/// Names that have a typed field, so that the generator hits them with every kind of value.
const NAMES: &[&str] = &[
    "eventVersion",
    "userIdentity",
    "eventTime",
    "readOnly",
    "resources",
    "requestParameters",
    "tlsDetails",
    "sessionContext",
    "type",
    "ARN",
    "attributes",
    "addendum",
    "managementEvent",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!("2026-01-15T10:41:17Z")),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            members(inner).prop_map(Value::Object),
        ]
    })
}

fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let name = prop_oneof![prop::sample::select(NAMES).prop_map(str::to_owned), ".{0,6}"];
    prop::collection::vec((name, value), 0..8).prop_map(|members| members.into_iter().collect())
}

proptest! {
    #[test]
    fn any_object(object in members(any_json())) {
        check(&Value::Object(object).to_string());
    }
}
