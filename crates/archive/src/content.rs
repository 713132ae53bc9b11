//! A log file's content as one text, for readers that want speed and have the room: where [`crate::log::read_records`]
//! holds a record, this holds all of them.

use std::io::Read;
use std::ops::ControlFlow;

use serde::de::{self, DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sirocco::Format;
use sirocco::inflate::Reader;

use crate::log::ReadError;
use crate::scan::split;

/// Inflates a stored log file, exactly one gzip member of at most `limit` bytes of content, into `content`, which is
/// emptied first.
///
/// # Errors
/// If it is not that.
pub fn inflate(stored: &[u8], limit: u64, content: &mut Vec<u8>) -> Result<(), ReadError> {
    content.clear();
    let mut inflater = Reader::new(Format::Gzip, stored);
    // One byte more than the limit tells a file of exactly that size from a larger one.
    (&mut inflater).take(limit.saturating_add(1)).read_to_end(content).map_err(ReadError::Io)?;
    if content.len() as u64 > limit {
        return Err(ReadError::TooLarge(limit));
    }
    if inflater.into_inner().is_empty() { Ok(()) } else { Err(ReadError::Trailing) }
}

/// Shows `each` record of a log file's content, exactly as it stands there; returns how many there were, or what `each`
/// broke off with.
///
/// # Errors
/// If the content is not `{"Records":[{…},…]}`. Records before the fault have been shown.
///
/// ```
/// use std::ops::ControlFlow;
/// # use sidetrail_archive::{content::each_record, log::ReadError};
/// let mut seen = Vec::new();
/// each_record(br#"{"Records":[{"a":1},{"b":2}]}"#, |record| {
///     seen.push(record);
///     ControlFlow::<()>::Continue(())
/// })?;
/// assert_eq!(seen, [r#"{"a":1}"#, r#"{"b":2}"#]);
/// # Ok::<(), ReadError>(())
/// ```
pub fn each_record<'a, B>(
    content: &'a [u8],
    each: impl FnMut(&'a str) -> ControlFlow<B>,
) -> Result<ControlFlow<B, u64>, ReadError> {
    let mut records = Records { each, count: 0, broken: None };
    let mut json = serde_json::Deserializer::from_slice(content);
    let parsed = json.deserialize_map(&mut records).and_then(|()| json.end());
    match (records.broken, parsed) {
        (Some(broken), _) => Ok(ControlFlow::Break(broken)),
        (None, Ok(())) => Ok(ControlFlow::Continue(records.count)),
        (None, Err(error)) => Err(ReadError::Json(error)),
    }
}

/// Like [`each_record`] for content that is known to be a collector's, by its hash: it is split by brackets alone,
/// and what is between them is not parsed.
///
/// # Errors
/// If the content is not text, or does not have the shape of a log file as collectors write it.
pub fn each_written_record<'a, B>(
    content: &'a [u8],
    each: impl FnMut(&'a str) -> ControlFlow<B>,
) -> Result<ControlFlow<B, u64>, ReadError> {
    let wrong = |what: &str| ReadError::Json(de::Error::custom(what));
    let text = std::str::from_utf8(content).map_err(|_| wrong("it is not UTF-8"))?;
    split(text, each).ok_or_else(|| wrong("its brackets are not those of a log file"))
}

/// Visits the object, then the array in it.
struct Records<F, B> {
    each: F,
    count: u64,
    broken: Option<B>,
}

impl<'a, F: FnMut(&'a str) -> ControlFlow<B>, B> Visitor<'a> for &mut Records<F, B> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with the one key Records, an array of objects")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        match map.next_key::<String>()? {
            Some(key) if key == "Records" => map.next_value_seed(&mut *self)?,
            _ => return Err(de::Error::custom("the first key is not Records")),
        }
        match map.next_key::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(de::Error::custom("something follows Records")),
        }
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut records: A) -> Result<(), A::Error> {
        while let Some(record) = records.next_element::<&'a RawValue>()? {
            if !record.get().starts_with('{') {
                return Err(de::Error::custom("a record is not an object"));
            }
            self.count += 1;
            if let ControlFlow::Break(broken) = (self.each)(record.get()) {
                self.broken = Some(broken);
                return Err(de::Error::custom("broken off"));
            }
        }
        Ok(())
    }
}

impl<'a, F: FnMut(&'a str) -> ControlFlow<B>, B> DeserializeSeed<'a> for &mut Records<F, B> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogWriter;

    #[test]
    fn content_is_what_was_written_and_bounded() {
        let mut writer = LogWriter::new().unwrap();
        writer.push_joined(br#"{"a":"]}"},{}"#, 2).unwrap();
        let file = writer.finish().unwrap();
        let mut content = b"old".to_vec();
        inflate(&file.bytes, file.content_size, &mut content).unwrap();
        assert_eq!(content, br#"{"Records":[{"a":"]}"},{}]}"#);
        let less = inflate(&file.bytes, file.content_size - 1, &mut content);
        assert!(matches!(less, Err(ReadError::TooLarge(_))));
        let twice = [&file.bytes[..], &file.bytes[..]].concat();
        assert!(matches!(inflate(&twice, 1000, &mut content), Err(ReadError::Trailing)));
        let cut = inflate(&file.bytes[..file.bytes.len() - 1], 1000, &mut content);
        assert!(matches!(cut, Err(ReadError::Io(_))));
    }

    #[test]
    fn records_are_shown_until_it_is_enough() {
        let content = br#" {"Records" : [ {"a": 1} , {"b":2},{}]} "#;
        let mut seen = Vec::new();
        let outcome = each_record(content, |record| {
            seen.push(record);
            if seen.len() == 2 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
        });
        assert_eq!(outcome.unwrap(), ControlFlow::Break("enough"));
        assert_eq!(seen, [r#"{"a": 1}"#, r#"{"b":2}"#]);
        for content in ["", "[]", r#"{"Records":[1]}"#, r#"{"Records":[],"x":1}"#, r#"{"Records":[{}]}x"#] {
            let outcome = each_record(content.as_bytes(), |_| ControlFlow::<()>::Continue(()));
            assert!(matches!(outcome, Err(ReadError::Json(_))), "{content}");
        }
    }
}
