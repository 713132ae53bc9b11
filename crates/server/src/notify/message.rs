//! Messages: what SNS sends of what CloudTrail publishes.

use jiff::Timestamp;
use serde::Serialize;
use sidetrail_archive::hash::Sha256;

use crate::hashed;

/// What CloudTrail publishes once, when a trail gets a topic. It is not JSON.
const VALIDATION: &str = "CloudTrail validation message.";

/// A message to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// A UUID. It is a hash of what the message says, so that sent again it is the same.
    pub(crate) id: String,
    /// The ARN of the topic.
    pub(crate) topic: String,
    /// The envelope, JSON.
    pub(crate) body: String,
}

/// SNS's envelope of a notification. Who signs it is not there: AWS's certificates are AWS's.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<'a> {
    #[serde(rename = "Type")]
    kind: &'a str,
    message_id: &'a str,
    topic_arn: &'a str,
    message: &'a str,
    timestamp: String,
}

/// CloudTrail's message.
#[derive(Serialize)]
struct Delivered<'a> {
    #[serde(rename = "s3Bucket")]
    bucket: &'a str,
    #[serde(rename = "s3ObjectKey")]
    keys: [&'a str; 1],
}

impl Message {
    /// An object was delivered, and stored at that time.
    pub(crate) fn delivered(topic: &str, trail: &str, bucket: &str, key: &str, stored: Timestamp) -> Self {
        // Two texts always have a JSON form.
        let text = serde_json::to_string(&Delivered { bucket, keys: [key] }).unwrap_or_default();
        Self::new(topic, trail, &text, stored)
    }

    /// The topic is to say whether it takes messages.
    pub(crate) fn validation(topic: &str, trail: &str, now: Timestamp) -> Self {
        Self::new(topic, trail, VALIDATION, now)
    }

    fn new(topic: &str, trail: &str, message: &str, at: Timestamp) -> Self {
        let timestamp = at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        let same = format!("{topic}\n{trail}\n{timestamp}\n{message}");
        let id = hashed::uuid(&Sha256::of(same.as_bytes()));
        let envelope =
            Envelope { kind: "Notification", message_id: &id, topic_arn: topic, message, timestamp };
        let body = serde_json::to_string(&envelope).unwrap_or_default();
        Self { id, topic: topic.to_owned(), body }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_message_is_what_readers_of_sns_expect() {
        let (topic, trail) = ("arn:aws:sns:r:111122223333:t", "arn:aws:cloudtrail:r:111122223333:trail/a");
        let at = "2026-01-15T11:05:03.25Z".parse().unwrap();
        let made = || Message::delivered(topic, trail, "b", "AWSLogs/x.json.gz", at);
        let envelope: Value = serde_json::from_str(&made().body).unwrap();
        assert_eq!(envelope["Type"], "Notification");
        assert_eq!(envelope["TopicArn"], topic);
        assert_eq!(envelope["Timestamp"], "2026-01-15T11:05:03.250Z");
        assert_eq!(envelope["MessageId"], made().id);
        let message: Value = serde_json::from_str(envelope["Message"].as_str().unwrap()).unwrap();
        assert_eq!(message, json!({ "s3Bucket": "b", "s3ObjectKey": ["AWSLogs/x.json.gz"] }));
        assert_eq!(made(), made());
        let other = Message::delivered(topic, trail, "b", "AWSLogs/y.json.gz", at);
        assert_ne!(made().id, other.id);
    }

    #[test]
    fn the_first_message_is_no_json() {
        let message = Message::validation("t", "a", Timestamp::UNIX_EPOCH);
        let envelope: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(envelope["Message"], "CloudTrail validation message.");
    }
}
