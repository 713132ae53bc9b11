//! What history knows of a record: when it was, what kind it is, and the terms that it is found by.

use std::borrow::Cow;
use std::net::IpAddr;

use super::key::{Key, Seconds};
use super::peek::{members, text};
use super::resource::{self, Named};
use super::term::{Field, Term};
use super::words;

/// Resources of one record that are found and shown.
pub(super) const MAX_RESOURCES: usize = 32;

/// The part of history that an event is in. Each is looked up by itself, so that one of which there is little is not
/// looked for among much of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// What `LookupEvents` shows.
    Management,
    /// What it shows when asked for `insight`.
    Insight,
    /// Data events, network activity, and categories that CloudTrail does not have.
    Other,
}

impl Class {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Management, Self::Insight, Self::Other];
}

/// The members of a record that history looks at.
#[derive(Clone, Debug, Default)]
pub struct Event<'a> {
    /// The record, as it stands in its log file.
    pub record: &'a str,
    /// `eventTime`, if it is one.
    pub time: Option<Seconds>,
    sequence: u64,
    /// `eventID`.
    pub id: Text<'a>,
    /// `eventName`.
    pub name: Text<'a>,
    /// `eventSource`.
    pub source: Text<'a>,
    /// `readOnly`.
    pub read_only: Option<bool>,
    /// `eventCategory`.
    pub category: Text<'a>,
    event_type: Text<'a>,
    management: Option<bool>,
    /// `errorCode`.
    pub error_code: Text<'a>,
    error_message: Text<'a>,
    /// `sourceIPAddress`.
    pub address: Text<'a>,
    request_id: Text<'a>,
    shared_id: Text<'a>,
    /// `userIdentity`.
    pub identity: Identity<'a>,
    /// What `LookupEvents` names as resources.
    pub resources: Vec<Named<'a>>,
    parameters: Option<&'a str>,
    response: Option<&'a str>,
    insight: Insight<'a>,
}

type Text<'a> = Option<Cow<'a, str>>;

/// The members of `userIdentity` that history looks at.
#[derive(Clone, Debug, Default)]
pub struct Identity<'a> {
    kind: Text<'a>,
    /// `arn`.
    pub arn: Text<'a>,
    /// `principalId`.
    pub principal_id: Text<'a>,
    /// `accessKeyId`.
    pub access_key_id: Text<'a>,
    user_name: Text<'a>,
    invoked_by: Text<'a>,
}

/// What an Insight record is about; it has no such members of its own.
#[derive(Clone, Debug, Default)]
struct Insight<'a> {
    source: Text<'a>,
    name: Text<'a>,
    error_code: Text<'a>,
}

impl<'a> Event<'a> {
    /// Reads a record. Of what is no JSON object, or none to its end, as much is known as came before that.
    #[must_use]
    pub fn read(record: &'a str) -> Self {
        let mut event = Self { record, ..Self::default() };
        let mut listed = None;
        members(record, |key, value| match key {
            "eventTime" => event.time = text(value).and_then(|text| Seconds::parse(&text)),
            "eventID" => event.id = filled(value),
            "eventName" => event.name = filled(value),
            "eventSource" => event.source = filled(value),
            "eventCategory" => event.category = filled(value),
            "eventType" => event.event_type = filled(value),
            "readOnly" => event.read_only = serde_json::from_str(value).ok(),
            "managementEvent" => event.management = serde_json::from_str(value).ok(),
            "errorCode" => event.error_code = filled(value),
            "errorMessage" => event.error_message = filled(value),
            "sourceIPAddress" => event.address = filled(value),
            "requestID" => event.request_id = filled(value),
            "sharedEventID" => event.shared_id = filled(value),
            "userIdentity" => event.identity = Identity::read(value),
            "resources" => listed = Some(value),
            "requestParameters" => event.parameters = Some(value),
            "responseElements" => event.response = Some(value),
            "additionalEventData" => event.sequence = sequence(value),
            "insightDetails" => event.insight = Insight::read(value),
            _ => {}
        });
        if event.name.is_none() {
            event.name = event.insight.name.take();
        }
        if event.source.is_none() {
            event.source = event.insight.source.take();
        }
        if event.error_code.is_none() && event.class() == Class::Insight {
            event.error_code = event.insight.error_code.take();
        }
        event.resources = match listed.map(resource::listed).filter(|listed| !listed.is_empty()) {
            Some(listed) => listed,
            None => {
                event.parameters.map(|of| resource::implied(event.source.as_deref(), of)).unwrap_or_default()
            }
        };
        event.resources.truncate(MAX_RESOURCES);
        event
    }

    /// Its place in history. What has no readable `eventTime` is put where it was `delivered`.
    #[must_use]
    pub fn key(&self, delivered: Seconds) -> Key {
        Key::new(self.time.unwrap_or(delivered), self.sequence, self.record)
    }

