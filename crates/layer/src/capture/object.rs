//! The JSON objects `requestParameters` and `responseElements`, written as text.
//!
//! What a caller sends in three places ends in one object:
//!
//! 1. what the handler set, under its own name; it replaces whatever else came under that name,
//! 2. path parameters, under their own names,
//! 3. query parameters, under their own names; repeated ones as an array,
//! 4. members of a JSON body, under their own names; a body that is no object under `body`.
//!
//! A name that an earlier place has taken is no reason to lose a value: query parameters go to an object `query`, body
//! members to an object `body` then.

use std::{borrow::Cow, collections::HashSet};

use percent_encoding::percent_decode_str;
use sidetrail_record::{Json, redact::HIDDEN};

use super::fields::{Fields, push_string};
use crate::redact::{Malformed, Members, Redactor};

/// Query parameters that are recorded.
const MAX_QUERY: usize = 128;

/// An object under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    fields: Fields,
    /// Names in it, those of the body aside.
    names: HashSet<String>,
    /// What the handler set.
    pinned: HashSet<String>,
}

impl Object {
    /// An object that begins with what the handler set.
    pub(crate) fn with(members: &[(String, Json)]) -> Self {
        let mut object = Self::default();
        for (name, value) in members {
            object.member(name, |out| out.push_str(value.as_str()));
        }
        object.pinned.clone_from(&object.names);
        object
    }

    /// Adds a member whose value `write` appends as JSON. A name that is taken gets an underscore.
    pub(crate) fn member(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        let mut name = name.to_owned();
        while self.names.contains(&name) {
            name.push('_');
        }
        self.fields.member(&name, write);
        self.names.insert(name);
    }

    /// Adds a member that is a text.
    pub(crate) fn string(&mut self, name: &str, value: &str) {
        self.member(name, |out| push_string(out, value));
    }

    /// Adds path parameters; one without a value is hidden.
    pub(crate) fn path(&mut self, parameters: Vec<(&str, Option<Cow<'_, str>>)>, redactor: &Redactor) {
        for (name, value) in parameters {
            if !self.pinned.contains(name) {
                self.string(name, &redactor.value(name, value.unwrap_or(Cow::Borrowed(HIDDEN))));
            }
        }
    }

    /// Adds the parameters of a query string.
    pub(crate) fn query(&mut self, query: &str, redactor: &Redactor) {
        let mut parameters: Vec<(Cow<'_, str>, Vec<Cow<'_, str>>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()).take(MAX_QUERY) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name), decode(value));
            match parameters.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => parameters.push((name, vec![value])),
            }
        }
        let mut clashes = Self::default();
        for (name, mut values) in parameters {
            let target = match self.place(&name) {
                Place::Here => &mut *self,
                Place::Aside => &mut clashes,
                Place::Nowhere => continue,
            };
            let text = |value| redactor.value(&name, value);
            match values.pop() {
                Some(value) if values.is_empty() => target.string(&name, &text(value)),
                last => {
                    let values = values.into_iter().chain(last).map(text);
                    target.member(&name, |out| push_strings(out, values));
                }
            }
        }
        self.aside("query", clashes.fields);
    }

    /// Adds a JSON body. If that is no JSON, the object stays as it was.
    pub(crate) fn body(&mut self, text: &str, redactor: &Redactor) -> Result<(), Malformed> {
        let Some(members) = redactor.members(text) else {
            let mut value = String::with_capacity(text.len());
            redactor.json(text, &mut value)?;
            self.member("body", |out| out.push_str(&value));
            return Ok(());
        };
        let before = self.fields.len();
        self.fields.reserve(text.len());
        let added = self.body_members(members);
        if added.is_err() {
            self.fields.truncate(before);
        }
        added
    }

    /// A name that the body itself repeats is repeated here: that is what the caller sent.
    fn body_members(&mut self, mut members: Members<'_>) -> Result<(), Malformed> {
        let mut clashes = Fields::default();
        let mut skipped = Fields::default();
        while let Some(name) = members.next_name()? {
            let target = match self.place(&name) {
                Place::Here => &mut self.fields,
                Place::Aside => &mut clashes,
                Place::Nowhere => &mut skipped,
            };
            let mut written = Ok(());
            target.member(&name, |out| written = members.value(&name, out));
            written?;
        }
        self.aside("body", clashes);
        Ok(())
    }

    /// The object; `None` if it has no members.
    pub(crate) fn finish(self) -> Option<Json> {
        self.fields.finish()
    }

    fn aside(&mut self, name: &str, clashes: Fields) {
        if let Some(clashes) = clashes.finish() {
            self.member(name, |out| out.push_str(clashes.as_str()));
        }
    }

    fn place(&self, name: &str) -> Place {
        match self.names.contains(name) {
            true if self.pinned.contains(name) => Place::Nowhere,
            false if !matches!(name, "query" | "body") => Place::Here,
            _ => Place::Aside,
        }
    }
}

