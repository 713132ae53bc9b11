//! One record on its way: where it stood, and its text if it can be sent.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use sidetrail_record::limits::MAX_RECORD;

use crate::compact::compact;

/// Where a record stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    pub(super) at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The line of an NDJSON file, from 1.
    Line(u64),
    /// The place among the records of a log file, from 1.
    Record(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            At::Line(line) => write!(f, "{}:{line}", self.file),
            At::Record(record) => write!(f, "{}: record {record}", self.file),
        }
    }
}

/// A record that can be sent: a compact JSON object within CloudTrail's limit.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) place: Place,
    pub(super) text: Bytes,
}

/// The text to send for the text of a record, or what is wrong with it: a field, and how.
pub(super) fn check(text: &[u8]) -> Result<Bytes, String> {
    let text = std::str::from_utf8(text).map_err(|error| format!("record is not UTF-8: {error}"))?;
    let text = text.trim_ascii();
    let json: &RawValue =
        serde_json::from_str(text).map_err(|error| format!("record is not a JSON object: {error}"))?;
    if !json.get().starts_with('{') {
        return Err("record is not a JSON object".to_owned());
    }
    let compact = compact(text);
    if compact.len() > MAX_RECORD {
        return Err(too_large(&compact, MAX_RECORD));
    }
    Ok(compact.into())
}

/// Says how much too large a record is, and which member makes it so.
pub(super) fn too_large(record: &[u8], limit: usize) -> String {
    let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(record).unwrap_or_default();
    let largest = members.iter().map(|(name, value)| (value.get().len(), name)).max();
    let by = match largest {
        Some((size, name)) => format!("; the most is {name}, {size} bytes"),
        None => String::new(),
    };
    format!("record is {} bytes, the limit is {limit}{by}", record.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_its_values_and_loses_its_white_space() {
        let text = check(b" { \"eventID\" : \"a b\", \"n\": 1.10 }\r\n").unwrap();
        assert_eq!(&text[..], br#"{"eventID":"a b","n":1.10}"#);
    }

    #[test]
    fn what_is_no_record_is_named() {
        for (text, what) in [
            (&b"[]"[..], "record is not a JSON object"),
            (b"5", "record is not a JSON object"),
            (b"{\"a\":}", "record is not a JSON object: expected value at line 1 column 6"),
            (b"{} {}", "record is not a JSON object: trailing characters"),
            (b"{\"a\":\"\xff\"}", "record is not UTF-8"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.starts_with(what), "{error}");
        }
    }

    #[test]
    fn the_limit_counts_compact_bytes_and_names_the_largest_member() {
        let record = |size: usize| {
            format!("{{  \"eventID\": \"x\", \"requestParameters\": \"{}\"}}", "x".repeat(size))
        };
        let overhead = r#"{"eventID":"x","requestParameters":""}"#.len();
        assert_eq!(check(record(MAX_RECORD - overhead).as_bytes()).unwrap().len(), MAX_RECORD);
        assert_eq!(
            check(record(MAX_RECORD - overhead + 1).as_bytes()).unwrap_err(),
            "record is 262145 bytes, the limit is 262144; the most is requestParameters, 262109 bytes"
        );
    }

    #[test]
    fn places_are_lines_or_records() {
        let file: Arc<str> = "a.json".into();
        assert_eq!(Place { file: file.clone(), at: At::Line(3) }.to_string(), "a.json:3");
        assert_eq!(Place { file, at: At::Record(3) }.to_string(), "a.json: record 3");
    }
}
