//! What a trail is doing.

use serde::{Deserialize, Serialize};

use super::{Epoch, NamedTrailInput};

/// Of `GetTrailStatus`.
pub type GetTrailStatusInput = NamedTrailInput;

/// Of `GetTrailStatus`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "they are AWS's members, and documented by AWS")]
pub struct GetTrailStatusOutput {
    pub is_logging: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_delivery_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_delivery_time: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_notification_time: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_notification_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_logging_time: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_logging_time: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_digest_delivery_time: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_digest_delivery_error: Option<String>,
    /// No longer in use, and still sent: ISO text, or empty.
    pub latest_delivery_attempt_time: String,
    pub latest_notification_attempt_time: String,
    pub latest_notification_attempt_succeeded: String,
    pub latest_delivery_attempt_succeeded: String,
    pub time_logging_started: String,
    pub time_logging_stopped: String,
}
