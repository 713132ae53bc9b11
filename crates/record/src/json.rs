//! JSON kept as the text it arrived in.

use std::{fmt, iter};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

/// One valid JSON value, as text. Cloning copies the text; nothing is parsed or re-serialised on the way.
#[derive(Clone)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Checks that `text` is exactly one JSON value and keeps it as it is, surrounding white space aside.
    pub fn parse(text: impl Into<String>) -> Result<Self, serde_json::Error> {
        let text = text.into();
        let trimmed = text.trim_ascii();
        let text = if trimmed.len() == text.len() { text } else { trimmed.to_owned() };
        RawValue::from_string(text).map(Self)
    }

    /// Keeps a text that the caller has made, or checked, as exactly one JSON value without white space around it.
    ///
    /// Nothing is checked again but in debug builds. A text that is no JSON does no harm here: it makes the documents
    /// that hold it invalid, as a serializer with that mistake would.
    #[must_use]
    pub fn from_trusted(text: String) -> Self {
        debug_assert!(
            serde_json::from_str::<&RawValue>(&text).is_ok_and(|value| value.get().len() == text.len()),
            "not one JSON value"
        );
        Box::<RawValue>::deserialize(Trusted(text)).map_or_else(|_| Self::null(), Self)
    }

    /// Like [`Json::parse`], for bytes that are not known to be UTF-8.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes).map(Self)
    }

    /// The JSON text of any serialisable value.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// The value `null`.
    #[must_use]
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Length of the text in bytes: what CloudTrail's limits count.
    #[must_use]
    pub fn size(&self) -> usize {
        self.as_str().len()
    }

    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.as_str() == "null"
    }

    /// Whether this is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.as_str().starts_with('{')
    }

    /// This object with one more member at its end, by splicing text. `null` counts as an empty object; any other
    /// value is returned as it is, since it has no members.
    ///
    /// The caller knows that the object has no member `key` yet.
    #[must_use]
    pub fn with_member(&self, key: &str, value: &Json) -> Self {
        let head = if self.is_null() {
            "{"
        } else if let Some(head) = self.as_str().strip_suffix('}').filter(|_| self.is_object()) {
            head.trim_ascii_end()
        } else {
            return self.clone();
        };
        let comma = if head == "{" { "" } else { "," };
        let key = serde_json::Value::from(key);
        Self::from_trusted(format!("{head}{comma}{key}:{}}}", value.as_str()))
    }
}

/// Hands its text to [`RawValue`] the way serde_json's own deserializer does once it has read a value.
struct Trusted(String);

impl<'de> Deserializer<'de> for Trusted {
    type Error = de::value::Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_string(self.0)
    }

    /// The name that a raw value asks by is the key that it wants to see.
    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_map(de::value::MapDeserializer::new(iter::once((name, self.0))))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl From<Box<RawValue>> for Json {
    fn from(value: Box<RawValue>) -> Self {
        Self(value)
    }
}

impl From<Json> for String {
    /// The text, without copying it.
    fn from(json: Json) -> Self {
        Box::<str>::from(json.0).into()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl PartialEq for Json {
    /// Equal text. Two texts of one value may differ.
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}

/// Members of a JSON object in the order of their arrival, names unique.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members(Vec<(String, Json)>);

impl Members {
    /// No members. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The member's value, if it is there.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets a member, in the place of an older one of the same name.
    pub fn insert(&mut self, key: impl Into<String>, value: Json) {
        let key = key.into();
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.push(key, value),
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: &str) -> Option<Json> {
        let index = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(index).1)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The members in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Json)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Appends a member whose name is known to be new.
    pub(crate) fn push(&mut self, key: String, value: Json) {
        self.0.push((key, value));
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Members::new();
                while let Some((key, value)) = map.next_entry::<String, Json>()? {
                    members.insert(key, value);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn members_are_spliced_into_objects_only() {
        let value = Json::parse("7").unwrap();
        let splice = |text: &str| Json::parse(text).unwrap().with_member("a\"b", &value).as_str().to_owned();
        assert_eq!(splice("{}"), r#"{"a\"b":7}"#);
        assert_eq!(splice(" { } "), r#"{"a\"b":7}"#);
        assert_eq!(splice(r#"{"x":"}"}"#), r#"{"x":"}","a\"b":7}"#);
        assert_eq!(splice("null"), r#"{"a\"b":7}"#);
        assert_eq!(splice("[1]"), "[1]");
    }

    #[test]
    fn trusted_text_is_kept_unread() {
        for text in ["{\"a\":1.10}", "null", "\"é\"", "[]"] {
            let json = Json::from_trusted(text.to_owned());
            assert_eq!(json.as_str(), text);
            assert_eq!(serde_json::to_string(&json).unwrap(), text);
        }
    }

    #[test]
    fn text_is_kept_to_the_letter() {
        for text in ["1.10", "1e400", r#""é""#, r#"{"a" : 18446744073709551616}"#] {
            assert_eq!(Json::parse(text).unwrap().as_str(), text);
            assert_eq!(serde_json::to_string(&Json::from_slice(text.as_bytes()).unwrap()).unwrap(), text);
        }
        assert!(Json::parse("{} {}").is_err());
        assert!(Json::from_slice(b"\"\xff\"").is_err());
    }
}
