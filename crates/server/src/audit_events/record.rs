//! What CloudTrail makes of an event that is brought: its document is checked and wrapped, and not changed.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sidetrail_api::arn::{Arn, Kind};
use sidetrail_api::shape::AuditEvent;
use sidetrail_api::{Code, Error, quoted};
use sidetrail_archive::hash::Sha256;

use crate::access::Caller;
use crate::hashed;

/// Characters of an event's id.
const MAX_ID: usize = 128;
/// Texts of the document and their longest, bytes.
const TEXTS: [(&str, usize, bool); 6] = [
    ("version", 256, true),
    ("eventSource", 1024, true),
    ("eventName", 1024, true),
    ("UID", 1024, true),
    ("userAgent", 1024, false),
    ("errorCode", 256, false),
];
/// Values of the document and their largest, bytes of JSON.
const VALUES: [(&str, usize); 3] =
    [("requestParameters", 100 << 10), ("responseElements", 100 << 10), ("additionalEventData", 28 << 10)];
/// Bytes of a record.
const MAX_RECORD: usize = sidetrail_record::limits::MAX_RECORD;

/// Where events come in. There is one for each account and name: it is there by being named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Channel(String);

impl Channel {
    /// The channel of `channelArn`: an ARN of the caller's account and region, or what follows `channel/` there.
    pub(crate) fn of(text: Option<&str>, caller: &Caller) -> Result<Self, Error> {
        let invalid = |text: &str| {
            Error::new(Code::InvalidChannelARN, format!("Invalid channel ARN: {}", quoted(text)))
        };
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Err(invalid("")) };
        if !Arn::is_meant(text) {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if text.len() > 128 || !text.bytes().all(word) {
                return Err(invalid(text));
            }
            return Ok(Self(format!(
                "arn:aws:cloudtrail:{}:{}:channel/{text}",
                caller.region, caller.account
            )));
        }
        let arn: Arn = text.parse().map_err(|_| invalid(text))?;
        if arn.kind != Kind::Channel || arn.region != caller.region.as_str() {
            return Err(invalid(text));
        }
        if arn.account != caller.account.as_str() {
            let message = "The channel belongs to another account.";
            return Err(Error::new(Code::ChannelInsufficientPermission, message));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Why an event is not taken: CloudTrail's word, and a sentence.
type Unfit = (&'static str, String);

/// The record of an event, and its `eventID`. The same event has the same one, however often it is brought.
pub(crate) fn record(
    event: &AuditEvent,
    channel: &Channel,
    caller: &Caller,
    now: Timestamp,
) -> Result<(String, String), Unfit> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if event.id.is_empty() || event.id.len() > MAX_ID || !event.id.bytes().all(word) {
        return Err(("InvalidData", format!("id must have 1 to {MAX_ID} letters, digits, - and _")));
    }
    let hash = Sha256::of(event.event_data.as_bytes());
    if let Some(checksum) = &event.event_data_checksum {
        use base64::Engine as _;
        if base64::prelude::BASE64_STANDARD.encode(hash.as_bytes()) != *checksum {
            return Err((
                "InvalidChecksum",
                "eventDataChecksum is not the base64 of the SHA-256 of eventData".to_owned(),
            ));
        }
    }
    let no_json = |problem: String| ("InvalidData", format!("eventData is no JSON object: {problem}"));
    let data: Value =
        sidetrail_api::json::read(event.event_data.as_bytes()).map_err(|error| no_json(error.message))?;
    let raw: &RawValue =
        serde_json::from_str(&event.event_data).map_err(|error| no_json(error.to_string()))?;
    let time = check(&data, caller)?;
    let same = format!("{}\n{}\n{}\n{hash}", channel.0, caller.account, event.id);
    let id = hashed::uuid(&Sha256::of(same.as_bytes()));
    let text = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (identity, member) = (&data["userIdentity"], |name: &str| data[name].as_str());
    let wrapped = Wrapped {
        event_version: "1.11",
        event_category: "ActivityAuditLog",
        event_type: "ActivityLog",
        event_id: &id,
        event_time: text(time),
        event_source: member("eventSource"),
        event_name: member("eventName"),
        aws_region: caller.region.as_str(),
        source_ip_address: member("sourceIPAddress"),
        user_agent: member("userAgent"),
        error_code: member("errorCode"),
        error_message: member("errorMessage"),
        user_identity: Who {
            kind: identity["type"].as_str(),
            principal_id: identity["principalId"].as_str(),
            user_name: identity["details"]["userName"].as_str(),
        },
        management_event: false,
        recipient_account_id: caller.account.as_str(),
        metadata: Metadata { ingestion_time: text(now), channel: &channel.0 },
        event_data: raw,
    };
    let text = serde_json::to_string(&wrapped).map_err(|error| no_json(error.to_string()))?;
    if text.len() > MAX_RECORD {
        return Err((
            "FieldTooLong",
            format!("the record has {} bytes, the limit is {MAX_RECORD}", text.len()),
        ));
    }
    Ok((id, text))
}

fn check(data: &Value, caller: &Caller) -> Result<Timestamp, Unfit> {
    let missing = |field: &str| ("FieldNotFound", format!("eventData.{field} is missing"));
    let long = |field: &str, limit: usize| {
        ("FieldTooLong", format!("eventData.{field} has more than {limit} bytes"))
    };
    if !data.is_object() {
        return Err(("InvalidData", "eventData is no JSON object".to_owned()));
    }
    let text = |field: &str, value: &Value, limit: usize, required: bool| match value {
        Value::Null if required => Err(missing(field)),
        Value::Null => Ok(()),
        Value::String(text) if text.is_empty() && required => Err(missing(field)),
        Value::String(text) if text.len() > limit => Err(long(field, limit)),
        Value::String(_) => Ok(()),
        _ => Err(("InvalidData", format!("eventData.{field} is no text"))),
    };
    for (field, limit, required) in TEXTS {
        text(field, &data[field], limit, required)?;
    }
    text("errorMessage", &data["errorMessage"], 256, false)?;
    let identity = &data["userIdentity"];
    if !identity.is_object() {
        return Err(missing("userIdentity"));
    }
    text("userIdentity.type", &identity["type"], 128, true)?;
    text("userIdentity.principalId", &identity["principalId"], 1024, true)?;
    for (field, limit) in VALUES {
        if data.get(field).is_some_and(|value| value.to_string().len() > limit) {
            return Err(long(field, limit));
        }
    }
    match data["recipientAccountId"].as_str() {
        None => return Err(missing("recipientAccountId")),
        Some(account) if account == caller.account.as_str() => {}
        Some(_) => {
            let message = "eventData.recipientAccountId is not the account that the channel belongs to";
            return Err(("InvalidRecipient", message.to_owned()));
        }
    }
    let time = data["eventTime"].as_str().ok_or_else(|| missing("eventTime"))?;
    // UTC, whether or not it says so.
    let parsed = DateTime::strptime("%Y-%m-%dT%H:%M:%S", time.trim_end_matches('Z'));
    let parsed = parsed.ok().and_then(|time| time.to_zoned(TimeZone::UTC).ok());
    parsed.map(|time| time.timestamp()).ok_or_else(|| {
        (
            "InvalidData",
            format!("eventData.eventTime {} is not of the form 2026-01-15T12:00:00Z", quoted(time)),
        )
    })
}

/// A brought event as it is recorded: found and selected like others by what is repeated of its document, which stays as it
/// came.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wrapped<'a> {
    event_version: &'a str,
    user_identity: Who<'a>,
    event_time: String,
    event_source: Option<&'a str>,
    event_name: Option<&'a str>,
    aws_region: &'a str,
    #[serde(rename = "sourceIPAddress", skip_serializing_if = "Option::is_none")]
    source_ip_address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    #[serde(rename = "eventID")]
    event_id: &'a str,
    event_type: &'a str,
    management_event: bool,
    recipient_account_id: &'a str,
    event_category: &'a str,
    metadata: Metadata<'a>,
    event_data: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Who<'a> {
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    principal_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    ingestion_time: String,
    #[serde(rename = "channelARN")]
    channel: &'a str,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn data() -> Value {
        json!({
            "version": "1", "eventSource": "hr.example.com", "eventName": "OpenFile", "UID": "7",
            "eventTime": "2026-01-15T10:41:17Z", "recipientAccountId": "111122223333",
            "userIdentity": { "type": "Person", "principalId": "casey", "details": { "userName": "casey" } },
            "requestParameters": { "file": 17, "none": null },
        })
    }