/// Where a caller's member goes.
enum Place {
    Here,
    /// The name is taken, or kept for clashes.
    Aside,
    /// The handler has set it.
    Nowhere,
}

/// `+` is a space in query strings.
fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let text = text.replace('+', " ");
        Cow::Owned(percent_decode_str(&text).decode_utf8_lossy().into_owned())
    } else {
        percent_decode_str(text).decode_utf8_lossy()
    }
}

fn push_strings<'a>(out: &mut String, values: impl Iterator<Item = Cow<'a, str>>) {
    out.push('[');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_string(out, &value);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(pinned: &[(&str, &str)], path: &[(&str, &str)], query: &str, body: &str) -> Value {
        let pinned: Vec<_> =
            pinned.iter().map(|(name, value)| ((*name).to_owned(), Json::of(value).unwrap())).collect();
        let redactor = Redactor::default();
        let mut object = Object::with(&pinned);
        object
            .path(path.iter().map(|(name, value)| (*name, Some(Cow::Borrowed(*value)))).collect(), &redactor);
        object.query(query, &redactor);
        if !body.is_empty() {
            object.body(body, &redactor).unwrap();
        }
        object.finish().map_or(Value::Null, |json| serde_json::from_str(json.as_str()).unwrap())
    }

    #[test]
    fn three_places_make_one_object() {
        assert_eq!(object(&[], &[], "", ""), Value::Null);
        assert_eq!(
            object(&[], &[("id", "17")], "tag=a&tag=b&q=x+%22y%22&flag", r#"{"note":"n","lines":[1.50]}"#),
            json!({ "id": "17", "tag": ["a", "b"], "q": "x \"y\"", "flag": "", "note": "n", "lines": [1.5] })
        );
        assert_eq!(object(&[], &[], "", "[1,2]"), json!({ "body": [1, 2] }));
    }

    #[test]
    fn a_name_taken_loses_no_value() {
        assert_eq!(
            object(&[], &[("id", "1")], "id=2&a=3&query=4", r#"{"id":5,"a":6,"b":7,"body":8}"#),
            json!({ "id": "1", "a": "3", "query": { "id": "2", "query": "4" }, "b": 7,
                    "body": { "id": 5, "a": 6, "body": 8 } })
        );
        assert_eq!(object(&[("id", "h")], &[("id", "1")], "id=2", r#"{"id":3}"#), json!({ "id": "h" }));
        assert_eq!(
            object(&[], &[("body", "1")], "", r#"{"body":2}"#),
            json!({ "body": "1", "body_": { "body": 2 } })
        );
    }

    #[test]
    fn all_three_are_redacted() {
        assert_eq!(
            object(&[], &[("token", "t")], "password=p&password=q&x=Bearer+abc123", r#"{"pin":1}"#),
            json!({ "token": HIDDEN, "password": [HIDDEN, HIDDEN], "x": HIDDEN, "pin": HIDDEN })
        );
    }

    #[test]
    fn a_body_that_is_no_json_changes_nothing() {
        let mut object = Object::default();
        object.string("a", "b");
        for text in
            ["{\"c\":1", "{\"c\":1}x", &format!("{{\"c\":1,\"d\":{}1{}}}", "[".repeat(200), "]".repeat(200))]
        {
            assert!(object.body(text, &Redactor::default()).is_err());
        }
        assert_eq!(object.finish().unwrap().as_str(), r#"{"a":"b"}"#);
    }
}
