//! Values picked out of a JSON text by pointer (RFC 6901).

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Where a value is in a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    text: String,
    tokens: Vec<String>,
}

impl Pointer {
    /// `/items/0/sku`; a slash is put before a text that has none.
    pub(crate) fn new(text: &str) -> Self {
        let text = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
        let tokens =
            text.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
        Self { text, tokens }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The last token that is no index: what the value is called.
    pub(crate) fn name(&self) -> &str {
        let is_index = |token: &&String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
        let name = self.tokens.iter().rev().find(|token| !is_index(token)).or(self.tokens.last());
        name.map_or("", String::as_str)
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(String::as_str)
    }

    /// The text of the value there.
    pub(crate) fn find<'a>(&self, text: &'a str) -> Option<&'a str> {
        let mut value: &'a RawValue = serde_json::from_str(text).ok()?;
        for token in &self.tokens {
            let text = value.get();
            value = if text.starts_with('[') {
                let elements: Vec<&'a RawValue> = serde_json::from_str(text).ok()?;
                elements.get(token.parse::<usize>().ok()?)?
            } else {
                let members: BTreeMap<String, &'a RawValue> = serde_json::from_str(text).ok()?;
                members.get(token)?
            };
        }
        Some(value.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_tokens() {
        let text = r#" {"id": 1.10, "items": [{"sku": "a"}, {"sku": "b"}], "a/b~": {"": null}} "#;
        let find = |pointer: &str| Pointer::new(pointer).find(text);
        assert_eq!(find("/id"), Some("1.10"));
        assert_eq!(find("id"), Some("1.10"));
        assert_eq!(find("/items/1/sku"), Some("\"b\""));
        assert_eq!(find("/items/1"), Some("{\"sku\": \"b\"}"));
        assert_eq!(find("/a~1b~0/"), Some("null"));
        assert_eq!((find("/items/2"), find("/id/x"), find("/x")), (None, None, None));
        assert_eq!((Pointer::new("/items/0").name(), Pointer::new("/items/0/sku").name()), ("items", "sku"));
    }
}
