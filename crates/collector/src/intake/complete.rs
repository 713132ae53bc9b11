//! What the collector adds to an event, so that an application configures neither account nor region.

use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Account, Id, Region};
use sidetrail_record::limits::{MAX_ADDITIONAL, omitted};
use sidetrail_record::{EventTime, Json, Members, Record, Resource, UserIdentity};
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
        for resource in record.resources.iter_mut().flatten() {
            self.place(resource);
        }
        Ok(record)
    }

    /// Puts account and region where the ARN leaves a place for them.
    fn place(&self, resource: &mut Resource) {
        let Some(arn) = &mut resource.arn else { return };
        if arn.contains(PLACEHOLDER_ACCOUNT) || arn.contains(PLACEHOLDER_REGION) {
            *arn = arn
                .replace(PLACEHOLDER_ACCOUNT, self.account.as_str())
                .replace(PLACEHOLDER_REGION, self.region.as_str());
            resource.account_id.get_or_insert_with(|| self.account.as_str().to_owned());
        }
    }
}

/// Gives a record our mark.
pub(super) fn mark(record: &mut Record, origin: Origin) {
    let data = record.additional_event_data.take().unwrap_or_else(Json::null);
    record.additional_event_data = Some(marked(data, origin));
}

/// `data` with our mark, which an application cannot forge. Both together keep CloudTrail's limit: data that leaves no
/// room for the mark is omitted, as data over the limit is.
fn marked(data: Json, Origin { source, sequence, intent }: Origin) -> Json {
    let data = if data.as_str().contains(MARK) { without_mark(data) } else { data };
    let data = match data.size() {
        size if size > MAX_ADDITIONAL - MARK_ROOM => omitted("additionalEventData", size),
        _ => data,
    };
    // A UUID and a number in quotes and braces: this is JSON.
    let intent = match intent {
        None => String::new(),
        Some(Of::Own(intent)) => format!(r#","intent":{intent}"#),
        Some(Of::Other(source, intent)) => {
            format!(r#","intent":{{"source":"{source}","sequence":{intent}}}"#)
        }
    };
    let mark = Json::parse(format!(r#"{{"source":"{source}","sequence":{sequence}{intent}}}"#));
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
