//! What the collector was told of a call.

use std::{fmt::Write, sync::atomic::Ordering};

use prost::Message;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sidetrail::{Delivery, Record};
use sidetrail_wire::ingest::v1::{Call, event::Payload};

use super::{Case, SECRET, SERVICE, bodies::Carrier, transports::Stage};
use crate::sender::Collector;

/// How many intents, and how many calls, the collector has.
pub(super) fn count(collector: &Collector) -> (usize, usize) {
    collector.with(|log| {
        let is_intent = |(.., payload): &&(u64, u64, Payload)| matches!(payload, Payload::Intent(_));
        let is_call = |(.., payload): &&(u64, u64, Payload)| matches!(payload, Payload::Call(_));
        (log.stored.iter().filter(is_intent).count(), log.stored.iter().filter(is_call).count())
    })
}

pub(super) fn check(stage: &Stage) {
    let case = &stage.case;
    let is_guarded = case.delivery == Delivery::Guarded;
    let (stored, completed) = stage.collector.with(|log| (log.stored.clone(), log.completed.clone()));
    let call = match (&stored[..], is_guarded) {
        ([(1, 1, Payload::Call(call))], false) => {
            assert_eq!(completed, [], "{}", call.event_name);
            call
        }
        ([(1, 1, Payload::Intent(intent)), (2, 2, Payload::Call(call))], true) => {
            assert_eq!(completed, [(2, 1)], "{}", call.event_name);
            assert_eq!((&intent.event_id, &intent.event_name), (&call.event_id, &call.event_name));
            assert_eq!((&intent.error_code, &intent.resources), (&None, &call.resources));
            assert_no_secret(intent);
            call
        }
        _ => unreachable!("not one record: {stored:#?}"),
    };
    assert_eq!(stage.intents.load(Ordering::SeqCst), usize::from(is_guarded), "when the handler began");
    assert_no_secret(call);
    let record = serde_json::to_value(Record::try_from(call.clone()).unwrap()).unwrap();
    compare(&record, &expected(case));
    compare(&record["additionalEventData"], &additional(case));
}

/// Every member that is expected, and null where it is not to be there.
fn compare(told: &Value, expected: &Value) {
    let wrong = expected.as_object().unwrap().iter().filter(|(name, value)| told[*name] != **value);
    let wrong: Vec<_> = wrong.map(|(name, value)| format!("{name}: {}, not {value}", told[name])).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("; "));
}

fn assert_no_secret(call: &Call) {
    let bytes = call.encode_to_vec();
    let has_secret = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    assert!(!has_secret, "a secret in {call:?}");
}

fn expected(case: &Case) -> Value {
    let (code, message) = case.outcome.error.unzip();
    json!({
        "eventName": case.sent.event_name,
        "eventSource": SERVICE,
        "eventType": "AwsApiCall",
        "eventCategory": "Management",
        "managementEvent": true,
        "readOnly": case.sent.read_only,
        "userIdentity": (case.caller.identity)(),
        "sourceIPAddress": if case.transport.is_served() { "127.0.0.1" } else { "unknown" },
        "requestParameters": case.sent.parameters(),
        "responseElements": null,
        "errorCode": code,
        "errorMessage": message,
        "resources": case.sent.resources(),
    })
}

/// Of `additionalEventData`; null is what is not there.
fn additional(case: &Case) -> Value {
    let body = case.sent.body();
    let hash = case.sent.is_hashed.then(|| {
        Sha256::digest(&body).iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    });
    let [status, code] = case.outcome.statuses(case.sent.carrier);
    let is_grpc = case.sent.carrier != Carrier::Http;
    json!({
        "http.request.method": case.sent.method().as_str(),
        "http.route": case.sent.route(),
        "url.template": null,
        "rpc.system": is_grpc.then_some("grpc"),
        "rpc.service": is_grpc.then_some("shop.v1.Orders"),
        "http.response.status_code": status,
        "rpc.grpc.status_code": code,
        "http.request.body.size": body.len(),
        "http.request.body.sha256": hash,
        "identitySource": case.caller.source,
        "identityError": null,
    })
}
