//! `PutAuditEvents` of cloudtrail-data, whose members begin with small letters.

use serde::{Deserialize, Serialize};

/// Of `PutAuditEvents`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PutAuditEventsInput {
    /// The channel, which a request has in its query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_arn: Option<String>,
    /// The same of what the sender says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// 1 to 100 events.
    pub audit_events: Option<Vec<AuditEvent>>,
}

/// An event as it is brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditEvent {
    /// The sender's own id of it.
    pub id: String,
    /// A JSON document.
    pub event_data: String,
    /// Base64 of the SHA-256 of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_data_checksum: Option<String>,
}

/// Of `PutAuditEvents`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PutAuditEventsOutput {
    /// Those that were taken.
    pub successful: Vec<ResultEntry>,
    /// Those that were not.
    pub failed: Vec<ResultErrorEntry>,
}

/// An event that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResultEntry {
    /// The sender's id.
    pub id: String,
    /// The record's.
    #[serde(rename = "eventID")]
    pub event_id: String,
}

/// An event that was not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResultErrorEntry {
    /// The sender's id.
    pub id: String,
    /// In one word.
    pub error_code: String,
    /// In a sentence.
    pub error_message: String,
}
