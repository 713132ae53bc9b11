//! The JSON objects `requestParameters` and `responseElements`, written as text.
//!
//! What a caller sends in three places ends in one object:
//!
//! 1. what the handler set, under its own name; it replaces whatever else came under that name,
//! 2. path parameters, under their own names,
//! 3. query parameters, under their own names; repeated ones as an array,
//! 4. members of a JSON body or a form, under their own names; a body that is no object under `body`.
//!
//! A name that an earlier place has taken is no reason to lose a value: query parameters go to an object `query`, body
//! members to an object `body` then.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use sidetrail_record::Json;

use super::fields::{Fields, push_string};
use crate::redact::{Malformed, Members, Redactor};

/// Parameters of a query or a form that are recorded.
const MAX_PAIRS: usize = 128;

/// An object under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    fields: Fields,
    /// Names in it, those of the body aside.
    names: Names,
    /// It is `requestParameters`: what a route's allow list has not is hidden.
    is_request: bool,
}

impl Object {
    /// `requestParameters`, beginning with what the handler set.
    pub(crate) fn request(members: &[(String, Json)]) -> Self {
        const USUAL: usize = 192;
        let mut object = Self::response(members);
        object.is_request = true;
        object.fields.reserve(USUAL);
        object.names.reserve();
        object
    }

    /// `responseElements`, beginning with what the handler set.
    pub(crate) fn response(members: &[(String, Json)]) -> Self {
        let mut object = Self::default();
        for (name, value) in members {
            object.member(name, |out| out.push_str(value.as_str()));
        }
        object.names.pin();
        object
    }

    /// Whether what goes under this name must not be seen.
    pub(crate) fn denies(&self, name: &str, redactor: &Redactor) -> bool {
        if self.is_request { redactor.denies_parameter(name) } else { redactor.denies(name) }
    }

    /// Whether a handler or a route has taken this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.find(name).is_some()
    }

    /// Adds a member whose value `write` appends as JSON. A name that is taken gets an underscore.
    pub(crate) fn member(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        let mut name = Cow::Borrowed(name);
        while self.names.find(&name).is_some() {
            name.to_mut().push('_');
        }
        self.fields.named(&name, write);
        self.names.insert(&name);
    }

    /// Adds a member that is a text.
    pub(crate) fn string(&mut self, name: &str, value: &str) {
        self.member(name, |out| push_string(out, value));
    }

    /// Adds path parameters; one without a value is hidden.
    pub(crate) fn path(&mut self, parameters: Vec<(&str, Option<Cow<'_, str>>)>, redactor: &Redactor) {
        for (name, value) in parameters {
            if self.names.find(name) != Some(Taken::Pinned) {
                let value = match value {
                    Some(value) => redactor.parameter(name, value),
                    None => Cow::Borrowed(sidetrail_record::redact::HIDDEN),
                };
                self.string(name, &value);
            }
        }
    }

    /// Adds the parameters of a query string.
    pub(crate) fn query(&mut self, query: &str, redactor: &Redactor) {
        self.pairs("query", query, redactor);
    }

    /// Adds the members of a form, `application/x-www-form-urlencoded`.
    pub(crate) fn form(&mut self, form: &str, redactor: &Redactor) {
        self.pairs("body", form, redactor);
    }

    fn pairs(&mut self, place: &str, text: &str, redactor: &Redactor) {
        let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()).take(MAX_PAIRS) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name);
            let value = redactor.parameter(&name, decode(value));
            pairs.push((name, value));
        }
        let mut clashes = Self::default();
        for (index, (name, value)) in pairs.iter().enumerate() {
            // All that came under a name are where its first one is.
            if pairs[..index].iter().any(|(known, _)| known == name) {
                continue;
            }
            let target = match self.place(name) {
                Place::Here => &mut *self,
                Place::Aside => &mut clashes,
                Place::Nowhere => continue,
            };
            let more: Vec<&str> = pairs[index + 1..]
                .iter()
                .filter(|(other, _)| other == name)
                .map(|(_, value)| &**value)
                .collect();
            if more.is_empty() {
                target.string(name, value);
            } else {
                target.member(name, |out| push_strings(out, std::iter::once(&**value).chain(more)));
            }
        }
        self.aside(place, clashes.fields);
    }

    /// Adds a JSON body. If that is no JSON, the object stays as it was.
    pub(crate) fn body(&mut self, text: &str, redactor: &Redactor) -> Result<(), Malformed> {
        let Some(members) = redactor.members(text) else {
            let mut value = String::with_capacity(text.len());
            if self.denies("body", redactor) {
                redactor.hidden(text, &mut value)?;
            } else {
                redactor.json(text, &mut value)?;
            }
            self.member("body", |out| out.push_str(&value));
            return Ok(());
        };
        let before = self.fields.len();
        self.fields.reserve(text.len() + 1);
        let added = self.body_members(members, redactor);
        if added.is_err() {
            self.fields.truncate(before);
        }
        added
    }

    /// A name that the body itself repeats is repeated here: that is what the caller sent.
    fn body_members(&mut self, mut members: Members<'_>, redactor: &Redactor) -> Result<(), Malformed> {
        let mut clashes = Fields::default();
        let mut skipped = Fields::default();
        while let Some((raw, name)) = members.next_name()? {
            let denied = self.denies(&name, redactor);
            let target = match self.place(&name) {
                Place::Here => &mut self.fields,
                Place::Aside => &mut clashes,
                Place::Nowhere => &mut skipped,
            };
            target.raw_member(raw, |out| if denied { members.hidden(out) } else { members.value(out) })?;
        }
        self.aside("body", clashes);
        Ok(())
    }

    /// The object's text; `None` if it has no members.
    pub(crate) fn finish(self) -> Option<String> {
        self.fields.finish()
    }

    fn aside(&mut self, name: &str, clashes: Fields) {
        if let Some(clashes) = clashes.finish() {
            self.member(name, |out| out.push_str(clashes.as_str()));
        }
    }

    fn place(&self, name: &str) -> Place {
        match self.names.find(name) {
            Some(Taken::Pinned) => Place::Nowhere,
            None if !matches!(name, "query" | "body") => Place::Here,
            _ => Place::Aside,
        }
    }
}

