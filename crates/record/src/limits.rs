//! CloudTrail's size limits and what happens beyond them.
//!
//! Texts are cut, JSON members are omitted whole. Source: the user guide's pages on record contents and on quotas. What
//! takes an omitted member's place is not documented by AWS; the form seen in real records is
//! `{"reason":"requestParameters too large","omitted":true,"originalSize":123456}`. The order in which members go when
//! the whole record is too large is the one documented for event data stores.

use std::fmt;

use crate::{Json, JsonRef, Record, RecordRef};

/// A whole record: 256 KiB.
pub const MAX_RECORD: usize = 256 * 1024;
/// `userAgent`, `errorCode`, `errorMessage`, `requestID` are cut here: 1 KiB.
pub const MAX_TEXT: usize = 1024;
/// `requestParameters`, `responseElements`, `serviceEventDetails` are omitted above: 100 KiB.
pub const MAX_PARAMETERS: usize = 100 * 1024;
/// `additionalEventData`, `edgeDeviceDetails` are omitted above: 28 KiB.
pub const MAX_ADDITIONAL: usize = 28 * 1024;

/// The record is over [`MAX_RECORD`] even with everything gone that may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Size of what is left, in bytes of JSON.
    pub size: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "record is {} bytes after trimming, the limit is {MAX_RECORD}", self.size)
    }
}

impl std::error::Error for TooLarge {}

/// Appends the JSON text of `record` to `out`, within every limit: texts cut, members omitted, and where the record as a
/// whole is still too large, members taken away until it fits. A record that keeps the limits is not changed.
///
/// On an error `out` is as it was.
pub fn write(record: &mut Record, out: &mut Vec<u8>) -> Result<(), TooLarge> {
    apply(record);
    let start = out.len();
    let mut trims = TRIM_STEPS.iter();
    loop {
        // Writing to memory does not fail, and every part of a record serialises.
        let written = serde_json::to_writer(&mut *out, record).is_ok();
        let size = if written { out.len() - start } else { usize::MAX };
        if size <= MAX_RECORD {
            return Ok(());
        }
        out.truncate(start);
        trims.next().ok_or(TooLarge { size })?(record);
    }
}

/// Appends the JSON text of `record` if it keeps every limit as it is, which nearly all do, and answers whether it did.
///
/// If not, `out` is as it was: what has to be trimmed is for [`write()`].
pub fn write_whole(record: &RecordRef<'_>, out: &mut Vec<u8>) -> bool {
    let texts = [&record.user_agent, &record.error_code, &record.error_message, &record.request_id];
    let parameters = [&record.request_parameters, &record.response_elements, &record.service_event_details];
    let additional = [&record.additional_event_data, &record.edge_device_details];
    let within = |members: &[&Option<JsonRef<'_>>], limit| {
        members.iter().copied().flatten().all(|json| json.size() <= limit)
    };
    if texts.into_iter().flatten().any(|text| text.len() > MAX_TEXT)
        || !within(&parameters, MAX_PARAMETERS)
        || !within(&additional, MAX_ADDITIONAL)
    {
        return false;
    }
    let start = out.len();
    record.write(out);
    if out.len() - start > MAX_RECORD {
        out.truncate(start);
        return false;
    }
    true
}

/// Cuts the texts and omits the members that are over their own limits.
pub fn apply(record: &mut Record) {
    for text in
        [&mut record.user_agent, &mut record.error_code, &mut record.error_message, &mut record.request_id]
            .into_iter()
            .flatten()
    {
        cut(text, MAX_TEXT);
    }
    omit_above(&mut record.request_parameters, "requestParameters", MAX_PARAMETERS);
    omit_above(&mut record.response_elements, "responseElements", MAX_PARAMETERS);
    omit_above(&mut record.service_event_details, "serviceEventDetails", MAX_PARAMETERS);
    omit_above(&mut record.additional_event_data, "additionalEventData", MAX_ADDITIONAL);
    omit_above(&mut record.edge_device_details, "edgeDeviceDetails", MAX_ADDITIONAL);
}

/// Cuts `text` to at most `limit` bytes, at a character boundary.
pub fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
}

