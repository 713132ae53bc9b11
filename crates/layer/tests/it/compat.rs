//! In the places where people put the layer, and with what HTTP can do.

mod bodies;
mod protocols;
mod routers;

use serde_json::Value;

/// Name, route and error of a record.
fn told(record: &Value) -> (&str, Option<&str>, Option<&str>) {
    let route = record["additionalEventData"]["http.route"].as_str();
    (record["eventName"].as_str().unwrap_or_default(), route, record["errorCode"].as_str())
}

fn status(record: &Value) -> Option<u64> {
    record["additionalEventData"]["http.response.status_code"].as_u64()
}
