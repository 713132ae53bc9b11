//! JSON text in, redacted JSON text out, in one pass and without a tree.
//!
//! What is kept is kept to the letter: numbers are not parsed, strings are not unescaped. White space between values
//! goes. What is hidden, numbers and strings with escapes are checked by serde_json, everything else here.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use sidetrail_record::redact::HIDDEN_JSON;

use super::{Redactor, secret};

/// Deeper bodies are not recorded. A record puts a few levels around a body, and common readers stop at 128.
const MAX_DEPTH: usize = 100;

/// The text is not JSON, or nested too deeply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Redactor {
    /// Appends the redacted form of one JSON value.
    pub(crate) fn json(&self, text: &str, out: &mut String) -> Result<(), Malformed> {
        let mut reader = Reader { text, at: 0 };
        self.write(&mut reader, out, 0)?;
        reader.end()
    }

    /// The members of an object, one after the other; `None` if the text does not begin as one.
    pub(crate) fn members<'a>(&'a self, text: &'a str) -> Option<Members<'a>> {
        let mut reader = Reader { text, at: 0 };
        reader.take(b'{').ok()?;
        Some(Members { redactor: self, reader, first: true, depth: 1 })
    }

    fn write<'a>(&'a self, reader: &mut Reader<'a>, out: &mut String, depth: usize) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed);
        }
        match reader.peek()? {
            b'{' => {
                reader.take(b'{')?;
                let mut members =
                    Members { redactor: self, reader: reader.clone(), first: true, depth: depth + 1 };
                let mut separator = '{';
                while let Some(raw) = members.next_raw_name()? {
                    out.push(separator);
                    out.push_str(raw);
                    out.push(':');
                    members.value(&unescape(raw)?, out)?;
                    separator = ',';
                }
                out.push_str(if separator == '{' { "{}" } else { "}" });
                *reader = members.reader;
            }
            b'[' => {
                reader.take(b'[')?;
                out.push('[');
                let mut first = true;
                while reader.more(b']', &mut first)? {
                    if !out.ends_with('[') {
                        out.push(',');
                    }
                    self.write(reader, out, depth + 1)?;
                }
                out.push(']');
            }
            b'"' => {
                let raw = reader.string()?;
                let hidden = secret::looks_secret(&unescape(raw)?);
                out.push_str(if hidden { HIDDEN_JSON } else { raw });
            }
            _ => out.push_str(reader.scalar()?),
        }
        Ok(())
    }
}

/// Members of a JSON object: [`Members::next_name`], then [`Members::value`], and again.
pub(crate) struct Members<'a> {
    redactor: &'a Redactor,
    reader: Reader<'a>,
    first: bool,
    depth: usize,
}

impl<'a> Members<'a> {
    /// The next name; `None` after the last, where the text has to end.
    pub(crate) fn next_name(&mut self) -> Result<Option<Cow<'a, str>>, Malformed> {
        match self.next_raw_name()? {
            Some(raw) => unescape(raw).map(Some),
            None => self.reader.end().map(|()| None),
        }
    }

    /// Appends the redacted value of the member whose name was read last.
    pub(crate) fn value(&mut self, name: &str, out: &mut String) -> Result<(), Malformed> {
        if self.redactor.denies(name) {
            self.reader.skip()?;
            out.push_str(HIDDEN_JSON);
            return Ok(());
        }
        self.redactor.write(&mut self.reader, out, self.depth)
    }

    /// The next name as it stands in the text, with quotes.
    fn next_raw_name(&mut self) -> Result<Option<&'a str>, Malformed> {
        if !self.reader.more(b'}', &mut self.first)? {
            return Ok(None);
        }
        let name = self.reader.string()?;
        self.reader.take(b':')?;
        Ok(Some(name))
    }
}

#[derive(Clone)]
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Result<u8, Malformed> {
        let rest = &self.text.as_bytes()[self.at..];
        let space = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
        self.at += space;
        rest.get(space).copied().ok_or(Malformed)
    }

    /// Only white space is left.
    fn end(&mut self) -> Result<(), Malformed> {
        if self.peek().is_ok() { Err(Malformed) } else { Ok(()) }
    }

    fn take(&mut self, expected: u8) -> Result<(), Malformed> {
        if self.peek()? != expected {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(())
    }

    /// Steps to the next element of an array or object, or past its end.
    fn more(&mut self, close: u8, first: &mut bool) -> Result<bool, Malformed> {
        let first = std::mem::take(first);
        if self.peek()? == close {
            self.at += 1;
            return Ok(false);
        }
        if !first {
            self.take(b',')?;
        }
        Ok(true)
    }

    /// A string with its quotes. Whether its escapes are right is for [`unescape`] to see.
    fn string(&mut self) -> Result<&'a str, Malformed> {
        self.take(b'"')?;
        let start = self.at - 1;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
            let stop = rest.iter().position(is_special).ok_or(Malformed)?;
            self.at += stop + 1;
            match rest[stop] {
                b'"' => return self.text.get(start..self.at).ok_or(Malformed),
                b'\\' => {}
                _ => return Err(Malformed),
            }
            // Whatever is escaped is not the end of the string.
            self.at += 1;
            if self.at >= self.text.len() {
                return Err(Malformed);
            }
        }
    }

    /// A number or literal.
    fn scalar(&mut self) -> Result<&'a str, Malformed> {
        let rest = &self.text[self.at..];
        let length = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
            .count();
        let scalar = &rest[..length];
        serde_json::from_str::<IgnoredAny>(scalar).map_err(|_| Malformed)?;
        self.at += length;
        Ok(scalar)
    }

    /// Steps over a value of any depth.
    fn skip(&mut self) -> Result<(), Malformed> {
        let mut values = serde_json::Deserializer::from_str(&self.text[self.at..]).into_iter::<IgnoredAny>();
        values.next().and_then(Result::ok).ok_or(Malformed)?;
        self.at += values.byte_offset();
        Ok(())
    }
}

/// What a JSON string with its quotes says.
pub(super) fn unescape(raw: &str) -> Result<Cow<'_, str>, Malformed> {
    let inner = raw.get(1..raw.len() - 1).ok_or(Malformed)?;
    if inner.contains('\\') {
        serde_json::from_str(raw).map(Cow::Owned).map_err(|_| Malformed)
    } else {
        Ok(Cow::Borrowed(inner))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};
    use sidetrail_record::redact::HIDDEN;

    use super::*;

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
            prop::sample::select(vec!["1e400", "-", "01", "1.", "true", "nul", "null"])
                .prop_map(str::to_owned),
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
}
