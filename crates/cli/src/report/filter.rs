//! Which events a report is about, and what it shows of one.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::arguments::FilterArguments;
use crate::time::Range;

/// The most bytes of a pattern.
const MAX_PATTERN: usize = 2048;

/// A text in which * stands for any text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Pattern(String);

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_PATTERN {
            return Err(format!("must be 1 to {MAX_PATTERN} bytes"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// What a record says, as far as filters and reports ask. What is missing or of another type is absent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Event<'a> {
    #[serde(borrow)]
    pub(crate) event_time: Option<Cow<'a, str>>,
    #[serde(rename = "eventID", borrow)]
    pub(crate) event_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) event_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) event_source: Option<Cow<'a, str>>,
    #[serde(rename = "sourceIPAddress", borrow)]
    pub(crate) source_ip: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) error_code: Option<Cow<'a, str>>,
    pub(crate) user_identity: Option<Identity<'a>>,
    pub(crate) resources: Option<Vec<Resource<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Identity<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arn: Option<Cow<'a, str>>,
    #[serde(borrow)]
    principal_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    access_key_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    invoked_by: Option<Cow<'a, str>>,
    session_context: Option<Session<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Session<'a> {
    #[serde(borrow)]
    session_issuer: Option<Box<Identity<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Resource<'a> {
    #[serde(rename = "ARN", borrow)]
    arn: Option<Cow<'a, str>>,
}

impl<'a> Event<'a> {
    /// What can be read of a record; nothing if it is not even an object of the kind.
    pub(crate) fn of(record: &'a str) -> Self {
        serde_json::from_str(record).unwrap_or_default()
    }

    pub(crate) fn at(&self) -> Option<Timestamp> {
        self.event_time.as_ref()?.parse().ok()
    }

    /// Who it was, in the form that says most.
    pub(crate) fn principal(&self) -> &str {
        let names = self.user_identity.iter().flat_map(Identity::names);
        let kind = self.user_identity.iter().filter_map(|identity| identity.kind.as_deref());
        names.chain(kind).next().unwrap_or("-")
    }

    pub(crate) fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().flatten().filter_map(|resource| resource.arn.as_deref())
    }
}

impl Identity<'_> {
    /// All names of who it was, and of who is behind that.
    fn names(&self) -> Vec<&str> {
        let own = [&self.arn, &self.user_name, &self.principal_id, &self.access_key_id, &self.invoked_by];
        let mut names: Vec<&str> = own.into_iter().filter_map(Option::as_deref).collect();
        if let Some(issuer) =
            self.session_context.as_ref().and_then(|session| session.session_issuer.as_ref())
        {
            names.extend(issuer.names());
        }
        names
    }
}

/// A question to an archive.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) range: Range,
    pub(crate) arguments: FilterArguments,
}

impl Filter {
    /// Whether a record is one that is asked for.
    pub(crate) fn wants(&self, record: &str) -> bool {
        let event = Event::of(record);
        let FilterArguments {
            principal,
            resource,
            event_name,
            event_source,
            source_ip,
            event_id,
            error_code,
        } = &self.arguments;
        let any = |patterns: &[Pattern], values: &[&str]| {
            patterns.is_empty()
                || values.iter().any(|value| patterns.iter().any(|pattern| pattern.matches(value)))
        };
        let one =
            |patterns: &[Pattern], value: &Option<Cow<'_, str>>| any(patterns, value.as_deref().as_slice());
        event.at().is_some_and(|at| self.range.contains(at))
            && one(event_name, &event.event_name)
            && one(event_source, &event.event_source)
            && one(source_ip, &event.source_ip)
            && one(event_id, &event.event_id)
            && any(error_code, &[event.error_code.as_deref().unwrap_or("-")])
            && any(resource, &event.resources().collect::<Vec<_>>())
            && any(principal, &event.user_identity.as_ref().map_or_else(Vec::new, Identity::names))
    }

    /// The filters in words: name and pattern.
    pub(crate) fn described(&self) -> Vec<(&'static str, String)> {
        let FilterArguments {
            principal,
            resource,
            event_name,
            event_source,
            source_ip,
            event_id,
            error_code,
        } = &self.arguments;
        [
            ("principal", principal),
            ("resource", resource),
            ("event name", event_name),
            ("event source", event_source),
            ("source address", source_ip),
            ("event id", event_id),
            ("error code", error_code),
        ]
        .into_iter()
        .flat_map(|(name, patterns)| patterns.iter().map(move |pattern| (name, pattern.to_string())))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, matches) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("*b*", "abc", true),
            ("arn:*:order/17", "arn:aws:orders:eu:1:order/17", true),
            ("arn:*:order/17", "arn:aws:orders:eu:1:order/171", false),
        ] {
            assert_eq!(Pattern(pattern.to_owned()).matches(text), matches, "{pattern} {text}");
        }
        assert!("".parse::<Pattern>().is_err());
    }

    const RECORD: &str = r#"{"eventTime":"2026-01-15T11:00:00Z","eventID":"1","eventName":"GetOrder",
        "eventSource":"orders.example.com","sourceIPAddress":"192.0.2.1","errorCode":"AccessDenied",
        "userIdentity":{"type":"AssumedRole","principalId":"AROA:alice","sessionContext":{"sessionIssuer":{"userName":"admin"}}},
        "resources":[{"ARN":"arn:aws:orders:local:1:order/17"},{"type":"x"}]}"#;

    fn wants(change: impl Fn(&mut FilterArguments)) -> bool {
        let mut arguments = FilterArguments::default();
        change(&mut arguments);
        Filter { range: Range::default(), arguments }.wants(RECORD)
    }

    #[test]
    fn every_filter_that_is_given_has_to_match() {
        let pattern = |text: &str| vec![text.parse::<Pattern>().unwrap()];
        assert!(wants(|_| {}));
        assert!(wants(|it| it.principal = pattern("*alice")));
        assert!(wants(|it| it.principal = pattern("admin")));
        assert!(!wants(|it| it.principal = pattern("bob")));
        assert!(wants(|it| it.resource = pattern("*order/17")));
        assert!(!wants(|it| it.resource = pattern("*order/1")));
        assert!(wants(|it| it.event_name = pattern("Get*")));
        assert!(wants(|it| it.error_code = pattern("AccessDenied")));
        assert!(!wants(|it| it.error_code = pattern("-")));
        assert!(!wants(|it| {
            it.event_name = pattern("Get*");
            it.source_ip = pattern("192.0.2.2");
        }));
        assert!(wants(|it| it.source_ip = [pattern("192.0.2.2"), pattern("192.0.2.1")].concat()));
        assert_eq!(Event::of(RECORD).principal(), "AROA:alice");
        // What is no record, or has no time, is not asked for.
        let all = Filter { range: Range::default(), arguments: FilterArguments::default() };
        assert!(!all.wants("{}") && !all.wants("[]") && !all.wants(r#"{"eventTime":5}"#));
    }
}
