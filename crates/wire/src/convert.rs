//! `Record` to `Call` and back.
//!
//! Members that `Call` has no field for travel in `other`, a JSON object, so nothing is lost. Account and region are
//! not part of a `Call`: the collector knows them. A record that has them carries them in `other` like any member.

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sidetrail_record::{EventTime, Json, JsonRef, Members, Record, Resource, UserIdentity};

use crate::ingest::v1 as wire;

pub(crate) const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A `Call` that is no record: names the field in the record's own terms and says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCall {
    /// E.g. `requestParameters`.
    pub field: &'static str,
    /// E.g. `is not JSON`.
    pub reason: String,
}

impl fmt::Display for InvalidCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.field, self.reason)
    }
}

impl std::error::Error for InvalidCall {}

impl From<Record> for wire::Call {
    fn from(mut record: Record) -> Self {
        let event_id =
            record.event_id.take_if(|id| parse_uuid(id).is_some_and(|bytes| format_uuid(&bytes) == *id));
        let seconds = record.event_time.take_if(|time| nanos(*time).is_some());
        let mut call = Self {
            event_id: event_id
                .and_then(|id| parse_uuid(&id))
                .map(|id| Bytes::copy_from_slice(&id))
                .unwrap_or_default(),
            time_unix_nano: seconds.and_then(nanos),
            event_source: take_nonempty(&mut record.event_source),
            event_name: take_nonempty(&mut record.event_name),
            event_type: take_nonempty(&mut record.event_type),
            event_category: take_nonempty(&mut record.event_category),
            read_only: record.read_only.take(),
            management_event: record.management_event.take(),
            user_identity: record.user_identity.take().map(Into::into),
            source_ip_address: take_nonempty(&mut record.source_ip_address),
            user_agent: record.user_agent.take(),
            error_code: record.error_code.take(),
            error_message: record.error_message.take(),
            request_id: record.request_id.take(),
            request_parameters: text(record.request_parameters.take()),
            response_elements: text(record.response_elements.take()),
            additional_event_data: text(record.additional_event_data.take()),
            resources: Vec::new(),
            shared_event_id: record.shared_event_id.take(),
            vpc_endpoint_id: record.vpc_endpoint_id.take(),
            tls_details: record.tls_details.take().and_then(|tls| text(Json::of(&tls).ok())),
            other: None,
        };
        // An empty list and no list are different records, and protobuf cannot tell them apart.
        if let Some(resources) = record.resources.take_if(|resources| !resources.is_empty()) {
            call.resources = resources.into_iter().map(Into::into).collect();
        }
        // What is left of the record is what Call has no field for.
        if record != Record::default() {
            call.other = text(Json::of(&record).ok());
        }
        call
    }
}

impl TryFrom<wire::Call> for Record {
    type Error = InvalidCall;

    fn try_from(call: wire::Call) -> Result<Self, InvalidCall> {
        let mut record: Self = match &call.other {
            Some(other) => serde_json::from_slice(other).map_err(|error| invalid("other", &error))?,
            None => Self::default(),
        };
        if !call.event_id.is_empty() {
            let id = <[u8; 16]>::try_from(call.event_id.as_ref()).map_err(|_| InvalidCall {
                field: "eventID",
                reason: format!("is {} bytes, a UUID has 16", call.event_id.len()),
            })?;
            record.event_id = Some(format_uuid(&id));
        }
        if let Some(time) = call.time_unix_nano {
            let time = EventTime::from_unix_seconds(time.div_euclid(NANOS_PER_SECOND));
            record.event_time = Some(time.ok_or_else(|| InvalidCall {
                field: "eventTime",
                reason: "is outside the years 0000 to 9999".to_owned(),
            })?);
        }
        let tls = json(call.tls_details, "tlsDetails")?;
        let user_identity = call.user_identity.map(UserIdentity::try_from).transpose()?;
        let resources = call.resources.into_iter().map(Resource::try_from).collect::<Result<Vec<_>, _>>()?;

        // `other` may hold any member; a typed one wins.
        set(&mut record.event_source, nonempty(call.event_source));
        set(&mut record.event_name, nonempty(call.event_name));
        set(&mut record.event_type, nonempty(call.event_type));
        set(&mut record.event_category, nonempty(call.event_category));
        set(&mut record.read_only, call.read_only);
        set(&mut record.management_event, call.management_event);
        set(&mut record.user_identity, user_identity);
        set(&mut record.source_ip_address, nonempty(call.source_ip_address));
        set(&mut record.user_agent, call.user_agent);
        set(&mut record.error_code, call.error_code);
        set(&mut record.error_message, call.error_message);
        set(&mut record.request_id, call.request_id);
        set(&mut record.request_parameters, json(call.request_parameters, "requestParameters")?);
        set(&mut record.response_elements, json(call.response_elements, "responseElements")?);
        set(&mut record.additional_event_data, json(call.additional_event_data, "additionalEventData")?);
        set(&mut record.resources, Some(resources).filter(|resources| !resources.is_empty()));
        set(&mut record.shared_event_id, call.shared_event_id);
        set(&mut record.vpc_endpoint_id, call.vpc_endpoint_id);
        if let Some(tls) = tls {
            record.tls_details =
                Some(serde_json::from_str(tls.as_str()).map_err(|error| invalid("tlsDetails", &error))?);
        }
        Ok(record)
    }
}

