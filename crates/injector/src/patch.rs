//! JSON Patch (RFC 6902), as far as it is needed: things are added, never moved or taken away.

use serde::Serialize;
use serde_json::Value;

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Add {
    op: Op,
    /// Where: a JSON pointer. A last `-` is the end of an array.
    pub path: String,
    /// What.
    pub value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Add,
}

impl Add {
    /// Adds `value` at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { op: Op::Add, path: path.into(), value: value.into() }
    }
}

/// A member's name as a part of a JSON pointer.
#[must_use]
pub fn escape(member: &str) -> String {
    member.replace('~', "~0").replace('/', "~1")
}

/// Adds elements at the end of the array at `path`, which is made if there is none.
pub fn append(patch: &mut Vec<Add>, path: &str, exists: bool, elements: Vec<Value>) {
    if exists {
        let end = format!("{path}/-");
        patch.extend(elements.into_iter().map(|element| Add::new(end.clone(), element)));
    } else if !elements.is_empty() {
        patch.push(Add::new(path, elements));
    }
}

/// Adds members to the object at `path`, which is made if there is none.
pub fn merge(patch: &mut Vec<Add>, path: &str, exists: bool, members: Vec<(&str, String)>) {
    if exists {
        patch.extend(
            members.into_iter().map(|(key, value)| Add::new(format!("{path}/{}", escape(key)), value)),
        );
    } else if !members.is_empty() {
        let members: serde_json::Map<_, _> =
            members.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
        patch.push(Add::new(path, members));
    }
}
