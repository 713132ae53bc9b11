//! What the collector adds to an event, so that an application configures neither account nor region.

use std::borrow::Cow;
use std::fmt::Write;

use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Account, Id, Region};
use sidetrail_record::limits::{self, MAX_ADDITIONAL, omitted};
use sidetrail_record::{EventTime, Json, JsonRef, Members, Record, Resource, UserIdentity, UserIdentityRef};
use sidetrail_wire::InvalidCall;
use sidetrail_wire::ingest::v1::Call;

/// Name of our member in `additionalEventData`.
const MARK: &str = "sidetrail";
/// The mark is at most `,"sidetrail":{"source":"…","sequence":…,"intent":{"source":"…","sequence":…}}` with twice 36
/// characters and 20 digits: 186 bytes.
const MARK_ROOM: usize = 256;

/// What stands in an ARN for what an application does not know. The layer encodes braces in values, so that nothing a
/// caller sends can be one of these.
const PLACEHOLDER_ACCOUNT: &str = "{account}";
const PLACEHOLDER_REGION: &str = "{region}";

/// What a call is that does not say.
const DEFAULT_TYPE: &str = "AwsApiCall";
const DEFAULT_CATEGORY: &str = "Management";
const DEFAULT_ADDRESS: &str = "AWS Internal";
const DEFAULT_IDENTITY: (&str, &str) = ("Unknown", "anonymous");

/// What every record of a collector has in common.
#[derive(Clone, Debug)]
pub(crate) struct Completion {
    pub(crate) account: Account,
    pub(crate) region: Region,
    /// The collector's id, and with that the source of what it records itself.
    pub(crate) collector: Id,
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) source: Id,
    pub(crate) sequence: u64,
    pub(crate) intent: Option<Of>,
}

/// Which intent a record ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    /// One of the same source.
    Own(u64),
    /// One of another source.
    Other(Id, u64),
}

impl Completion {
    /// The record of a call, with every member that CloudTrail always has.
    pub(crate) fn record(&self, call: Call, origin: Origin, unix_ms: i64) -> Result<Record, InvalidCall> {
        let mut record = self.complete(call, origin.source, origin.sequence, unix_ms)?;
        mark(&mut record, origin);
        Ok(record)
    }

    /// The same without the mark that says where it comes from.
    pub(crate) fn complete(
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
        record.event_type.get_or_insert_with(|| DEFAULT_TYPE.to_owned());
        let category = record.event_category.get_or_insert_with(|| DEFAULT_CATEGORY.to_owned());
        let management = category == DEFAULT_CATEGORY;
        record.management_event.get_or_insert(management);
        record.event_id.get_or_insert_with(|| event_id(source, sequence));
        if record.event_time.is_none() {
            record.event_time = EventTime::from_unix_seconds(unix_ms.div_euclid(1000));
        }
        record.source_ip_address.get_or_insert_with(|| DEFAULT_ADDRESS.to_owned());
        let (kind, principal) = DEFAULT_IDENTITY;
        record.user_identity.get_or_insert_with(|| UserIdentity {
            kind: Some(kind.to_owned()),
            principal_id: Some(principal.to_owned()),
            ..UserIdentity::default()
        });
        record.request_parameters.get_or_insert_with(Json::null);
        record.response_elements.get_or_insert_with(Json::null);
        for resource in record.resources.iter_mut().flatten() {
            self.place(resource);
        }
        Ok(record)
    }