impl From<UserIdentity> for wire::UserIdentity {
    fn from(mut identity: UserIdentity) -> Self {
        let mut wire = Self {
            r#type: identity.kind.take(),
            principal_id: identity.principal_id.take(),
            arn: identity.arn.take(),
            account_id: identity.account_id.take(),
            access_key_id: identity.access_key_id.take(),
            user_name: identity.user_name.take(),
            invoked_by: identity.invoked_by.take(),
            identity_provider: identity.identity_provider.take(),
            session_context: identity
                .session_context
                .take()
                .and_then(|context| text(Json::of(&context).ok())),
            other: None,
        };
        if identity != UserIdentity::default() {
            wire.other = text(Json::of(&identity).ok());
        }
        wire
    }
}

impl TryFrom<wire::UserIdentity> for UserIdentity {
    type Error = InvalidCall;

    fn try_from(wire: wire::UserIdentity) -> Result<Self, InvalidCall> {
        let mut identity: Self = match &wire.other {
            Some(other) => serde_json::from_slice(other).map_err(|error| invalid("userIdentity", &error))?,
            None => Self::default(),
        };
        set(&mut identity.kind, wire.r#type);
        set(&mut identity.principal_id, wire.principal_id);
        set(&mut identity.arn, wire.arn);
        set(&mut identity.account_id, wire.account_id);
        set(&mut identity.access_key_id, wire.access_key_id);
        set(&mut identity.user_name, wire.user_name);
        set(&mut identity.invoked_by, wire.invoked_by);
        set(&mut identity.identity_provider, wire.identity_provider);
        if let Some(context) = json(wire.session_context, "userIdentity.sessionContext")? {
            identity.session_context = Some(
                serde_json::from_str(context.as_str())
                    .map_err(|error| invalid("userIdentity.sessionContext", &error))?,
            );
        }
        Ok(identity)
    }
}

impl From<Resource> for wire::Resource {
    fn from(resource: Resource) -> Self {
        let other = (!resource.other.is_empty()).then(|| text(Json::of(&resource.other).ok())).flatten();
        Self { arn: resource.arn, account_id: resource.account_id, r#type: resource.kind, other }
    }
}

impl TryFrom<wire::Resource> for Resource {
    type Error = InvalidCall;

    fn try_from(wire: wire::Resource) -> Result<Self, InvalidCall> {
        let other: Members = match &wire.other {
            Some(other) => serde_json::from_slice(other).map_err(|error| invalid("resources", &error))?,
            None => Members::new(),
        };
        Ok(Self { arn: wire.arn, account_id: wire.account_id, kind: wire.r#type, other })
    }
}

fn set<T>(field: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *field = value;
    }
}

fn nonempty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// `None` if it is not JSON.
pub(crate) fn checked(json: &[u8]) -> Option<JsonRef<'_>> {
    JsonRef::parse(json).ok()
}

/// `None` if it is not JSON of that type.
pub(crate) fn parsed<T: DeserializeOwned>(json: &[u8]) -> Option<Box<T>> {
    serde_json::from_slice(json).ok()
}

/// Takes the text unless it is empty: an empty one stays in the record, since protobuf reads it as absent.
fn take_nonempty(field: &mut Option<String>) -> String {
    field.take_if(|text| !text.is_empty()).unwrap_or_default()
}

/// The JSON text as bytes, its buffer moved.
fn text(json: Option<Json>) -> Option<Bytes> {
    json.map(|json| Bytes::from(String::from(json)))
}

fn json(bytes: Option<Bytes>, field: &'static str) -> Result<Option<Json>, InvalidCall> {
    bytes
        .map(|bytes| serde_json::from_slice::<Box<RawValue>>(&bytes).map(Json::from))
        .transpose()
        .map_err(|error| invalid(field, &error))
}

fn invalid(field: &'static str, error: &serde_json::Error) -> InvalidCall {
    InvalidCall { field, reason: format!("is not the JSON it should be: {error}") }
}

fn nanos(time: EventTime) -> Option<i64> {
    time.unix_seconds().checked_mul(NANOS_PER_SECOND)
}

/// The usual form of a UUID, lowercase with hyphens.
pub(crate) fn format_uuid(bytes: &[u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut digits = text.bytes().filter(|byte| *byte != b'-').map(|byte| char::from(byte).to_digit(16));
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    digits.next().is_none().then_some(bytes)
}