/// Names that are taken: few, so that looking at each is faster than any table.
#[derive(Clone, Debug, Default)]
struct Names {
    /// One after the other.
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
    /// How many of them are the handler's.
    pinned: usize,
}

/// By whom a name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// By the handler.
    Pinned,
    /// By the path, the query, or for clashes.
    Seen,
}

impl Names {
    fn reserve(&mut self) {
        const USUAL: usize = 8;
        self.ends.reserve(USUAL);
        self.text.reserve(USUAL * USUAL);
    }

    fn insert(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }

    /// What is in it is the handler's.
    fn pin(&mut self) {
        self.pinned = self.ends.len();
    }

    fn find(&self, name: &str) -> Option<Taken> {
        let mut start = 0;
        let index = self.ends.iter().position(|end| {
            let known = &self.text[start..*end];
            start = *end;
            known == name
        })?;
        Some(if index < self.pinned { Taken::Pinned } else { Taken::Seen })
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

/// `+` is a space in query strings and forms.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'+' | b'%')) {
        Cow::Borrowed(text)
    } else if text.contains('+') {
        let text = text.replace('+', " ");
        Cow::Owned(percent_decode_str(&text).decode_utf8_lossy().into_owned())
    } else {
        percent_decode_str(text).decode_utf8_lossy()
    }
}

fn push_strings<'a>(out: &mut String, values: impl Iterator<Item = &'a str>) {
    out.push('[');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_string(out, value);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sidetrail_record::redact::HIDDEN;

    use super::*;

    fn object(pinned: &[(&str, &str)], path: &[(&str, &str)], query: &str, body: &str) -> Value {
        let pinned: Vec<_> =
            pinned.iter().map(|(name, value)| ((*name).to_owned(), Json::of(value).unwrap())).collect();
        let redactor = Redactor::default();
        let mut object = Object::request(&pinned);
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
