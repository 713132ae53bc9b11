//! Events of OpenTelemetry as documents of `PutAuditEvents`, which they are from there on.
//!
//! | document | log record |
//! |---|---|
//! | `eventName` | `event_name`, else the attribute `event.name`; without one it is no event |
//! | `eventSource` | the attribute `cloudtrail.event_source`, else the resource's `service.name` |
//! | `eventTime` | `time_unix_nano`, else `observed_time_unix_nano`; whole seconds, and all of it in `additionalEventData` |
//! | `UID` | the attribute `log.record.uid`, else a hash of record, scope and resource |
//! | `userIdentity` | `user.id` or `enduser.id` is a `User` with `principalId`, `details` has all of `user.` and `enduser.`; without one it is the `Service` that the resource names |
//! | `sourceIPAddress` | `client.address`, else `source.address`, `network.peer.address` |
//! | `userAgent` | `user_agent.original` |
//! | `errorCode`, `errorMessage` | `error.type`, else `exception.type`; `error.message`, else `exception.message` |
//! | `requestParameters` | the body; one that is no map is its `body` |
//! | `additionalEventData` | all other attributes, `resource`, `scope`, `severity`, `traceId`, `spanId`, `timeUnixNano` |

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Map, Value, json};
use sidetrail_api::shape::AuditEvent;
use sidetrail_archive::hash::Sha256;

use crate::access::Caller;

/// The channel that these events come in by.
pub(crate) const CHANNEL: &str = "opentelemetry";
/// Attributes that say who.
const USERS: [&str; 2] = ["user.", "enduser."];

/// The events of a request, in its order, or why a record is none.
pub(crate) fn events(
    request: ExportLogsServiceRequest,
    caller: &Caller,
) -> Vec<Result<AuditEvent, &'static str>> {
    let mut events = Vec::new();
    for logs in request.resource_logs {
        let resource = members(logs.resource.unwrap_or_default().attributes);
        for logs in logs.scope_logs {
            let scope = logs.scope.unwrap_or_default();
            let scope = scope_of(&scope);
            let read = logs.log_records.into_iter().map(|record| event(record, &resource, &scope, caller));
            events.extend(read);
        }
    }
    events
}

fn event(
    record: LogRecord,
    resource: &Map<String, Value>,
    scope: &Value,
    caller: &Caller,
) -> Result<AuditEvent, &'static str> {
    let mut attributes = members(record.attributes);
    let mut take = |names: &[&str]| {
        let found = names.iter().filter_map(|name| attributes.remove(*name)).collect::<Vec<_>>();
        found.into_iter().find_map(text)
    };
    let named = Some(record.event_name).filter(|name| !name.is_empty());
    let by_attribute = take(&["event.name"]);
    let name = named.or(by_attribute).ok_or("it has no event_name")?;
    let service = resource.get("service.name").and_then(Value::as_str).map(str::to_owned);
    let source = take(&["cloudtrail.event_source"]).or(service.clone());
    let source = source.ok_or("its resource has no service.name")?;
    let nanoseconds = [record.time_unix_nano, record.observed_time_unix_nano].into_iter().find(|it| *it > 0);
    let nanoseconds = nanoseconds.ok_or("it has no time")?;
    let time = Timestamp::from_nanosecond(nanoseconds.into()).map_err(|_| "its time is none")?;
    let uid = take(&["log.record.uid"]);
    let address = take(&["client.address", "source.address", "network.peer.address"]);
    let agent = take(&["user_agent.original"]);
    let code = take(&["error.type", "exception.type"]);
    let message = take(&["error.message", "exception.message"]);
    let identity = identity(&mut attributes, resource, service);

    let mut more = Map::new();
    let mut put = |name: &str, value: Value| {
        if !matches!(&value, Value::Null) && value.as_object().is_none_or(|members| !members.is_empty()) {
            more.insert(name.to_owned(), value);
        }
    };
    put("attributes", Value::Object(attributes));
    put("resource", Value::Object(resource.clone()));
    put("scope", scope.clone());
    let severity = Some(record.severity_text).filter(|text| !text.is_empty());
    put("severity", severity.map_or(Value::Null, Value::String));
    put("traceId", hex(&record.trace_id));
    put("spanId", hex(&record.span_id));
    put("timeUnixNano", Value::String(nanoseconds.to_string()));

    let mut data = json!({
        "version": "1",
        "userIdentity": identity,
        "eventSource": source,
        "eventName": name,
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "recipientAccountId": caller.account.as_str(),
        "additionalEventData": more,
    });
    let parameters = match record.body.and_then(|body| body.value) {
        None => Value::Null,
        Some(Any::KvlistValue(list)) => Value::Object(members(list.values)),
        Some(other) => json!({ "body": value(Some(other)) }),
    };
    let optional = [
        ("sourceIPAddress", address),
        ("userAgent", agent),
        ("errorCode", code),
        // CloudTrail has no more of it.
        ("errorMessage", message.map(|message| cut(message, 256))),
    ];
    for (name, text) in optional {
        if let Some(text) = text {
            data[name] = Value::String(text);
        }
    }
    if !parameters.is_null() {
        data["requestParameters"] = parameters;
    }
    // What is brought again says the same, and has the same id.
    let id = Sha256::of(format!("{data}{uid:?}").as_bytes()).to_string();
    data["UID"] = Value::String(uid.unwrap_or_else(|| id.clone()));
    Ok(AuditEvent { id, event_data: data.to_string(), event_data_checksum: None })
}

