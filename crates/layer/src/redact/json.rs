//! JSON text in, redacted JSON text out, in one pass and without a tree.
//!
//! What is kept is kept to the letter: numbers are not parsed, strings are not unescaped, and text goes over in the
//! longest pieces that have nothing to hide. White space between values goes. What is hidden, and strings with escapes,
//! are checked by serde_json, everything else here.

mod text;

use std::borrow::Cow;

use serde::de::IgnoredAny;

use text::{MEANING, Meaning, Text, is_number, unescape};

use super::{Redactor, secret};
use crate::capture::push_string;

/// Deeper bodies are not recorded. A record puts a few levels around a body, and common readers stop at 128.
const MAX_DEPTH: usize = 100;

/// Names whose fate is remembered within one text.
const REMEMBERED: usize = 16;

/// The text is not JSON, or nested too deeply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Redactor {
    /// Appends the redacted form of one JSON value.
    pub(crate) fn json(&self, text: &str, out: &mut String) -> Result<(), Malformed> {
        let mut reader = Reader::new(self, text);
        reader.value(out, 0)?;
        reader.end()
    }

    /// Appends what stands for one JSON value whose name tells that it is a secret.
    pub(crate) fn hidden(&self, text: &str, out: &mut String) -> Result<(), Malformed> {
        let mut reader = Reader::new(self, text);
        reader.hide(out)?;
        reader.end()
    }

    /// The members of an object, one after the other; `None` if the text does not begin as one.
    pub(crate) fn members<'a>(&'a self, text: &'a str) -> Option<Members<'a>> {
        let mut reader = Reader::new(self, text);
        reader.space();
        reader.take(b'{').ok()?;
        Some(Members { reader, first: true })
    }
}

/// Members of a JSON object: [`Members::next_name`], then [`Members::value`] or [`Members::hidden`], and again.
pub(crate) struct Members<'a> {
    reader: Reader<'a>,
    first: bool,
}

impl<'a> Members<'a> {
    /// The next name, as it stands in the text with its quotes and as what it says; `None` after the last, where the
    /// text has to end.
    pub(crate) fn next_name(&mut self) -> Result<Option<(&'a str, Cow<'a, str>)>, Malformed> {
        let reader = &mut self.reader;
        let first = std::mem::take(&mut self.first);
        if reader.space() == Some(b'}') {
            reader.at += 1;
            return reader.end().map(|()| None);
        }
        if !first {
            reader.take(b',')?;
            reader.space();
        }
        let name = reader.string()?;
        reader.space();
        reader.take(b':')?;
        Ok(Some((name.raw, name.text()?)))
    }

    /// Appends the redacted value of the member whose name was read last.
    pub(crate) fn value(&mut self, out: &mut String) -> Result<(), Malformed> {
        self.reader.copied = self.reader.at;
        self.reader.value(out, 1)?;
        self.reader.copy(out);
        Ok(())
    }

    /// Appends what stands for that value if it must not be seen.
    pub(crate) fn hidden(&mut self, out: &mut String) -> Result<(), Malformed> {
        self.reader.copied = self.reader.at;
        self.reader.hide(out)
    }
}