    fn event(data: &Value) -> AuditEvent {
        AuditEvent { id: "a-1".to_owned(), event_data: data.to_string(), event_data_checksum: None }
    }

    fn made(event: &AuditEvent) -> Result<(String, String), Unfit> {
        record(
            event,
            &Channel::of(Some("hr"), &Caller::of_tests()).unwrap(),
            &Caller::of_tests(),
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn a_document_is_wrapped_and_stays_as_it_is() {
        let (id, text) = made(&event(&data())).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        assert!(text.ends_with(&format!("\"eventData\":{}}}", data())), "{text}");
        assert_eq!(
            (record["eventName"].as_str(), record["eventID"].as_str()),
            (Some("OpenFile"), Some(&*id))
        );
        assert_eq!(
            record["metadata"]["channelARN"],
            "arn:aws:cloudtrail:eu-central-1:111122223333:channel/hr"
        );
        assert_eq!(record["userIdentity"]["userName"], "casey");
        assert!(record.get("errorCode").is_none());
        assert_eq!(made(&event(&data())).unwrap().0, id, "again it is the same event");
        let other = AuditEvent { id: "a-2".to_owned(), ..event(&data()) };
        assert_ne!(made(&other).unwrap().0, id);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |field: &str, value: Value| {
            let mut data = data();
            data[field] = value;
            made(&event(&data)).unwrap_err()
        };
        for (field, value, code) in [
            ("eventName", Value::Null, "FieldNotFound"),
            ("eventName", json!("x".repeat(1025)), "FieldTooLong"),
            ("eventName", json!(7), "InvalidData"),
            ("userIdentity", json!({}), "FieldNotFound"),
            ("eventTime", json!("yesterday"), "InvalidData"),
            ("recipientAccountId", json!("444455556666"), "InvalidRecipient"),
            ("requestParameters", json!("x".repeat(101 << 10)), "FieldTooLong"),
            ("additionalEventData", json!("x".repeat(29 << 10)), "FieldTooLong"),
        ] {
            let (found, message) = with(field, value);
            assert_eq!(found, code, "{message}");
            assert!(message.contains(field), "{message}");
        }
        let checksum = AuditEvent { event_data_checksum: Some("AAAA".to_owned()), ..event(&data()) };
        assert_eq!(made(&checksum).unwrap_err().0, "InvalidChecksum");
        let text = AuditEvent { event_data: "not JSON".to_owned(), ..event(&data()) };
        assert_eq!(made(&text).unwrap_err().0, "InvalidData");
        let id = AuditEvent { id: "a b".to_owned(), ..event(&data()) };
        assert_eq!(made(&id).unwrap_err().0, "InvalidData");
    }

    #[test]
    fn a_channel_is_the_callers() {
        for (text, code) in [
            (None, Code::InvalidChannelARN),
            (Some("a b"), Code::InvalidChannelARN),
            (Some("arn:aws:cloudtrail:eu-central-1:111122223333:trail/hr"), Code::InvalidChannelARN),
            (Some("arn:aws:cloudtrail:us-east-1:111122223333:channel/hr"), Code::InvalidChannelARN),
            (
                Some("arn:aws:cloudtrail:eu-central-1:444455556666:channel/hr"),
                Code::ChannelInsufficientPermission,
            ),
        ] {
            assert_eq!(Channel::of(text, &Caller::of_tests()).unwrap_err().code, code, "{text:?}");
        }
    }
}
