//! The words of parameters and answers, for free text.
//!
//! A word is a run of letters, digits, `-` and `_`, without `-` and `_` at its ends, in lower case. So an identifier is
//! one word, and an address of mail two. Words of texts and numbers count; names of members do not. What is asked for is
//! parted in the same way.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What is beyond this of a word is cut off, in bytes: tokens and encoded content are found by their beginning.
pub(super) const MAX_WORD: usize = 64;

/// Words of one record that are found, repetitions included.
pub(super) const MAX_WORDS: usize = 256;

/// Shows each word of a text.
pub(super) fn of_text(text: &str, each: &mut dyn FnMut(&str)) {
    let mut lower = String::new();
    for word in text.split(|char: char| !(char.is_alphanumeric() || matches!(char, '-' | '_'))) {
        let word = word.trim_matches(['-', '_']);
        if word.is_empty() {
            continue;
        }
        let word =
            if word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
                word
            } else {
                lower.clear();
                lower.extend(word.chars().flat_map(char::to_lowercase));
                &lower
            };
        each(cut(word));
    }
}

fn cut(word: &str) -> &str {
    match word.len() {
        0..=MAX_WORD => word,
        _ => &word[..word.floor_char_boundary(MAX_WORD)],
    }
}

/// Shows each word of a JSON value, up to `left` of them, which it counts down. A value that is cut off or nested more
/// than 128 deep is read as far as it goes.
pub(super) fn of_json(value: &str, left: &mut usize, each: &mut dyn FnMut(&str)) {
    let mut json = serde_json::Deserializer::from_str(value);
    // What cannot be read has no words.
    let _ = Words { left, each }.deserialize(&mut json);
}

struct Words<'a> {
    left: &'a mut usize,
    each: &'a mut dyn FnMut(&str),
}

impl Words<'_> {
    fn again(&mut self) -> Words<'_> {
        Words { left: self.left, each: self.each }
    }

    fn text(self, text: &str) {
        of_text(text, &mut |word| {
            if *self.left > 0 {
                *self.left -= 1;
                (self.each)(word);
            }
        });
    }
}

impl<'de> DeserializeSeed<'de> for Words<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if *self.left == 0 {
            return IgnoredAny::deserialize(deserializer).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Words<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.text(text);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.text(&number.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.text(&number.unsigned_abs().to_string());
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.text(&number.to_string());
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.again())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(self.again())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(value: &str) -> Vec<String> {
        let mut words = Vec::new();
        of_json(value, &mut { MAX_WORDS }, &mut |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn words_are_runs_of_what_names_are_made_of() {
        let value = r#"{"orderId": "A8c1-11_x", "mail": ["casey@example.com", 17, -4, true, null, "--"], "n": {"ü": "ÜBER"}}"#;
        assert_eq!(words(value), ["a8c1-11_x", "casey", "example", "com", "17", "4", "über"]);
        assert_eq!(words(r#""cut off"#), [""; 0]);
        assert_eq!(words(r#"["a", "b"#), ["a"]);
    }

    #[test]
    fn words_are_bounded() {
        assert_eq!(words(&format!("\"{}\"", "x".repeat(1000))), ["x".repeat(MAX_WORD)]);
        assert_eq!(words(&format!("\"{}\"", "ü".repeat(100)))[0].len(), MAX_WORD);
        assert_eq!(words(&format!("[{}1]", "1,".repeat(1000))).len(), MAX_WORDS);
        let deep = format!("{}\"x\"{}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(words(&deep), [""; 0]);
    }
}