/// Who did it: the user that attributes name, or the service.
fn identity(
    attributes: &mut Map<String, Value>,
    resource: &Map<String, Value>,
    service: Option<String>,
) -> Value {
    let names = attributes.keys().filter(|name| USERS.iter().any(|prefix| name.starts_with(prefix)));
    let names: Vec<_> = names.cloned().collect();
    let mut details = Map::new();
    let mut id = None;
    for name in names {
        let Some(value) = attributes.remove(&name) else { continue };
        let short = name.split_once('.').map_or(name.as_str(), |(_, short)| short);
        match short {
            "id" => id = id.or_else(|| text(value)),
            "name" => _ = details.insert("userName".to_owned(), value),
            _ => _ = details.insert(short.to_owned(), value),
        }
    }
    match id {
        Some(id) => json!({ "type": "User", "principalId": id, "details": details }),
        None => {
            let instance = resource.get("service.instance.id").and_then(Value::as_str).map(str::to_owned);
            json!({ "type": "Service", "principalId": instance.or(service), "details": details })
        }
    }
}

fn scope_of(scope: &InstrumentationScope) -> Value {
    let mut members = Map::new();
    for (name, text) in [("name", &scope.name), ("version", &scope.version)] {
        if !text.is_empty() {
            members.insert(name.to_owned(), Value::String(text.clone()));
        }
    }
    Value::Object(members)
}

fn members(list: Vec<KeyValue>) -> Map<String, Value> {
    list.into_iter().map(|it| (it.key, value(it.value.and_then(|any| any.value)))).collect()
}

/// As deep as what was decoded, which has a bound of its own.
fn value(any: Option<Any>) -> Value {
    let inner = |any: AnyValue| value(any.value);
    match any {
        Some(Any::StringValue(text)) => Value::String(text),
        Some(Any::BoolValue(value)) => Value::Bool(value),
        Some(Any::IntValue(number)) => number.into(),
        // JSON has no other numbers.
        Some(Any::DoubleValue(number)) => {
            serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)
        }
        Some(Any::BytesValue(bytes)) => Value::String(BASE64_STANDARD.encode(bytes)),
        Some(Any::ArrayValue(list)) => Value::Array(list.values.into_iter().map(inner).collect()),
        Some(Any::KvlistValue(list)) => Value::Object(members(list.values)),
        _ => Value::Null,
    }
}

