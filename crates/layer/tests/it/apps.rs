//! Three services as people write them: the routes, middleware and habits of well-known axum samples, and nothing of
//! ours. Each test adds the one line and looks at what comes of it.

mod jwt_login;
mod key_value;
mod todos;

use serde_json::Value;
use sidetrail::{AuditLayer, Builder, MemorySink};

fn layer(configure: impl FnOnce(Builder) -> Builder) -> (AuditLayer, MemorySink) {
    let sink = MemorySink::default();
    let builder = AuditLayer::builder("app.example.com").sink(sink.clone());
    (configure(builder).build().unwrap(), sink)
}

/// What every record of a service on a socket has.
fn complete(record: &Value, name: &str, route: &str, status: u16) {
    assert_eq!(record["eventName"], name, "{record:#}");
    let additional = &record["additionalEventData"];
    assert_eq!(additional["http.route"], route, "{record:#}");
    assert_eq!(additional["http.response.status_code"], status, "{record:#}");
    assert_eq!(record["readOnly"], additional["http.request.method"] == "GET", "{record:#}");
    assert_eq!(record["errorCode"].is_null(), status < 400, "{record:#}");
    assert_eq!(record["sourceIPAddress"], "127.0.0.1", "{record:#}");
    assert_eq!(record["eventSource"], "app.example.com", "{record:#}");
    assert!(record["userIdentity"]["principalId"].is_string(), "{record:#}");
    assert!(record["requestID"].is_string() && record["eventTime"].is_string(), "{record:#}");
}
