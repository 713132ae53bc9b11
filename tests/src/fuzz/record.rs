//! A record is read and written without loss, kept within its limits, and means the same to all who read it.

use serde_json::Value;
use sidetrail_record::limits::{self, MAX_RECORD};
use sidetrail_record::{Json, Record};
use sidetrail_selectors::Peek;

use super::selectors::assert_same_event;

pub(super) const WORDS: &[&str] = &[
    "\"eventVersion\":",
    "\"userIdentity\":",
    "\"eventTime\":",
    "\"eventSource\":",
    "\"eventName\":",
    "\"requestParameters\":",
    "\"responseElements\":",
    "\"additionalEventData\":",
    "\"eventID\":",
    "\"readOnly\":",
    "\"resources\":[",
    "\"ARN\":",
    "\"ARNPrefix\":",
    "\"type\":",
    "\"managementEvent\":",
    "\"eventCategory\":",
    "\"tlsDetails\":{",
    "\"sessionContext\":{",
    "null",
    "true",
    "1e400",
    "-0.0",
    "\\ud800",
    "\\u0000",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:60Z",
    "18446744073709551616",
];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    super::real_records().into_iter().map(String::into_bytes).collect()
}

pub(super) fn check(input: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(input) else { return };
    let text = serde_json::to_string(&record).expect("a record can be written");
    let again: Record = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&again).expect("a record can be written"), text);
    // Not every JSON text is a `Value`: numbers may be too large, and strings no Unicode.
    if let Ok(value) = serde_json::from_slice::<Value>(input) {
        assert_eq!(serde_json::from_str::<Value>(&text).expect("the same value"), value);
    }

    let mut trimmed = record.clone();
    let mut out = Vec::new();
    match limits::write(&mut trimmed, &mut out) {
        Ok(()) => {
            assert!(out.len() <= MAX_RECORD);
            Json::from_slice(&out).expect("JSON");
            let mut twice = Vec::new();
            limits::write(&mut trimmed, &mut twice).expect("it fits");
            assert_eq!(twice, out, "what keeps the limits is not changed");
        }
        Err(error) => assert!(out.is_empty() && error.size > MAX_RECORD),
    }

    let peek: Peek<'_> = serde_json::from_str(&text).expect("a record");
    assert_same_event(&record, &peek);
}
