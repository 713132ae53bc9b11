//! The event history.

use serde::{Deserialize, Serialize};

use super::Epoch;

/// Of `LookupEvents`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LookupEventsInput {
    /// At most one.
    pub lookup_attributes: Option<Vec<LookupAttribute>>,
    /// Of events then, or later.
    pub start_time: Option<Epoch>,
    /// Of events then, or earlier.
    pub end_time: Option<Epoch>,
    /// `insight`, or absent.
    pub event_category: Option<String>,
    /// Events of a page.
    pub max_results: Option<i64>,
    /// Where to go on.
    pub next_token: Option<String>,
}

/// What an event must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LookupAttribute {
    /// Which attribute.
    pub attribute_key: String,
    /// What it is.
    pub attribute_value: String,
}

/// Of `LookupEvents`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LookupEventsOutput {
    /// Newest first.
    pub events: Vec<LookupEvent>,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LookupEvent {
    /// The record's `eventID`.
    pub event_id: String,
    /// The record's `eventName`.
    pub event_name: String,
    /// `true` or `false`, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<String>,
    /// Of the caller, if one was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// The record's `eventTime`.
    pub event_time: Epoch,
    /// The record's `eventSource`.
    pub event_source: String,
    /// The user, or the session of a role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What the call touched.
    pub resources: Vec<LookupResource>,
    /// The whole record, as text.
    pub cloud_trail_event: String,
}

/// Something that a call touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LookupResource {
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// Which one: a name, an id or an ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
}
