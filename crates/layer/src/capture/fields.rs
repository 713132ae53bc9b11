//! JSON objects written member by member, names known to differ.

use std::fmt::{Display, Write as _};

use sidetrail_record::Json;

/// The text of an object without its closing brace; empty before the first member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(String);

impl Fields {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(String::with_capacity(capacity))
    }

    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// Length of the text: where to [truncate](Self::truncate) to take back what is added from here on.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// Adds a member whose value `write` appends as JSON.
    pub(crate) fn member(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        push_string(&mut self.0, name);
        self.0.push(':');
        write(&mut self.0);
    }

    pub(crate) fn string(&mut self, name: &str, value: &str) {
        self.member(name, |out| push_string(out, value));
    }

    /// Adds a number or a boolean.
    pub(crate) fn plain(&mut self, name: &str, value: impl Display) {
        // Writing to a string does not fail.
        self.member(name, |out| _ = write!(out, "{value}"));
    }

    /// The object; `None` if it has no members.
    pub(crate) fn finish(mut self) -> Option<Json> {
        if self.0.is_empty() {
            return None;
        }
        self.0.push('}');
        Json::parse(self.0).ok()
    }
}

/// Appends a JSON string.
pub(crate) fn push_string(out: &mut String, text: &str) {
    let is_special = |byte| matches!(byte, b'"' | b'\\' | ..b' ');
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(is_special) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            byte @ (b'"' | b'\\') => out.extend(['\\', char::from(byte)]),
            // Writing to a string does not fail.
            byte => _ = write!(out, "\\u{byte:04x}"),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_make_an_object() {
        assert_eq!(Fields::default().finish(), None);
        let mut fields = Fields::default();
        fields.string("a\"", "b");
        fields.plain("c", 1.5);
        assert_eq!(fields.finish().unwrap().as_str(), r#"{"a\"":"b","c":1.5}"#);
    }

    #[test]
    fn strings_are_escaped_as_json() {
        for text in ["", "a\"b\\c\n\t\u{1}é\u{7f}", "\u{0}"] {
            let mut out = String::new();
            push_string(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
