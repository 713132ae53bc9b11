//! What a call changed: before and after, as a JSON Patch.

use json_patch::{AddOperation, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::Value;
use sidetrail_record::limits;

use crate::{
    capture::{Fields, push_string},
    redact::Redactor,
};

/// Operations of one record.
const MAX_OPERATIONS: usize = 128;

/// And how many bytes of JSON they are.
const MAX_BYTES: usize = 16 * 1024;

/// Operations so far.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// As JSON, with commas between them; empty once there are too many.
    text: String,
    count: usize,
    /// Of all of them.
    size: usize,
}

/// What has changed: one operation after the other, redacted.
pub(crate) fn operations(
    before: &Value,
    after: &Value,
    resource: Option<&str>,
    redactor: &Redactor,
) -> Vec<String> {
    let patch = json_patch::diff(before, after);
    patch.iter().filter_map(|operation| write(operation, resource, redactor)).collect()
}

impl Change {
    pub(crate) fn add(&mut self, operations: &[String]) {
        for operation in operations {
            self.count += 1;
            self.size += operation.len() + 1;
            if self.is_too_large() {
                self.text = String::new();
                continue;
            }
            if !self.text.is_empty() {
                self.text.push(',');
            }
            self.text.push_str(operation);
        }
    }

    fn is_too_large(&self) -> bool {
        self.count > MAX_OPERATIONS || self.size > MAX_BYTES
    }

    /// The patch, or what stands for it; `None` if nothing has changed.
    pub(crate) fn json(&self) -> Option<String> {
        if self.count == 0 {
            None
        } else if self.is_too_large() {
            Some(limits::omitted("change", self.size).into())
        } else {
            Some(format!("[{}]", self.text))
        }
    }
}

/// One operation as JSON. A difference has no others than these three.
fn write(operation: &PatchOperation, resource: Option<&str>, redactor: &Redactor) -> Option<String> {
    let (name, value) = match operation {
        PatchOperation::Add(AddOperation { value, .. }) => ("add", Some(value)),
        PatchOperation::Replace(ReplaceOperation { value, .. }) => ("replace", Some(value)),
        PatchOperation::Remove(RemoveOperation { .. }) => ("remove", None),
        PatchOperation::Move(_) | PatchOperation::Copy(_) | PatchOperation::Test(_) => return None,
    };
    let mut fields = Fields::default();
    fields.string("op", name);
    fields.string("path", operation.path().as_str());
    if let Some(value) = value {
        let value = redacted(value, operation, redactor)?;
        fields.member("value", |out| out.push_str(&value));
    }
    if let Some(resource) = resource {
        fields.member("resource", |out| push_string(out, &redactor.text(resource.into())));
    }
    fields.finish()
}

fn redacted(value: &Value, operation: &PatchOperation, redactor: &Redactor) -> Option<String> {
    let text = value.to_string();
    let mut out = String::new();
    if operation.path().tokens().any(|token| redactor.denies(&token.decoded())) {
        redactor.hidden(&text, &mut out).ok()?;
    } else {
        redactor.json(&text, &mut out).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(before: &Value, after: &Value) -> Value {
        let mut change = Change::default();
        let redactor = Redactor::default();
        let patch = json_patch::diff(before, after);
        let operations: Vec<_> =
            patch.iter().filter_map(|operation| write(operation, None, &redactor)).collect();
        change.add(&operations);
        change.json().map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn differences_are_patches_without_secrets() {
        assert_eq!(change(&json!({ "a": 1 }), &json!({ "a": 1 })), Value::Null);
        let hidden = "HIDDEN_DUE_TO_SECURITY_REASONS";
        let before = json!({ "a": 1, "credentials": { "x": 1 }, "note": "n", "gone": 1 });
        let after =
            json!({ "a": 2, "credentials": { "x": 2 }, "note": "Bearer abc123", "new": { "pin": 1 } });
        assert_eq!(
            change(&before, &after),
            json!([
                { "op": "replace", "path": "/a", "value": 2 },
                { "op": "replace", "path": "/credentials/x", "value": hidden },
                { "op": "add", "path": "/new", "value": { "pin": hidden } },
                { "op": "replace", "path": "/note", "value": hidden },
                { "op": "remove", "path": "/gone" },
            ])
        );
    }

    #[test]
    fn what_is_too_long_is_omitted_whole() {
        let long = change(&json!({}), &json!({ "a": "x".repeat(MAX_BYTES) }));
        assert_eq!((&long["reason"], &long["omitted"]), (&json!("change too large"), &json!(true)));
        let many = change(&json!([]), &json!(vec![0; MAX_OPERATIONS + 1]));
        assert_eq!(many["omitted"], true);
    }
}
