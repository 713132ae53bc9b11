//! `LookupEvents`: the management events of an account and region, newest first, by at most one attribute.
//!
//! Where CloudTrail's documentation is silent: a token is good with another `MaxResults`, since that changes where pages
//! end and not what is in them; and a start before the window of history is moved to its beginning.

use jiff::Timestamp;
use sidetrail_api::shape::{
    Epoch, LookupAttribute, LookupEvent, LookupEventsInput, LookupEventsOutput, LookupResource,
};
use sidetrail_api::token::Query as Token;
use sidetrail_api::{Code, Error, Operation, quoted};

use super::Implementation;
use crate::Context;
use crate::access::Caller;
use crate::history::{Class, Condition, Event, Field, Found, Key, Named, Query, Seconds};
use crate::refusal::Refusal;

/// Events of a page, at most and by default.
const MAX_RESULTS: i64 = 50;
/// Characters of a value, of which some count twice.
const MAX_VALUE: usize = 2000;
const COUNT_TWICE: [char; 4] = ['_', ' ', ',', '\n'];

pub(super) struct LookupEvents;

impl Implementation for LookupEvents {
    const OPERATION: Operation = Operation::LookupEvents;
    type Input = LookupEventsInput;
    type Output = LookupEventsOutput;

    async fn call(
        context: &Context,
        caller: &Caller,
        input: LookupEventsInput,
    ) -> Result<LookupEventsOutput, Refusal> {
        let history = &context.kept.history;
        let asked = Asked::read(&input)?;
        let (account, region) = (caller.account.as_str(), caller.region.as_str());
        let token = asked.token(account, region);
        let after = match &input.next_token {
            Some(text) => Some(position(&token, text)?),
            None => None,
        };
        let query = asked.query(account, region, history.horizon());
        // Not above 50.
        let limit = usize::try_from(asked.limit).unwrap_or(0);
        let page = history.find(query, after, limit).await?;
        if page.missing_before.is_some() {
            let message = "Event history is still being read from the bucket. Try again.";
            return Err(Error::new(Code::ServiceUnavailable, message).into());
        }
        Ok(LookupEventsOutput {
            events: page.events.into_iter().map(event).collect(),
            next_token: page.next.map(|key| token.token(key.as_bytes())),
        })
    }
}

fn position(token: &Token, text: &str) -> Result<Key, Error> {
    let position = token.position(text).ok().and_then(|position| <[u8; Key::SIZE]>::try_from(position).ok());
    position.map(Key::from).ok_or_else(|| {
        let message = "A token that is not valid, or a token that was previously used in a request with different \
                       parameters. This exception is thrown if the token is not valid.";
        Error::new(Code::InvalidNextToken, message)
    })
}

/// What is asked for, checked.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    attribute: Option<(Field, String)>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    class: Class,
    limit: i64,
}

impl Asked {
    fn read(input: &LookupEventsInput) -> Result<Self, Error> {
        let class = match input.event_category.as_deref() {
            None => Class::Management,
            Some("insight") => Class::Insight,
            Some(other) => {
                let message =
                    format!("Event category {} is not valid: it is insight, or absent.", quoted(other));
                return Err(Error::new(Code::InvalidEventCategory, message));
            }
        };
        let attribute = match input.lookup_attributes.as_deref().unwrap_or_default() {
            [] => None,
            [attribute] => Some(read_attribute(attribute, class)?),
            more => {
                let count = more.len();
                let message =
                    format!("You can look up events by one attribute at a time; there are {count}.");
                return Err(Error::new(Code::InvalidLookupAttributes, message));
            }
        };
        let (from, to) = (input.start_time.map(|it| it.0), input.end_time.map(|it| it.0));
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(Error::new(
                Code::InvalidTimeRange,
                "Start time must be before or equal to end time.",
            ));
        }
        let limit = input.max_results.unwrap_or(MAX_RESULTS);
        if !(1..=MAX_RESULTS).contains(&limit) {
            let message = format!("Max results {limit} is not valid: it is from 1 to {MAX_RESULTS}.");
            return Err(Error::new(Code::InvalidMaxResults, message));
        }
        Ok(Self { attribute, from, to, class, limit })
    }

    /// What a token of it belongs to.
    fn token(&self, account: &str, region: &str) -> Token {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        let (field, value) = match &self.attribute {
            Some((field, value)) => (format!("{field:?}"), value.as_str()),
            None => (String::new(), ""),
        };
        let (class, from, to) = (format!("{:?}", self.class), time(self.from), time(self.to));
        Token::of(["LookupEvents", account, region, &class, &field, value, &from, &to])
    }

    fn query(&self, account: &str, region: &str, horizon: Seconds) -> Query {
        // An event's time has no fraction: what is asked for from a fraction on begins with the next second.
        let first = |at: Timestamp| Seconds::of(at).0.saturating_add(u32::from(at.subsec_nanosecond() > 0));
        let from = self.from.map_or(horizon, |from| horizon.max(Seconds(first(from))));
        Query {
            accounts: vec![account.to_owned()],
            regions: vec![region.to_owned()],
            classes: vec![self.class],
            from: Some(from),
            to: self.to.map(Seconds::of),
            conditions: self.attribute.iter().map(|(field, value)| Condition::is(*field, value)).collect(),
        }
    }
}

