//! One event a line, for people or for programs.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;
use sidetrail_api::shape::QueriedEvent;

use crate::print::printable;

/// What the line for people is made of.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Record<'a> {
    #[serde(borrow)]
    event_time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_source: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "sourceIPAddress")]
    address: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error_code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_identity: Option<Identity<'a>>,
    #[serde(borrow)]
    resources: Option<Vec<Resource<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Identity<'a> {
    #[serde(borrow)]
    arn: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    principal_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    invoked_by: Option<Cow<'a, str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resource<'a> {
    #[serde(borrow, rename = "ARN")]
    arn: Option<Cow<'a, str>>,
}

/// A line without its end.
pub(crate) fn line(event: &QueriedEvent, json: bool) -> serde_json::Result<String> {
    if json { serde_json::to_string(event) } else { Ok(text(event)) }
}

/// Time, state, name, source, who, from where, what was touched, and what went wrong.
fn text(event: &QueriedEvent) -> String {
    // A record of odd types has its event all the same.
    let record: Record<'_> = serde_json::from_str(event.record.get()).unwrap_or_default();
    let or = |text: &Option<Cow<'_, str>>| printable(text.as_deref().unwrap_or("-")).into_owned();
    let identity = record.user_identity.unwrap_or_default();
    let who = identity.user_name.or(identity.arn).or(identity.invoked_by).or(identity.principal_id);
    let mut line = format!(
        "{}  {:8}  {:24}  {:28}  {:20}  {:15}",
        or(&record.event_time),
        printable(&event.state),
        or(&record.event_name),
        or(&record.event_source),
        or(&who),
        or(&record.address),
    );
    let first =
        record.resources.and_then(|resources| resources.into_iter().find_map(|resource| resource.arn));
    // Writing into a String does not fail.
    let _ = write!(line, "  {}", or(&first));
    if let Some(code) = &record.error_code {
        let _ = write!(line, "  {}", printable(code));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(record: &str) -> QueriedEvent {
        QueriedEvent {
            state: "sealed".into(),
            key: "00".into(),
            account: "123456789012".into(),
            region: "r-1".into(),
            record: serde_json::value::RawValue::from_string(record.to_owned()).unwrap(),
        }
    }

    #[test]
    fn a_line_says_who_did_what() {
        let record = r#"{"eventTime":"2026-01-15T10:41:17Z","eventName":"GetOrder","eventSource":"orders.example.com","userIdentity":{"userName":"ca\u001bsey"},"resources":[{},{"ARN":"arn:x"}],"errorCode":"NotFound"}"#;
        let line = text(&event(record));
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>(),
            [
                "2026-01-15T10:41:17Z",
                "sealed",
                "GetOrder",
                "orders.example.com",
                r"ca\u{1b}sey",
                "-",
                "arn:x",
                "NotFound"
            ]
        );
        assert!(super::line(&event(record), true).unwrap().contains(record));
        assert!(text(&event(r#"{"eventName":7}"#)).contains("sealed"));
    }
}
