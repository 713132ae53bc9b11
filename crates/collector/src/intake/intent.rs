//! The records that intents make: as they are kept, as Incomplete, and the late news after that.

use bytes::Bytes;
use sidetrail_archive::key::Id;
use sidetrail_record::limits::{self, omitted};
use sidetrail_record::{Addendum, Json, Record};
use sidetrail_wire::InvalidCall;
use sidetrail_wire::ingest::v1::Call;
use sidetrail_wire::spool::v1::Intent;

use super::complete::{Completion, Of, Origin, event_id, mark};
use crate::ledger::Original;

/// An intent's record as it is kept. What is larger loses parts, as a record that is too large does.
const MAX_INTENT: usize = 16 << 10;
/// An intent's eventID, which is kept beside the record too. A UUID has 36.
const MAX_EVENT_ID: usize = 128;
/// An intent with its record and its ids, and their tags.
pub(super) const MAX_ENCODED: usize = MAX_INTENT + MAX_EVENT_ID + limits::MAX_TEXT + 64;
/// Below this an omitted member would hardly be smaller than what stands for it.
const OMIT_ABOVE: usize = 256;

/// What is known of a call of which only the intent is.
const INCOMPLETE: &str = "Incomplete";
const INCOMPLETE_MESSAGE: &str = "The process ended, or was cut off, before the call's outcome was recorded. What the call did is not known.";

/// What a completion tells that the record of its intent could not.
const UPDATED_FIELDS: &str = "errorCode,errorMessage,responseElements,additionalEventData";

/// In this order parts leave an intent that is too large: the least telling of who wanted what comes last.
const TRIM_STEPS: [fn(&mut Record); 4] = [
    |record| omit(&mut record.request_parameters, "requestParameters"),
    |record| omit(&mut record.additional_event_data, "additionalEventData"),
    |record| record.user_agent = None,
    |record| record.tls_details = None,
];

/// The intent of a call: its record without what only an outcome can tell.
pub(super) fn render(
    completion: &Completion,
    call: Call,
    source: Id,
    sequence: u64,
    unix_ms: i64,
) -> Result<Intent, InvalidCall> {
    let mut record = completion.complete(call, source, sequence, unix_ms)?;
    record.error_code = None;
    record.error_message = None;
    record.response_elements = Some(Json::null());
    limits::apply(&mut record);
    let event_id = record.event_id.clone().unwrap_or_default();
    if event_id.len() > MAX_EVENT_ID {
        let reason = format!("is {} bytes, the limit for an intent is {MAX_EVENT_ID}", event_id.len());
        return Err(InvalidCall { field: "eventID", reason });
    }
    let request_id = record.request_id.clone().unwrap_or_default();
    let record = trimmed(record)?;
    Ok(Intent { sequence, record, event_id, request_id })
}

fn trimmed(mut record: Record) -> Result<Bytes, InvalidCall> {
    let invalid = |reason: String| InvalidCall { field: "intent", reason };
    let mut trims = TRIM_STEPS.iter();
    loop {
        let text = serde_json::to_vec(&record).map_err(|error| invalid(error.to_string()))?;
        if text.len() <= MAX_INTENT {
            return Ok(text.into());
        }
        let trim = trims.next().ok_or_else(|| {
            invalid(format!("is {} bytes after trimming, the limit is {MAX_INTENT}", text.len()))
        })?;
        trim(&mut record);
    }
}

fn omit(member: &mut Option<Json>, name: &str) {
    if let Some(json) = member
        && json.size() > OMIT_ABOVE
    {
        *json = omitted(name, json.size());
    }
}

/// The record of an intent of `source` that nothing came of, as number `sequence` of the collector's own source. `None`
/// if what was kept is no record, which is what `render` made it.
pub(super) fn incomplete(intent: &Intent, source: Id, own: Id, sequence: u64) -> Option<Record> {
    let mut record: Record = serde_json::from_slice(&intent.record).ok()?;
    record.error_code = Some(INCOMPLETE.to_owned());
    record.error_message = Some(INCOMPLETE_MESSAGE.to_owned());
    record.response_elements = Some(Json::null());
    let of = Some(Of::Other(source, intent.sequence));
    mark(&mut record, Origin { source: own, sequence, intent: of });
    Some(record)
}

/// Makes the record of a completion one that amends the Incomplete record of its intent. CloudTrail gives such a record
/// an id of its own, where a completion in time has that of its intent.
pub(super) fn amend(record: &mut Record, original: &Original, source: Id, sequence: u64) {
    if record.event_id.as_ref() == Some(&original.event_id) {
        record.event_id = Some(event_id(source, sequence));
    }
    record.addendum = Some(Addendum {
        reason: Some("UPDATED_DATA".to_owned()),
        updated_fields: Some(UPDATED_FIELDS.to_owned()),
        original_request_id: original.request_id.clone(),
        original_event_id: Some(original.event_id.clone()),
        ..Addendum::default()
    });
}