/// A value where CloudTrail has a text.
fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    Value::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::KeyValueList;
    use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;

    use super::*;
    use crate::audit_events::{Channel, record};

    fn any(value: Any) -> Option<AnyValue> {
        Some(AnyValue { value: Some(value) })
    }

    fn attribute(key: &str, text: &str) -> KeyValue {
        KeyValue { key: key.to_owned(), value: any(Any::StringValue(text.to_owned())), ..KeyValue::default() }
    }

    fn read(record: LogRecord, service: &str) -> Result<AuditEvent, &'static str> {
        let resource =
            Resource { attributes: vec![attribute("service.name", service)], ..Resource::default() };
        let scope = InstrumentationScope { name: "hr".to_owned(), ..InstrumentationScope::default() };
        let logs = ScopeLogs { scope: Some(scope), log_records: vec![record], ..ScopeLogs::default() };
        let logs =
            ResourceLogs { resource: Some(resource), scope_logs: vec![logs], ..ResourceLogs::default() };
        events(ExportLogsServiceRequest { resource_logs: vec![logs] }, &Caller::of_tests()).pop().unwrap()
    }

    fn opened() -> LogRecord {
        let body = KeyValueList {
            values: vec![KeyValue {
                key: "file".to_owned(),
                value: any(Any::IntValue(17)),
                ..KeyValue::default()
            }],
        };
        LogRecord {
            time_unix_nano: 1_768_473_677_000_000_005,
            event_name: "OpenFile".to_owned(),
            body: any(Any::KvlistValue(body)),
            attributes: vec![
                attribute("user.id", "casey"),
                attribute("user.name", "Casey"),
                attribute("client.address", "192.0.2.7"),
                attribute("error.type", "NotFound"),
                attribute("door", "left"),
            ],
            trace_id: vec![0xab; 16],
            ..LogRecord::default()
        }
    }

    #[test]
    fn a_log_record_is_a_record_of_cloudtrails() {
        let event = read(opened(), "hr.example.com").unwrap();
        let channel = Channel::of(Some(CHANNEL), &Caller::of_tests()).unwrap();
        let (_, text) = record(&event, &channel, &Caller::of_tests(), Timestamp::UNIX_EPOCH).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(record["eventName"], "OpenFile");
        assert_eq!(record["eventSource"], "hr.example.com");
        assert_eq!(record["eventTime"], "2026-01-15T10:41:17Z");
        assert_eq!(record["sourceIPAddress"], "192.0.2.7");
        assert_eq!(record["errorCode"], "NotFound");
        assert_eq!(
            record["userIdentity"],
            json!({ "type": "User", "principalId": "casey", "userName": "Casey" })
        );
        let data = &record["eventData"];
        assert_eq!(data["requestParameters"], json!({ "file": 17 }));
        let more = &data["additionalEventData"];
        assert_eq!(more["attributes"], json!({ "door": "left" }));
        assert_eq!(more["timeUnixNano"], "1768473677000000005");
        assert_eq!(
            (more["traceId"].as_str(), more["scope"]["name"].as_str()),
            (Some(&*"ab".repeat(16)), Some("hr"))
        );
        assert_eq!(read(opened(), "hr.example.com").unwrap().id, event.id);
        let later = LogRecord { time_unix_nano: 1_768_473_677_000_000_006, ..opened() };
        assert_ne!(read(later, "hr.example.com").unwrap().id, event.id);
    }

    #[test]
    fn a_service_acts_where_no_user_is_named() {
        let record =
            LogRecord { attributes: Vec::new(), body: any(Any::StringValue("text".to_owned())), ..opened() };
        let data: Value = serde_json::from_str(&read(record, "hr").unwrap().event_data).unwrap();
        assert_eq!(data["userIdentity"]["type"], "Service");
        assert_eq!(data["userIdentity"]["principalId"], "hr");
        assert_eq!(data["requestParameters"], json!({ "body": "text" }));
    }

    #[test]
    fn what_is_no_event_says_why() {
        let nameless = LogRecord { event_name: String::new(), ..opened() };
        assert_eq!(read(nameless, "hr").unwrap_err(), "it has no event_name");
        let older = LogRecord {
            event_name: String::new(),
            attributes: vec![attribute("event.name", "x")],
            ..opened()
        };
        assert!(read(older, "hr").is_ok());
        let timeless = LogRecord { time_unix_nano: 0, ..opened() };
        assert_eq!(read(timeless, "hr").unwrap_err(), "it has no time");
        assert_eq!(read(opened(), "").unwrap().id.len(), 64);
    }
}