/// What stands for a member that was `size` bytes and had to go.
#[must_use]
pub fn omitted(name: &str, size: usize) -> Json {
    // `name` is one of CloudTrail's member names, so the text is JSON.
    Json::from_trusted(format!(r#"{{"reason":"{name} too large","omitted":true,"originalSize":{size}}}"#))
}

fn omit_above(member: &mut Option<Json>, name: &str, limit: usize) {
    if let Some(json) = member
        && json.size() > limit
    {
        *json = omitted(name, json.size());
    }
}

/// The order in which members leave a record that is too large as a whole.
///
/// `errorCode` has its turn in AWS's order and stays here: without it a failure would read as a success.
const TRIM_STEPS: [fn(&mut Record); 8] = [
    |record| record.request_id = None,
    |record| trim(&mut record.additional_event_data, "additionalEventData"),
    |record| trim(&mut record.service_event_details, "serviceEventDetails"),
    |record| record.user_agent = None,
    |record| record.event_context = None,
    |record| trim(&mut record.response_elements, "responseElements"),
    |record| trim(&mut record.request_parameters, "requestParameters"),
    |record| record.error_message = None,
];

/// Below this an omitted member would hardly be smaller than its mark.
const TRIM_ABOVE: usize = 256;

fn trim(member: &mut Option<Json>, name: &str) {
    omit_above(member, name, TRIM_ABOVE);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json_of(size: usize) -> Json {
        Json::parse(format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8))).unwrap()
    }

    #[test]
    fn a_record_within_limits_stays_as_it_is() {
        let mut record = Record {
            user_agent: Some("é".repeat(MAX_TEXT / 2)),
            request_parameters: Some(json_of(MAX_PARAMETERS)),
            additional_event_data: Some(json_of(MAX_ADDITIONAL)),
            ..Record::default()
        };
        let before = record.clone();
        write(&mut record, &mut Vec::new()).unwrap();
        assert_eq!(record, before);
    }

    #[test]
    fn texts_are_cut_at_a_character_boundary() {
        let mut record =
            Record { error_message: Some(format!("a{}", "é".repeat(1000))), ..Record::default() };
        write(&mut record, &mut Vec::new()).unwrap();
        let text = record.error_message.unwrap();
        assert_eq!(text.len(), MAX_TEXT - 1);
        assert!(text.ends_with('é'));
    }

    #[test]
    fn members_above_their_limit_are_omitted_whole() {
        let mut record = Record {
            request_parameters: Some(json_of(MAX_PARAMETERS + 1)),
            additional_event_data: Some(json_of(MAX_ADDITIONAL + 1)),
            ..Record::default()
        };
        write(&mut record, &mut Vec::new()).unwrap();
        assert_eq!(
            record.request_parameters.unwrap().as_str(),
            r#"{"reason":"requestParameters too large","omitted":true,"originalSize":102401}"#
        );
        assert_eq!(
            record.additional_event_data.unwrap().as_str(),
            r#"{"reason":"additionalEventData too large","omitted":true,"originalSize":28673}"#
        );
    }

    #[test]
    fn a_record_too_large_as_a_whole_loses_parts_in_order() {
        let mut record = Record {
            request_parameters: Some(json_of(MAX_PARAMETERS)),
            response_elements: Some(json_of(MAX_PARAMETERS)),
            service_event_details: Some(json_of(MAX_PARAMETERS)),
            additional_event_data: Some(json_of(1000)),
            error_message: Some("kept".to_owned()),
            ..Record::default()
        };
        write(&mut record, &mut Vec::new()).unwrap();
        assert!(record.additional_event_data.unwrap().as_str().contains("omitted"));
        assert!(record.service_event_details.unwrap().as_str().contains("omitted"));
        assert_eq!(record.response_elements.unwrap().size(), MAX_PARAMETERS);
        assert_eq!(record.error_message.as_deref(), Some("kept"));
    }

    #[test]
    fn what_nothing_can_shrink_is_refused() {
        let mut record = Record::default();
        record.other.insert("novelty", json_of(MAX_RECORD));
        let mut out = b"before".to_vec();
        let error = write(&mut record, &mut out).unwrap_err();
        assert_eq!(out, b"before");
        assert!(error.size > MAX_RECORD, "{error}");
    }
}