struct Reader<'a> {
    redactor: &'a Redactor,
    text: &'a str,
    at: usize,
    /// Up to here the text is in the output, or left out.
    copied: usize,
    /// Names within objects as they stand in the text, and whether they are denied.
    remembered: [(&'a str, bool); REMEMBERED],
}

impl<'a> Reader<'a> {
    fn new(redactor: &'a Redactor, text: &'a str) -> Self {
        Self { redactor, text, at: 0, copied: 0, remembered: [("", false); REMEMBERED] }
    }

    /// One value of any depth. What of it is not in `out` after that is between `copied` and `at`.
    fn value(&mut self, out: &mut String, depth: usize) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed);
        }
        match self.peek(out)? {
            b'{' => self.object(out, depth),
            b'[' => self.array(out, depth),
            b'"' => {
                let start = self.at;
                let string = self.string()?;
                if string.looks_secret()? {
                    self.replace(start, &string.text()?, out);
                }
                Ok(())
            }
            _ => self.scalar(),
        }?;
        if depth == 0 {
            self.copy(out);
        }
        Ok(())
    }

    fn object(&mut self, out: &mut String, depth: usize) -> Result<(), Malformed> {
        self.at += 1;
        if self.peek(out)? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.peek(out)?;
            let name = self.string()?;
            self.peek(out)?;
            self.take(b':')?;
            if self.denies(&name)? {
                self.hide(out)?;
            } else {
                self.value(out, depth + 1)?;
            }
            match self.peek(out)? {
                b',' => self.at += 1,
                b'}' => break self.at += 1,
                _ => return Err(Malformed),
            }
        }
        Ok(())
    }

    /// Lists have objects with the same names, and those that came last are remembered.
    fn denies(&mut self, name: &Text<'a>) -> Result<bool, Malformed> {
        let slot =
            name.raw.as_bytes().get(1).map_or(0, |first| usize::from(*first) + name.raw.len()) % REMEMBERED;
        let (known, denied) = self.remembered[slot];
        if known == name.raw {
            return Ok(denied);
        }
        let denied = self.redactor.denies(&name.text()?);
        self.remembered[slot] = (name.raw, denied);
        Ok(denied)
    }

    fn array(&mut self, out: &mut String, depth: usize) -> Result<(), Malformed> {
        self.at += 1;
        if self.peek(out)? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(out, depth + 1)?;
            match self.peek(out)? {
                b',' => self.at += 1,
                b']' => break self.at += 1,
                _ => return Err(Malformed),
            }
        }
        Ok(())
    }

    /// Steps over a value of any depth and leaves a mark in its place.
    fn hide(&mut self, out: &mut String) -> Result<(), Malformed> {
        self.peek(out)?;
        let start = self.at;
        let mut values = serde_json::Deserializer::from_str(&self.text[start..]).into_iter::<IgnoredAny>();
        values.next().and_then(Result::ok).ok_or(Malformed)?;
        self.at += values.byte_offset();
        // Codes are of scalars: an object has too many texts to be compared by one.
        let raw = &self.text[start..self.at];
        let value = match raw.as_bytes() {
            _ if !self.redactor.mark.is_keyed() => Cow::Borrowed(""),
            [b'"', ..] => unescape(raw)?,
            [b'{' | b'[', ..] | b"null" => Cow::Borrowed(sidetrail_record::redact::HIDDEN),
            _ => Cow::Borrowed(raw),
        };
        self.replace(start, &value, out);
        Ok(())
    }

    /// Puts a mark in the place of what was read since `start`.
    fn replace(&mut self, start: usize, value: &str, out: &mut String) {
        out.push_str(&self.text[self.copied..start]);
        push_string(out, &self.redactor.mark.of(value));
        self.copied = self.at;
    }

    fn copy(&mut self, out: &mut String) {
        out.push_str(&self.text[self.copied..self.at]);
        self.copied = self.at;
    }

    /// Steps over white space, to the byte behind it.
    fn space(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// The next byte that is no white space. White space does not reach the output.
    #[inline]
    fn peek(&mut self, out: &mut String) -> Result<u8, Malformed> {
        match self.text.as_bytes().get(self.at) {
            Some(byte) if *byte > b' ' => Ok(*byte),
            _ => self.peek_far(out),
        }
    }

    fn peek_far(&mut self, out: &mut String) -> Result<u8, Malformed> {
        let start = self.at;
        let byte = self.space();
        if self.at > start {
            out.push_str(&self.text[self.copied..start]);
            self.copied = self.at;
        }
        byte.ok_or(Malformed)
    }

    /// Only white space is left.
    fn end(&mut self) -> Result<(), Malformed> {
        if self.space().is_some() { Err(Malformed) } else { Ok(()) }
    }

    fn take(&mut self, expected: u8) -> Result<(), Malformed> {
        if self.text.as_bytes().get(self.at) != Some(&expected) {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(())
    }

    /// A string. Its bytes are looked at once, for its end and for what a secret may begin with.
    fn string(&mut self) -> Result<Text<'a>, Malformed> {
        let start = self.at;
        self.take(b'"')?;
        let bytes = self.text.as_bytes();
        let (mut escapes, mut suspicious) = (false, false);
        let mut at = self.at;
        loop {
            let meaning = loop {
                let byte = *bytes.get(at).ok_or(Malformed)?;
                let meaning = MEANING[usize::from(byte)];
                if meaning as u8 != Meaning::Nothing as u8 {
                    break meaning;
                }
                at += 1;
            };
            match meaning {
                Meaning::Nothing | Meaning::End => break,
                Meaning::Escape => {
                    // Whatever is escaped is not the end of the string.
                    escapes = true;
                    at += 1;
                }
                Meaning::Control => return Err(Malformed),
                Meaning::Trigger => suspicious = suspicious || secret::may_be_one(bytes, at),
            }
            at += 1;
        }
        self.at = at + 1;
        Ok(Text { raw: self.text.get(start..self.at).ok_or(Malformed)?, escapes, suspicious })
    }

    /// A number or literal.
    fn scalar(&mut self) -> Result<(), Malformed> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
            .count();
        let scalar = &rest[..length];
        if !matches!(scalar, b"true" | b"false" | b"null") && !is_number(scalar) {
            return Err(Malformed);
        }
        self.at += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