    /// Appends the text of [`Completion::record`] for an encoded call, without making the record, and gives its time. That is how nearly all
    /// calls go. `None`, and nothing written, where it takes a record: to be trimmed, to hold members that a call has no
    /// field for, or to say what is wrong.
    pub(crate) fn write(
        &self,
        call: &[u8],
        origin: Origin,
        unix_ms: i64,
        out: &mut Vec<u8>,
    ) -> Option<EventTime> {
        let mut record = Call::read_record(call)?;
        let time = match record.event_time {
            Some(time) => time,
            None => EventTime::from_unix_seconds(unix_ms.div_euclid(1000))?,
        };
        record.event_time = Some(time);
        record.event_version = Some(Record::EVENT_VERSION.into());
        record.aws_region = Some(self.region.as_str().into());
        record.recipient_account_id = Some(self.account.as_str().into());
        record.event_type.get_or_insert(DEFAULT_TYPE.into());
        let management = *record.event_category.get_or_insert(DEFAULT_CATEGORY.into()) == DEFAULT_CATEGORY;
        record.management_event.get_or_insert(management);
        record.event_id.get_or_insert_with(|| event_id(origin.source, origin.sequence).into());
        record.source_ip_address.get_or_insert(DEFAULT_ADDRESS.into());
        let (kind, principal) = DEFAULT_IDENTITY;
        record.user_identity.get_or_insert_with(|| UserIdentityRef {
            kind: Some(kind.into()),
            principal_id: Some(principal.into()),
            ..UserIdentityRef::default()
        });
        record.request_parameters.get_or_insert(JsonRef::NULL);
        record.response_elements.get_or_insert(JsonRef::NULL);
        for resource in record.resources.iter_mut().flatten() {
            if let Some(arn) = resource.arn.as_deref().and_then(|arn| self.placed(arn)) {
                resource.arn = Some(arn.into());
                resource.account_id.get_or_insert(self.account.as_str().into());
            }
        }
        let data = record.additional_event_data.as_ref().map_or("null", JsonRef::as_str);
        record.additional_event_data = Some(JsonRef::from_trusted(marked(data, origin)));
        limits::write_whole(&record, out).then_some(time)
    }

    /// Puts account and region where the ARN leaves a place for them.
    fn place(&self, resource: &mut Resource) {
        if let Some(arn) = resource.arn.as_deref().and_then(|arn| self.placed(arn)) {
            resource.arn = Some(arn);
            resource.account_id.get_or_insert_with(|| self.account.as_str().to_owned());
        }
    }

    /// `None` if it leaves none.
    fn placed(&self, arn: &str) -> Option<String> {
        (arn.contains(PLACEHOLDER_ACCOUNT) || arn.contains(PLACEHOLDER_REGION)).then(|| {
            arn.replace(PLACEHOLDER_ACCOUNT, self.account.as_str())
                .replace(PLACEHOLDER_REGION, self.region.as_str())
        })
    }
}

/// Gives a record our mark.
pub(super) fn mark(record: &mut Record, origin: Origin) {
    let data = record.additional_event_data.as_ref().map_or("null", Json::as_str);
    record.additional_event_data = Some(Json::from_trusted(marked(data, origin)));
}