fn read_attribute(attribute: &LookupAttribute, class: Class) -> Result<(Field, String), Error> {
    let LookupAttribute { attribute_key, attribute_value } = attribute;
    let wrong = |message: String| Err(Error::new(Code::InvalidLookupAttributes, message));
    let field = match attribute_key.as_str() {
        "EventId" => Field::EventId,
        "EventName" => Field::EventName,
        "ReadOnly" => Field::ReadOnly,
        "Username" => Field::Username,
        "ResourceType" => Field::ResourceType,
        "ResourceName" => Field::ResourceName,
        "EventSource" => Field::EventSource,
        "AccessKeyId" => Field::AccessKeyId,
        other => {
            let keys = "EventId, EventName, ReadOnly, Username, ResourceType, ResourceName, EventSource, AccessKeyId";
            return wrong(format!("Lookup attribute {} is not valid: it is one of {keys}.", quoted(other)));
        }
    };
    if class == Class::Insight && !matches!(field, Field::EventId | Field::EventName | Field::EventSource) {
        return wrong(format!(
            "Insight events have no {attribute_key}: EventId, EventName and EventSource are looked up."
        ));
    }
    let twice = attribute_value.chars().filter(|char| COUNT_TWICE.contains(char)).count();
    let length = attribute_value.chars().count() + twice;
    if !(1..=MAX_VALUE).contains(&length) {
        return wrong(format!(
            "The value of {attribute_key} has {length} characters, of 1 to {MAX_VALUE}; underscores, spaces, commas and \
             new lines count twice."
        ));
    }
    if field == Field::ReadOnly && !matches!(attribute_value.as_str(), "true" | "false") {
        return wrong("The value of ReadOnly is true or false.".to_owned());
    }
    Ok((field, attribute_value.clone()))
}

/// An event as CloudTrail shows it.
fn event(found: Found) -> LookupEvent {
    let read = Event::read(&found.record);
    let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
    LookupEvent {
        event_id: owned(read.id.as_deref()),
        event_name: owned(read.name.as_deref()),
        read_only: read.read_only.map(|read_only| read_only.to_string()),
        access_key_id: read.identity.access_key_id.as_deref().map(str::to_owned),
        event_time: Epoch(found.key.at().timestamp()),
        event_source: owned(read.source.as_deref()),
        username: read.username().map(str::to_owned),
        resources: read
            .resources
            .iter()
            .map(|Named { kind, name }| LookupResource {
                resource_type: kind.as_deref().map(str::to_owned),
                resource_name: name.as_deref().map(str::to_owned),
            })
            .collect(),
        cloud_trail_event: found.record,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> Result<Asked, Code> {
        Asked::read(&serde_json::from_str(json).unwrap()).map_err(|error| error.code)
    }

    #[test]
    fn what_makes_no_sense_has_cloudtrails_own_code() {
        let long = |value: &str, count| {
            format!(
                r#"{{"LookupAttributes":[{{"AttributeKey":"Username","AttributeValue":"{}"}}]}}"#,
                value.repeat(count)
            )
        };
        let attribute = |key: &str, value: &str| {
            format!(r#"{{"LookupAttributes":[{{"AttributeKey":"{key}","AttributeValue":"{value}"}}]}}"#)
        };
        let two = attribute("EventName", "a")
            .replace("}]", r#"},{"AttributeKey":"EventId","AttributeValue":"b"}]"#);
        for (input, code) in [
            (two.as_str(), Code::InvalidLookupAttributes),
            (&*attribute("Region", "a"), Code::InvalidLookupAttributes),
            (&*attribute("EventName", ""), Code::InvalidLookupAttributes),
            (&*attribute("ReadOnly", "yes"), Code::InvalidLookupAttributes),
            (&*long("x", 2001), Code::InvalidLookupAttributes),
            (&*long("_", 1001), Code::InvalidLookupAttributes),
            (r#"{"StartTime":2,"EndTime":1}"#, Code::InvalidTimeRange),
            (r#"{"MaxResults":0}"#, Code::InvalidMaxResults),
            (r#"{"MaxResults":51}"#, Code::InvalidMaxResults),
            (r#"{"EventCategory":"management"}"#, Code::InvalidEventCategory),
            (
                r#"{"EventCategory":"insight","LookupAttributes":[{"AttributeKey":"Username","AttributeValue":"a"}]}"#,
                Code::InvalidLookupAttributes,
            ),
        ] {
            assert_eq!(asked(input), Err(code), "{input}");
        }
        for input in
            ["{}", &long("x", 2000), &long("_", 1000), r#"{"StartTime":1,"EndTime":1,"MaxResults":1}"#]
        {
            assert!(asked(input).is_ok(), "{input}");
        }
    }

    #[test]
    fn a_token_is_of_one_query() {
        let base = asked(r#"{"EndTime":5}"#).unwrap();
        let token = base.token("1", "r").token(Key::NEWEST.as_bytes());
        assert_eq!(position(&base.token("1", "r"), &token).unwrap(), Key::NEWEST);
        assert!(position(&asked(r#"{"EndTime":5,"MaxResults":7}"#).unwrap().token("1", "r"), &token).is_ok());
        for other in
            ["{}", r#"{"EndTime":6}"#, r#"{"StartTime":5}"#, r#"{"EndTime":5,"EventCategory":"insight"}"#]
        {
            let error = position(&asked(other).unwrap().token("1", "r"), &token).unwrap_err();
            assert_eq!(error.code, Code::InvalidNextToken, "{other}");
        }
        for (account, region) in [("2", "r"), ("1", "s")] {
            assert!(position(&base.token(account, region), &token).is_err());
        }
        assert!(position(&base.token("1", "r"), &base.token("1", "r").token(b"short")).is_err());
    }

    #[test]
    fn both_ends_are_included_and_history_has_a_beginning() {
        let query = |json| asked(json).unwrap().query("1", "r", Seconds(100));
        assert_eq!(query(r#"{"StartTime":200.5,"EndTime":300.5}"#).from, Some(Seconds(201)));
        assert_eq!(query(r#"{"StartTime":200,"EndTime":300.5}"#).to, Some(Seconds(300)));
        assert_eq!(query(r#"{"StartTime":5}"#).from, Some(Seconds(100)));
    }
}
