//! Members of a record's JSON text, borrowed where they can be.
//!
//! As everywhere, a member of another type is as good as absent, and of a repeated member the last counts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Shows each member of the object that `text` is; `false` if it is not one, or is cut off in the middle.
pub(super) fn members<'a>(text: &'a str, each: impl FnMut(&str, &'a str)) -> bool {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Members(each)).and_then(|()| json.end()).is_ok()
}

struct Members<F>(F);

impl<'de, F: FnMut(&str, &'de str)> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            (self.0)(&key, value.get());
        }
        Ok(())
    }
}

/// The elements of the array that `text` is; none if it is something else.
pub(super) fn elements(text: &str) -> Vec<&RawValue> {
    serde_json::from_str(text).unwrap_or_default()
}

/// The text that a value is, if it is one.
pub(super) fn text(value: &str) -> Option<Cow<'_, str>> {
    // Most texts hold no escape, and need no parser.
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<Text<'_>>(value).ok().map(|Text(text)| text)
}

/// A text that is borrowed where it can be.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_texts_are_borrowed_and_unescaped() {
        let mut seen = Vec::new();
        assert!(members(r#"{"a": "x", "\u0062": {"c": [1]}, "a": "\"y\""}"#, |key, value| {
            seen.push((key.to_owned(), value));
        }));
        assert_eq!(seen, [("a".into(), r#""x""#), ("b".into(), r#"{"c": [1]}"#), ("a".into(), r#""\"y\"""#)]);
        assert!(matches!(text(r#""x""#), Some(Cow::Borrowed("x"))));
        assert_eq!(text(r#""\"y\"""#).as_deref(), Some("\"y\""));
        for other in ["1", "null", "{}", ""] {
            assert_eq!(text(other), None, "{other}");
        }
        assert!(!members("[]", |_, _| ()) && !members(r#"{"a":1"#, |_, _| ()));
        assert_eq!(elements("[1, {}]").len(), 2);
        assert_eq!(elements("{}").len(), 0);
    }
}
