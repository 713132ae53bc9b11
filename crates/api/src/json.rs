//! Request bodies: JSON within bounds.
//!
//! A body is looked through once before it is read: how deep it is, and that no object has a member twice, since two
//! readers of such a document may see two documents.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{Code, Error, quoted};

/// Bytes of a body.
pub const MAX_BODY: usize = 1 << 20;
/// How deep objects and lists may lie in each other. The deepest input of the API has 7 levels.
pub const MAX_DEPTH: usize = 32;

/// Reads a request body. No body is an empty object.
///
/// # Errors
/// `SerializationException`, with the member where reading ended; `RequestEntityTooLargeException`.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    if body.len() > MAX_BODY {
        return Err(too_large(MAX_BODY));
    }
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let wrong = |what: String| Error::new(Code::Serialization, quoted(&what));
    let mut reader = serde_json::Deserializer::from_slice(body);
    Checked { depth: 0, root: true }.deserialize(&mut reader).map_err(|error| wrong(error.to_string()))?;
    reader.end().map_err(|error| wrong(error.to_string()))?;

    part(&mut serde_json::Deserializer::from_slice(body)).map_err(wrong)
}

/// Reads a part of a body that was read as JSON before; what is wrong is told by its member.
///
/// # Errors
/// A text, for an error of the caller's choice.
pub fn part<'de, T: Deserialize<'de>, D: Deserializer<'de>>(reader: D) -> Result<T, String> {
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().to_string();
        if path == "." { error.inner().to_string() } else { format!("{path}: {}", error.inner()) }
    })
}

/// A body of more bytes than there may be.
#[must_use]
pub fn too_large(limit: usize) -> Error {
    Error::new(Code::RequestEntityTooLarge, format!("the body of a request has at most {limit} bytes"))
}

/// Looks at everything and keeps nothing.
#[derive(Clone, Copy)]
struct Checked {
    depth: usize,
    root: bool,
}

impl Checked {
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!("more than {MAX_DEPTH} levels of objects and lists")));
        }
        Ok(Self { depth: self.depth + 1, root: false })
    }

    fn plain<E: de::Error>(self) -> Result<(), E> {
        if self.root { Err(E::custom("a body is a JSON object")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                return Err(de::Error::custom(format!("member {} comes twice", quoted(&name))));
            }
            names.insert(name);
            map.next_value_seed(inner)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.plain()?;
        let inner = self.inner()?;
        while list.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.plain()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.plain()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.plain()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.plain()
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        self.plain()
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.plain()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "PascalCase", default)]
    struct Input {
        name: Option<String>,
        inner: Option<Box<Input>>,
    }

    fn error(body: &str) -> String {
        let error = read::<Input>(body.as_bytes()).unwrap_err();
        assert_eq!(error.code, Code::Serialization);
        error.message
    }

    #[test]
    fn a_body_is_an_object() {
        assert_eq!(read::<Input>(b" \n").unwrap(), Input::default());
        assert_eq!(read::<Input>(br#"{"Other": [1, {"a": null}]}"#).unwrap(), Input::default());
        for body in ["1", "null", "[]", "\"a\"", "true"] {
            assert!(error(body).contains("a JSON object"), "{body}");
        }
        assert!(error("{} {}").contains("trailing"));
        assert!(error("{").contains("EOF"));
        assert!(
            error(r#"{"Name": "a\ud800"}"#).contains("surrogate")
                || !error(r#"{"Name": "a\ud800"}"#).is_empty()
        );
    }

    #[test]
    fn members_come_once() {
        assert!(error(r#"{"Name": "a", "Name": "b"}"#).contains("member Name comes twice"));
        assert!(error(r#"{"Name": "a", "\u004eame": "b"}"#).contains("member Name comes twice"));
        assert!(error(r#"{"Other": [{"a": 1, "a": 2}]}"#).contains("member a comes twice"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(error(r#"{"Inner": {"Name": 7}}"#).starts_with("Inner.Name: invalid type"));
    }

    #[test]
    fn bombs_are_refused() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(error(&deep).contains("32 levels"));
        let fits = format!("{{\"a\":{}{}}}", "[".repeat(31), "]".repeat(31));
        assert!(read::<Input>(fits.as_bytes()).is_ok());
        let large = vec![b' '; MAX_BODY + 1];
        assert_eq!(read::<Input>(&large).unwrap_err().code, Code::RequestEntityTooLarge);
    }
}
