//! What the collector adds to an event, so that an application configures neither account nor region.

use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Account, Id, Region};
use sidetrail_record::limits::{MAX_ADDITIONAL, omitted};
use sidetrail_record::{EventTime, Json, Members, Record, UserIdentity};
use sidetrail_wire::InvalidCall;
use sidetrail_wire::ingest::v1::Call;

/// Name of our member in `additionalEventData`.
const MARK: &str = "sidetrail";
/// The mark is at most `,"sidetrail":{"source":"…","sequence":…}` with 36 characters and 20 digits: 96 bytes.
const MARK_ROOM: usize = 128;

/// What every record of a collector has in common.
#[derive(Clone, Debug)]
pub(crate) struct Completion {
    pub(crate) account: Account,
    pub(crate) region: Region,
}

impl Completion {
    /// The record of a call, with every member that CloudTrail always has.
    pub(crate) fn record(
        &self,
        call: Call,
        source: Id,
        sequence: u64,
        unix_ms: i64,
    ) -> Result<Record, InvalidCall> {
        let mut record = Record::try_from(call)?;
        record.event_version = Some(Record::EVENT_VERSION.to_owned());
        record.aws_region = Some(self.region.as_str().to_owned());
        record.recipient_account_id = Some(self.account.as_str().to_owned());
        record.event_type.get_or_insert_with(|| "AwsApiCall".to_owned());
        let category = record.event_category.get_or_insert_with(|| "Management".to_owned());
        let management = category == "Management";
        record.management_event.get_or_insert(management);
        record.event_id.get_or_insert_with(|| event_id(source, sequence));
        if record.event_time.is_none() {
            record.event_time = EventTime::from_unix_seconds(unix_ms.div_euclid(1000));
        }
        record.source_ip_address.get_or_insert_with(|| "AWS Internal".to_owned());
        record.user_identity.get_or_insert_with(|| UserIdentity {
            kind: Some("Unknown".to_owned()),
            principal_id: Some("anonymous".to_owned()),
            ..UserIdentity::default()
        });
        record.request_parameters.get_or_insert_with(Json::null);
        record.response_elements.get_or_insert_with(Json::null);
        let data = record.additional_event_data.take().unwrap_or_else(Json::null);
        record.additional_event_data = Some(marked(data, source, sequence));
        Ok(record)
    }
}

/// `data` with our mark, which an application cannot forge. Both together keep CloudTrail's limit: data that leaves no
/// room for the mark is omitted, as data over the limit is.
fn marked(data: Json, source: Id, sequence: u64) -> Json {
    let data = if data.as_str().contains(MARK) { without_mark(data) } else { data };
    let data = match data.size() {
        size if size > MAX_ADDITIONAL - MARK_ROOM => omitted("additionalEventData", size),
        _ => data,
    };
    // A UUID and a number in quotes and braces: this is JSON.
    let mark = Json::parse(format!(r#"{{"source":"{source}","sequence":{sequence}}}"#));
    mark.map_or_else(|_| data.clone(), |mark| data.with_member(MARK, &mark))
}

fn without_mark(data: Json) -> Json {
    let Ok(mut members) = serde_json::from_str::<Members>(data.as_str()) else { return data };
    if members.remove(MARK).is_none() {
        return data;
    }
    Json::of(&members).unwrap_or(data)
}

/// An id for an event that came without one: the same whenever the event is rendered.
fn event_id(source: Id, sequence: u64) -> String {
    let digest = Sha256::of(format!("{source}/{sequence}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_bytes()[..16]);
    // Version 8, RFC 9562: the rest is ours to choose.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Id(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn completion() -> Completion {
        Completion { account: "111122223333".parse().unwrap(), region: "eu-west-1".parse().unwrap() }
    }

    fn complete(call: Call) -> Value {
        serde_json::to_value(completion().record(call, Id([7; 16]), 3, 1_768_473_677_999).unwrap()).unwrap()
    }

    #[test]
    fn an_empty_call_gets_every_member_that_cloudtrail_always_has() {
        let source = "07070707-0707-0707-0707-070707070707";
        let record = complete(Call::default());
        assert_eq!(
            record,
            json!({
                "eventVersion": "1.11",
                "userIdentity": {"type": "Unknown", "principalId": "anonymous"},
                "eventTime": "2026-01-15T10:41:17Z",
                "awsRegion": "eu-west-1",
                "sourceIPAddress": "AWS Internal",
                "requestParameters": null,
                "responseElements": null,
                "additionalEventData": {"sidetrail": {"source": source, "sequence": 3}},
                "eventID": record["eventID"],
                "eventType": "AwsApiCall",
                "managementEvent": true,
                "recipientAccountId": "111122223333",
                "eventCategory": "Management",
            })
        );
        assert_eq!(record["eventID"].as_str().map(str::len), Some(36));
        assert_eq!(record["eventID"], complete(Call::default())["eventID"], "the same every time");
    }

    #[test]
    fn the_mark_cannot_be_forged() {
        let data = r#"{"a":"sidetrail","sidetrail":{"source":"x","sequence":1},"b":1.10}"#;
        let record = complete(Call { additional_event_data: Some(data.into()), ..Call::default() });
        assert_eq!(record["additionalEventData"]["sidetrail"]["sequence"], 3);
        assert_eq!(record["additionalEventData"]["a"], "sidetrail");
    }

    #[test]
    fn the_mark_has_room_whatever_the_data() {
        for size in (MAX_ADDITIONAL - 200..MAX_ADDITIONAL + 200).chain([40_000]) {
            let data = format!(r#"{{"a":"{}"}}"#, "x".repeat(size - 8));
            let call = Call { additional_event_data: Some(data.into()), ..Call::default() };
            let mut record = completion().record(call, Id([7; 16]), 1 << 62, 0).unwrap();
            let mut text = Vec::new();
            sidetrail_record::limits::write(&mut record, &mut text).unwrap();
            let record: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(record["additionalEventData"]["sidetrail"]["sequence"], 1_u64 << 62, "{size}");
            assert_eq!(
                record["additionalEventData"]["omitted"].is_null(),
                size <= MAX_ADDITIONAL - MARK_ROOM,
                "{size}"
            );
        }
    }
}
