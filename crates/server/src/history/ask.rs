//! Reads what is asked for by our own query.

use ipnet::IpNet;
use jiff::Timestamp;
use sidetrail_api::shape::{QueryEventsInput, Values};
use sidetrail_api::token::Query as Token;
use sidetrail_api::{Code, Error, quoted};

use super::key::{Key, Seconds};
use super::query::{Condition, InvalidCondition, MAX_CONDITIONS, Query};
use super::term::Field;
use super::{Found, MAX_PAGE};

/// Events of a page if nothing is said.
const PAGE: u32 = 50;
/// Characters of a value.
const MAX_VALUE: usize = 2000;

/// Fields by name.
const FIELDS: [(&str, Field); 13] = [
    ("accessKeyId", Field::AccessKeyId),
    ("address", Field::Address),
    ("category", Field::Category),
    ("errorCode", Field::ErrorCode),
    ("eventId", Field::EventId),
    ("eventName", Field::EventName),
    ("eventSource", Field::EventSource),
    ("principal", Field::Principal),
    ("readOnly", Field::ReadOnly),
    ("requestId", Field::RequestId),
    ("resource", Field::ResourceName),
    ("resourceType", Field::ResourceType),
    ("username", Field::Username),
];

/// What is asked for, checked.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The query.
    pub(crate) query: Query,
    /// Events of a page.
    pub(crate) limit: usize,
    /// After which event to go on.
    pub(crate) after: Option<Key>,
    token: Token,
}

impl Asked {
    /// Reads what an account asks for, of the regions it may look into.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidTimeRangeException` or `InvalidNextTokenException`, with the field and its limit.
    pub(crate) fn read(input: &QueryEventsInput, account: &str, regions: &[&str]) -> Result<Self, Error> {
        let QueryEventsInput { from, to, conditions, text, failed, regions: chosen, limit, next } = input;
        if from.zip(*to).is_some_and(|(from, to)| from > to) {
            return Err(Error::new(Code::InvalidTimeRange, "from is after to"));
        }
        let limit = limit.unwrap_or(PAGE) as usize;
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(invalid("limit", format_args!("is {limit}, of 1 to {MAX_PAGE}")));
        }
        if let Some(other) = chosen.iter().find(|region| !regions.contains(&region.as_str())) {
            return Err(invalid("regions", format_args!("has {}, which is not served", quoted(other))));
        }
        let mut read = Vec::new();
        for (name, values) in conditions {
            read.push(condition(name, values)?);
        }
        if let Some(text) = text.as_deref() {
            bounded("text", text)?;
            read.extend(Condition::words(text).map_err(|error| invalid("text", error))?);
        }
        if *failed {
            read.push(Condition::failed());
        }
        if read.len() > MAX_CONDITIONS {
            return Err(invalid(
                "where",
                format_args!("has {} conditions, of at most {MAX_CONDITIONS}", read.len()),
            ));
        }
        let regions: Vec<String> = if chosen.is_empty() {
            regions.iter().map(|region| (*region).to_owned()).collect()
        } else {
            chosen.clone()
        };
        // Everything but the size of a page and the place must stay the same.
        let same = QueryEventsInput { limit: None, next: None, ..input.clone() };
        let same = serde_json::to_string(&same)
            .map_err(|error| Error::new(Code::InternalFailure, error.to_string()))?;
        let token = Token::of(["QueryEvents", account, &same]);
        let after = next.as_deref().map(|next| position(&token, next)).transpose()?;
        // An event's time has no fraction: what is asked for from a fraction on begins with the next second.
        let first =
            |at: Timestamp| Seconds(Seconds::of(at).0.saturating_add(u32::from(at.subsec_nanosecond() > 0)));
        let query = Query {
            accounts: vec![account.to_owned()],
            regions,
            classes: Vec::new(),
            from: from.map(first),
            to: to.map(Seconds::of),
            conditions: read,
        };
        Ok(Self { query, limit, after, token })
    }

    /// The token of the page after this event.
    #[must_use]
    pub(crate) fn next(&self, key: Key) -> String {
        self.token.token(key.as_bytes())
    }
}

fn invalid(field: &str, problem: impl std::fmt::Display) -> Error {
    Error::new(Code::Validation, format!("{field} {problem}"))
}

fn position(token: &Token, next: &str) -> Result<Key, Error> {
    let position = token.position(next).ok().and_then(|position| <[u8; Key::SIZE]>::try_from(position).ok());
    position
        .map(Key::from)
        .ok_or_else(|| Error::new(Code::InvalidNextToken, "next belongs to no page of this query"))
}

fn bounded(field: &str, value: &str) -> Result<(), Error> {
    let length = value.chars().count();
    if (1..=MAX_VALUE).contains(&length) {
        return Ok(());
    }
    Err(invalid(field, format_args!("has {length} characters, of 1 to {MAX_VALUE}")))
}

