//! Sidetrail's own query of event history, where `LookupEvents` is too narrow: `POST` to [`QUERY_EVENTS_PATH`], signed as
//! CloudTrail's operations are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Where it is asked for.
pub const QUERY_EVENTS_PATH: &str = "/sidetrail/v1/events";

/// What to find: events that meet everything that is given.
///
/// ```
/// # use sidetrail_api::shape::QueryEventsInput;
/// let input: QueryEventsInput = serde_json::from_str(
///     r#"{"where": {"eventName": ["Get*", "RefundOrder"], "address": "10.0.0.0/8"}, "failed": true, "text": "door"}"#,
/// )?;
/// assert_eq!(input.conditions["address"].values(), ["10.0.0.0/8"]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct QueryEventsInput {
    /// Of events then, or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Of events then, or earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// By field: `eventId`, `eventName`, `readOnly`, `username`, `resourceType`, `resource`, `eventSource`, `accessKeyId`,
    /// `principal`, `address`, `errorCode`, `category`, `requestId`. A value that ends in `*` is a prefix; of several one
    /// must hold. An address may be a network.
    #[serde(rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub conditions: BTreeMap<String, Values>,
    /// Words that parameters or response elements hold, all of them; `*` after the last stands for any rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Only events that failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// Regions to look in, of those that are served; all without it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// Events of a page, up to 1,000; 50 without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where to go on: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One value, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// This one.
    One(String),
    /// One of these.
    Any(Vec<String>),
}

impl Values {
    /// Them.
    #[must_use]
    pub fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Any(values) => values,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryEventsOutput {
    /// Newest first.
    pub events: Vec<QueriedEvent>,
    /// Where to go on, if there are more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
    /// Events that happened before this may be missing: their log files are still being read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub missing_before: Option<Timestamp>,
}

/// An event that was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueriedEvent {
    /// `live`: a collector told of it; `sealed`: it is in a log file that is what its signed manifest says; `verified`: a
    /// digest that was checked covers that file.
    pub state: String,
    /// Its place in history: the same for the same event, wherever and whenever it is found.
    pub key: String,
    /// The account whose evidence it is in.
    pub account: String,
    /// The region it is from.
    pub region: String,
    /// The record, byte for byte.
    pub record: Box<RawValue>,
}
