//! The redactor beside serde_json, on texts that are JSON and on texts that are not.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sidetrail_record::redact::{HIDDEN, HIDDEN_JSON};

use super::*;
use crate::redact::secret;

fn redact(text: &str) -> Result<String, Malformed> {
    let mut out = String::new();
    Redactor::default().json(text, &mut out).map(|()| out)
}

#[test]
fn secrets_go_and_the_rest_stays_to_the_letter() {
    let text = r#" { "a" : 1.10 , "Pass\u0077ord":{"x":["}",1]}, "b":[1e400,-0,{"api_key":"k"},"Bearer abc123"],
        "c\"":"\\\"é\u00e9" , "d":[ ],"e":{ } } "#;
    let expected = r#"{"a":1.10,"Pass\u0077ord":"H","b":[1e400,-0,{"api_key":"H"},"H"],"c\"":"\\\"é\u00e9","d":[],"e":{}}"#;
    assert_eq!(redact(text).unwrap(), expected.replace("\"H\"", HIDDEN_JSON));
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [
        "",
        "{",
        "}",
        "[1,",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "\"abc",
        "\"abc\\",
        "1 2",
        "[,1]",
        "[1,]",
        "nul",
        "1.",
        "{\"a\":1,}",
        "\u{feff}1",
        "\"\u{1}\"",
        "{\"password\":}",
        "{\"a\":1}}",
        "é",
    ] {
        assert_eq!(redact(text), Err(Malformed), "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(redact(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(redact(&nested(MAX_DEPTH + 2)), Err(Malformed));
    assert!(redact(&format!("{{\"password\":{}}}", nested(100_000))).is_ok());
}

/// A secret that nothing else in the document contains.
const SECRET: &str = "s3cr3t-Z9";

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1.0e15..1.0e15_f64).prop_map(|number| json!(number.trunc())),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => ".{0,12}",
        1 => prop::sample::select(vec!["password", "API-Key", "refreshToken", "Set-Cookie", "cardNumber", "pin"])
            .prop_map(str::to_owned),
    ]
}

/// Puts the secret everywhere where it must not be seen.
fn plant(value: &mut Value, denied: bool) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                plant(value, denied || Redactor::default().denies(key));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| plant(value, denied)),
        other if denied => *other = json!({ "deep": [SECRET], SECRET: SECRET }),
        _ => {}
    }
}

/// What redaction ought to give, on the tree.
fn expected(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| {
                    let denied = Redactor::default().denies(&key);
                    (key, if denied { HIDDEN.into() } else { expected(value) })
                })
                .collect::<Map<_, _>>(),
        ),
        Value::Array(values) => values.into_iter().map(expected).collect(),
        Value::String(text) if secret::looks_secret(&text) => HIDDEN.into(),
        other => other,
    }
}

proptest! {
    #[test]
    fn no_secret_comes_through_and_the_rest_is_equal(mut value in value(), pretty in any::<bool>()) {
        plant(&mut value, false);
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let redacted = redact(&text.unwrap()).unwrap();
        prop_assert!(!redacted.contains(SECRET), "{}", redacted);
        prop_assert_eq!(serde_json::from_str::<Value>(&redacted).unwrap(), expected(value));
    }

    #[test]
    fn any_text_is_read_as_serde_json_reads_it(text in r#"[\[\]{}",:\\ub/a-f0-9eE+. \n\t\x01é-]{0,24}"#) {
        prop_assert_eq!(redact(&text).is_ok(), is_json(&text), "{}", text);
    }

    #[test]
    fn nearly_json_is_read_as_serde_json_reads_it(
        value in value(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), edit()), 1..4),
    ) {
        let mut text: Vec<char> = value.to_string().chars().collect();
        for (at, edit) in edits {
            let at = at.index(text.len() + 1);
            text.splice(at..(at + 1).min(text.len()), edit.chars());
        }
        let text: String = text.into_iter().collect();
        prop_assert_eq!(redact(&text).is_ok(), is_json(&text), "{}", text);
    }
}

/// Takes the place of one character.
fn edit() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        prop::sample::select(vec!["\\u00e9", "\\x", "\\", "\u{1}", "\n"]).prop_map(str::to_owned),
        prop::sample::select(vec!["1e400", "-", "01", "1.", "true", "nul", "null"]).prop_map(str::to_owned),
        r#"[\[\]{}",:\\a-f0-9eE+. \t-]"#,
    ]
}

/// Half a surrogate pair is no text, so we refuse it as serde_json's strings do; a number may be of any size, as in
/// serde_json's raw text.
fn is_json(text: &str) -> bool {
    match serde_json::from_str::<Value>(text) {
        Err(error) if error.to_string().starts_with("number out of range") => {
            serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
        }
        result => result.is_ok(),
    }
}