    /// The part of history it is in. Records from before there was `eventCategory` say it by `managementEvent`, and those
    /// from before that were all of management.
    #[must_use]
    pub fn class(&self) -> Class {
        match self.category.as_deref() {
            Some("Management") => Class::Management,
            Some("Insight") => Class::Insight,
            Some(_) => Class::Other,
            None if self.event_type.as_deref() == Some("AwsCloudTrailInsight") => Class::Insight,
            None if self.management == Some(false) => Class::Other,
            None => Class::Management,
        }
    }

    /// `Username` as `LookupEvents` has it: the session of an assumed role, `root`, a service, or the name of a user.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        let Identity { kind, principal_id, user_name, invoked_by, .. } = &self.identity;
        let session = || principal_id.as_deref().and_then(|id| Some(id.split_once(':')?.1));
        match kind.as_deref() {
            Some("Root") => Some("root"),
            Some("AssumedRole" | "FederatedUser") => session().or(user_name.as_deref()),
            Some("AWSService") => invoked_by.as_deref().or(user_name.as_deref()),
            Some("WebIdentityUser" | "SAMLUser") => user_name.as_deref().or(principal_id.as_deref()),
            _ => user_name.as_deref().or_else(session),
        }
        .filter(|name| !name.is_empty())
    }

    /// Whether it failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.error_code.is_some() || self.error_message.is_some()
    }

    /// Shows each term that the event is found by; some more than once.
    pub fn terms(&self, each: &mut dyn FnMut(Term<'_>)) {
        let mut texts = |field, texts: &[&Text<'a>]| {
            for text in texts.iter().filter_map(|text| text.as_deref()) {
                each(Term::new(field, text));
            }
        };
        texts(Field::EventId, &[&self.id]);
        texts(Field::EventName, &[&self.name]);
        texts(Field::EventSource, &[&self.source]);
        texts(Field::AccessKeyId, &[&self.identity.access_key_id]);
        texts(Field::Principal, &[&self.identity.arn, &self.identity.principal_id]);
        texts(Field::ErrorCode, &[&self.error_code]);
        texts(Field::Category, &[&self.category]);
        texts(Field::RequestId, &[&self.request_id, &self.shared_id]);
        if let Some(read_only) = self.read_only {
            each(Term::new(Field::ReadOnly, if read_only { "true" } else { "false" }));
        }
        if let Some(username) = self.username() {
            each(Term::new(Field::Username, username));
        }
        if self.failed() {
            each(Term::new(Field::Failed, ""));
        }
        match self.address.as_deref().map(|address| (address, address.parse::<IpAddr>())) {
            Some((_, Ok(address))) => each(Term::address(address)),
            Some((name, Err(_))) => each(Term::new(Field::AddressName, name)),
            None => {}
        }
        for Named { kind, name } in &self.resources {
            for (field, text) in [(Field::ResourceType, kind), (Field::ResourceName, name)] {
                if let Some(text) = text {
                    each(Term::new(field, text));
                }
            }
        }
        let mut left = words::MAX_WORDS;
        for value in [self.parameters, self.response].into_iter().flatten().filter(|value| *value != "null") {
            words::of_json(value, &mut left, &mut |word| each(Term::new(Field::Word, word)));
        }
    }
}

impl<'a> Identity<'a> {
    fn read(value: &'a str) -> Self {
        let mut identity = Self::default();
        members(value, |key, value| match key {
            "type" => identity.kind = filled(value),
            "arn" => identity.arn = filled(value),
            "principalId" => identity.principal_id = filled(value),
            "accessKeyId" => identity.access_key_id = filled(value),
            "userName" => identity.user_name = filled(value),
            "invokedBy" => identity.invoked_by = filled(value),
            _ => {}
        });
        identity
    }
}

impl<'a> Insight<'a> {
    fn read(value: &'a str) -> Self {
        let mut insight = Self::default();
        members(value, |key, value| match key {
            "eventSource" => insight.source = filled(value),
            "eventName" => insight.name = filled(value),
            "errorCode" => insight.error_code = filled(value),
            _ => {}
        });
        insight
    }
}

/// The text that a value is, unless it is empty.
fn filled(value: &str) -> Text<'_> {
    text(value).filter(|text| !text.is_empty())
}

/// The event's number at its source, which the collector puts into `additionalEventData.sidetrail`.
fn sequence(additional: &str) -> u64 {
    let mut found = 0;
    if additional.contains("\"sidetrail\"") {
        members(additional, |key, value| {
            if key == "sidetrail" {
                members(value, |key, value| {
                    if key == "sequence" {
                        found = value.parse().unwrap_or(0);
                    }
                });
            }
        });
    }
    found
}

#[cfg(test)]
mod tests;
