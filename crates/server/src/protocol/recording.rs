//! The server's own calls, recorded through Sidetrail's own layer.
//!
//! A call is routed twice: once by `X-Amz-Target`, which is all that its path does not say, and then by the operation's
//! name as path, where the layer has a rule for it. What is recorded of parameters is what the call was read as.

use serde_json::{Map, Value};
use sidetrail::{Audit, AuditLayer, BuildError};
use sidetrail_api::{Error, Operation};

use crate::access::Caller;
use crate::config::Recording;

/// How deep the names of parameters are changed.
const MAX_DEPTH: usize = 8;

/// Where calls are recorded.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    pub(super) layer: AuditLayer,
}

impl Recorder {
    pub(crate) fn new(recording: &Recording) -> Result<Self, BuildError> {
        let layer = AuditLayer::builder(recording.event_source.clone())
            .collector(recording.collector.clone())
            .build()?;
        Ok(Self { layer })
    }

    /// Waits for what is recorded to be on the collector's disk, for a while.
    pub(crate) async fn shutdown(&self, deadline: std::time::Duration) {
        if let Err(error) = self.layer.shutdown(deadline).await {
            tracing::warn!(error = %crate::chain(&error), "not all of the server's own calls are recorded");
        }
    }
}

/// Says of a call who makes it, and with which parameters.
pub(super) fn called(audit: &Audit, caller: &Caller, body: &[u8]) {
    audit.set_identity(caller.identity());
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else { return };
    for (name, value) in members {
        audit.parameter(&lower(&name), &lowered(value, MAX_DEPTH));
    }
}

/// Says of a call what it was refused for.
pub(super) fn refused(audit: &Audit, error: &Error) {
    let code = error.code.name();
    audit.error(code.strip_suffix("Exception").unwrap_or(code), error.message.clone());
}

/// What a call returned: of one that changes something.
pub(super) fn returned(audit: &Audit, operation: Operation, body: &[u8]) {
    if operation.is_read_only() {
        return;
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else { return };
    for (name, value) in members {
        audit.response_element(&lower(&name), &lowered(value, MAX_DEPTH));
    }
}

/// Names as records have them: `s3BucketName` for `S3BucketName`.
fn lowered(value: Value, depth: usize) -> Value {
    match value {
        Value::Object(members) if depth > 0 => {
            let members = members.into_iter().map(|(name, value)| (lower(&name), lowered(value, depth - 1)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(values) if depth > 0 => {
            Value::Array(values.into_iter().map(|value| lowered(value, depth - 1)).collect())
        }
        other => other,
    }
}

fn lower(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}
