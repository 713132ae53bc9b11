//! Kubernetes Events about pods that are not audited: what `kubectl describe pod` shows.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::report::Finding;

/// The API server takes notes of less than 1024 bytes.
const MAX_NOTE: usize = 1000;
/// Longest name of an object.
const MAX_NAME: usize = 253;

/// The Event about a finding, and the collection to make it in. Its name follows from pod and reason, so that there is one,
/// whoever makes it and however often.
#[must_use]
pub fn event(finding: &Finding, reporter: &str, now: Timestamp) -> (String, Event) {
    let Finding { namespace, pod, uid, reason, .. } = finding;
    let tail = format!(".{}.{}", uid, reason.as_str().replace('_', "-"));
    let room = MAX_NAME.saturating_sub(tail.len());
    let name = format!("{}{tail}", &pod[..pod.floor_char_boundary(room)]);
    let advice = reason.advice();
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some("Audit".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(advice[..advice.floor_char_boundary(MAX_NOTE)].to_owned()),
        reason: Some("Unaudited".to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.clone()),
            namespace: Some(namespace.clone()),
            uid: Some(uid.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some("sidetrail.dev/injector".to_owned()),
        reporting_instance: Some(reporter[..reporter.floor_char_boundary(128)].to_owned()),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    };
    (format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"), event)
}