fn condition(name: &str, values: &Values) -> Result<Condition, Error> {
    let path = format!("where.{}", quoted(name));
    let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = FIELDS.iter().map(|(known, _)| *known).collect();
        return Err(invalid(&path, format_args!("is no field; there are {}", known.join(", "))));
    };
    let wrong = |error: InvalidCondition| invalid(&path, error);
    let mut any = Vec::new();
    for value in values.values() {
        bounded(&path, value)?;
        any.push(match field {
            Field::Address => address(value).map_err(|problem| invalid(&path, problem))?,
            Field::ReadOnly if !matches!(value.as_str(), "true" | "false") => {
                return Err(invalid(&path, "is true or false"));
            }
            // They are indexed by their bits.
            Field::EventId | Field::RequestId => Condition::is(*field, value),
            field => match value.strip_suffix('*') {
                Some(prefix) => Condition::starts_with(*field, prefix).map_err(wrong)?,
                None => Condition::is(*field, value),
            },
        });
    }
    Condition::any(any).map_err(wrong)
}

/// An address, a network, or the name of a service.
fn address(value: &str) -> Result<Condition, String> {
    if let Ok(network) = value.parse::<IpNet>() {
        return Ok(Condition::within(network));
    }
    if let Ok(address) = value.parse::<std::net::IpAddr>() {
        return Ok(Condition::within(IpNet::from(address)));
    }
    if value.contains('/') && value.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(format!("has {}, which is no network", quoted(value)));
    }
    let is =
        |prefix: &str| Condition::starts_with(Field::AddressName, prefix).map_err(|error| error.to_string());
    value.strip_suffix('*').map_or_else(|| Ok(Condition::is(Field::AddressName, value)), is)
}

/// An event as our own query shows it.
///
/// # Errors
/// If the record is not JSON, which none in a log file is.
pub(crate) fn shown(found: Found) -> Result<sidetrail_api::shape::QueriedEvent, serde_json::Error> {
    let Found { key, account, region, class: _, state, record } = found;
    let key = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let record = serde_json::value::RawValue::from_string(record)?;
    Ok(sidetrail_api::shape::QueriedEvent { state: state.name().to_owned(), key, account, region, record })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Event;

    fn asked(json: &str) -> Result<Asked, Code> {
        Asked::read(&serde_json::from_str(json).unwrap(), "123456789012", &["r-1", "r-2"])
            .map_err(|error| error.code)
    }

    #[test]
    fn conditions_are_read() {
        let record = r#"{"eventName":"GetOrder","sourceIPAddress":"10.1.2.3","readOnly":true,
            "userIdentity":{"arn":"arn:aws:iam::1:user/casey"},"requestParameters":{"note":"at the door"}}"#;
        let event = Event::read(record);
        for (json, matches) in [
            ("{}", true),
            (r#"{"where":{"eventName":["Refund","Get*"],"address":"10.0.0.0/8"},"text":"door"}"#, true),
            (r#"{"where":{"eventName":"Get"}}"#, false),
            (r#"{"where":{"address":"10.1.2.3"}}"#, true),
            (r#"{"where":{"address":"AWS Internal"}}"#, false),
            (r#"{"where":{"principal":"arn:aws:iam::1:user/*","readOnly":"true"}}"#, true),
            (r#"{"failed":true}"#, false),
        ] {
            assert_eq!(asked(json).unwrap().query.matches(&event), matches, "{json}");
        }
        let all = asked("{}").unwrap();
        assert_eq!((all.limit, &all.query.regions[..]), (50, &["r-1".to_owned(), "r-2".to_owned()][..]));
    }

    #[test]
    fn what_cannot_be_asked_is_refused_by_name() {
        for json in [
            r#"{"where":{"colour":"red"}}"#,
            r#"{"where":{"eventName":[]}}"#,
            r#"{"where":{"eventName":""}}"#,
            r#"{"where":{"address":"10.0.0.0/99"}}"#,
            r#"{"where":{"readOnly":"yes"}}"#,
            r#"{"text":"---"}"#,
            r#"{"limit":0}"#,
            r#"{"limit":1001}"#,
            r#"{"regions":["r-3"]}"#,
        ] {
            assert_eq!(asked(json).unwrap_err(), Code::Validation, "{json}");
        }
        let times = r#"{"from":"2026-01-15T11:00:00Z","to":"2026-01-15T10:00:00Z"}"#;
        assert_eq!(asked(times).unwrap_err(), Code::InvalidTimeRange);
        let next = asked("{}").unwrap().next(Key::NEWEST);
        assert_eq!(asked(&format!(r#"{{"next":"{next}","limit":7}}"#)).unwrap().after, Some(Key::NEWEST));
        assert_eq!(
            asked(&format!(r#"{{"next":"{next}","failed":true}}"#)).unwrap_err(),
            Code::InvalidNextToken
        );
        assert!(serde_json::from_str::<QueryEventsInput>(r#"{"unknown":1}"#).is_err());
    }
}