/// `data` with our mark, which an application cannot forge. Both together keep CloudTrail's limit: data that leaves no
/// room for the mark is omitted, as data over the limit is. What is no object stays as it is.
fn marked(data: &str, Origin { source, sequence, intent }: Origin) -> String {
    let data: Cow<'_, str> = if data.contains(MARK) { without_mark(data) } else { data.into() };
    let data: Cow<'_, str> = match data.len() {
        size if size > MAX_ADDITIONAL - MARK_ROOM => {
            String::from(omitted("additionalEventData", size)).into()
        }
        _ => data,
    };
    let head = match &*data {
        "null" => "{",
        data if data.starts_with('{') => data.strip_suffix('}').map_or(data, str::trim_ascii_end),
        _ => return data.into_owned(),
    };
    let mut text = String::with_capacity(head.len() + MARK_ROOM);
    text.push_str(head);
    if head != "{" {
        text.push(',');
    }
    // A UUID and a number in quotes and braces: this is JSON. And writing to a string does not fail.
    let _ = write!(text, r#""{MARK}":{{"source":"{source}","sequence":{sequence}"#);
    let _ = match intent {
        None => Ok(()),
        Some(Of::Own(intent)) => write!(text, r#","intent":{intent}"#),
        Some(Of::Other(source, intent)) => {
            write!(text, r#","intent":{{"source":"{source}","sequence":{intent}}}"#)
        }
    };
    text.push_str("}}");
    text
}

fn without_mark(data: &str) -> Cow<'_, str> {
    let Ok(mut members) = serde_json::from_str::<Members>(data) else { return data.into() };
    if members.remove(MARK).is_none() {
        return data.into();
    }
    Json::of(&members).map_or(data.into(), |data| String::from(data).into())
}

/// An id for an event that came without one: the same whenever the event is rendered.
pub(super) fn event_id(source: Id, sequence: u64) -> String {
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
    use bytes::Bytes;
    use prost::Message as _;
    use serde_json::{Value, json};
    use sidetrail_wire::ingest::v1 as wire;

    use super::*;

    fn completion() -> Completion {
        Completion {
            account: "111122223333".parse().unwrap(),
            region: "eu-west-1".parse().unwrap(),
            collector: Id([9; 16]),
        }
    }

    fn origin(sequence: u64) -> Origin {
        Origin { source: Id([7; 16]), sequence, intent: None }
    }

    fn complete(call: Call) -> Value {
        serde_json::to_value(completion().record(call, origin(3), 1_768_473_677_999).unwrap()).unwrap()
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

    /// Straight from the call or by way of a record: the text is the same.
    #[test]
    fn calls_are_written_as_their_records_are() {
        let json = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
        let resource = |arn: &str| wire::Resource { arn: Some(arn.to_owned()), ..wire::Resource::default() };
        let empty = Call::default;
        let calls = [
            (true, empty()),
            (true, Call { time_unix_nano: Some(1), event_id: vec![7; 16].into(), ..empty() }),
            (
                true,
                Call {
                    event_category: "Data".to_owned(), event_name: "é\"\\\n\u{1f}".to_owned(), ..empty()
                },
            ),
            (
                true,
                Call {
                    management_event: Some(false),
                    user_identity: Some(wire::UserIdentity::default()),
                    ..empty()
                },
            ),
            (true, Call { resources: vec![resource("a:{region}:{account}"), resource("b")], ..empty() }),
            (
                true,
                Call {
                    additional_event_data: json(" {\"a\":1 } "),
                    request_parameters: json("[1.10]"),
                    ..empty()
                },
            ),
            (true, Call { additional_event_data: json(r#"{"sidetrail":7}"#), ..empty() }),
            (
                true,
                Call {
                    additional_event_data: json("7"),
                    tls_details: json(r#"{"tlsVersion":"v"}"#),
                    ..empty()
                },
            ),
            (true, Call { user_agent: Some("x".repeat(limits::MAX_TEXT)), ..empty() }),
            (false, Call { user_agent: Some("x".repeat(limits::MAX_TEXT + 1)), ..empty() }),
            (
                false,
                Call {
                    request_parameters: json(&format!("\"{}\"", "x".repeat(limits::MAX_PARAMETERS))),
                    ..empty()
                },
            ),
            (false, Call { other: json(r#"{"apiVersion":"1"}"#), ..empty() }),
            (false, Call { event_source: "x".repeat(limits::MAX_RECORD), ..empty() }),
            (false, Call { response_elements: json("{"), ..empty() }),
        ];
        for (at_once, call) in calls {
            let origin = Origin { intent: Some(Of::Own(2)), ..origin(3) };
            let mut text = b"before".to_vec();
            let time = completion().write(&call.encode_to_vec(), origin, 1_768_473_677_999, &mut text);
            assert_eq!(time.is_some(), at_once, "{call:?}");
            let mut expected = b"before".to_vec();
            if time.is_some() {
                let mut record = completion().record(call, origin, 1_768_473_677_999).unwrap();
                assert_eq!(record.event_time, time);
                limits::write(&mut record, &mut expected).unwrap();
            }
            assert_eq!(String::from_utf8(text).unwrap(), String::from_utf8(expected).unwrap());
        }
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
        for size in (MAX_ADDITIONAL - 300..MAX_ADDITIONAL + 300).chain([40_000]) {
            let data = format!(r#"{{"a":"{}"}}"#, "x".repeat(size - 8));
            let call = Call { additional_event_data: Some(data.into()), ..Call::default() };
            let of = Some(Of::Other(Id([8; 16]), 1 << 62));
            let mut record = completion().record(call, Origin { intent: of, ..origin(1 << 62) }, 0).unwrap();
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

    #[test]
    fn account_and_region_take_their_places() {
        let resource = |arn: &str, account: Option<&str>| wire::Resource {
            arn: Some(arn.to_owned()),
            account_id: account.map(str::to_owned),
            ..wire::Resource::default()
        };
        let resources = vec![
            resource("arn:aws:orders:{region}:{account}:order/17", None),
            resource("arn:aws:orders:{region}:999988887777:order/17", Some("999988887777")),
            resource("arn:aws:s3:::bucket/%7Baccount%7D{Account}{}", None),
            wire::Resource { r#type: Some("AWS::S3::Bucket".to_owned()), ..wire::Resource::default() },
        ];
        let record = complete(Call { resources, ..Call::default() });
        assert_eq!(
            record["resources"],
            json!([
                {"accountId": "111122223333", "ARN": "arn:aws:orders:eu-west-1:111122223333:order/17"},
                {"accountId": "999988887777", "ARN": "arn:aws:orders:eu-west-1:999988887777:order/17"},
                {"ARN": "arn:aws:s3:::bucket/%7Baccount%7D{Account}{}"},
                {"type": "AWS::S3::Bucket"},
            ])
        );
    }
}
