//! The record of a call, straight from the call.

use prost::{
    Message,
    encoding::{bool, message, sfixed64},
};
use sidetrail_record::Record;
use sidetrail_wire::ingest::v1::{self as wire, Call};

use super::begin;
use crate::{Draft, draft::Outline};

/// The members of every record that `Call` has no field for.
const OTHER: &[u8] = br#"{"eventVersion":"1.11"}"#;

/// Fields of `Call`.
mod field {
    pub(super) const EVENT_ID: u32 = 1;
    pub(super) const TIME: u32 = 2;
    pub(super) const EVENT_SOURCE: u32 = 3;
    pub(super) const EVENT_NAME: u32 = 4;
    pub(super) const EVENT_TYPE: u32 = 5;
    pub(super) const EVENT_CATEGORY: u32 = 6;
    pub(super) const READ_ONLY: u32 = 7;
    pub(super) const MANAGEMENT_EVENT: u32 = 8;
    pub(super) const USER_IDENTITY: u32 = 9;
    pub(super) const SOURCE_IP_ADDRESS: u32 = 10;
    pub(super) const USER_AGENT: u32 = 11;
    pub(super) const ERROR_CODE: u32 = 12;
    pub(super) const ERROR_MESSAGE: u32 = 13;
    pub(super) const REQUEST_ID: u32 = 14;
    pub(super) const REQUEST_PARAMETERS: u32 = 15;
    pub(super) const RESPONSE_ELEMENTS: u32 = 16;
    pub(super) const ADDITIONAL_EVENT_DATA: u32 = 17;
    pub(super) const RESOURCES: u32 = 18;
    pub(super) const OTHER: u32 = 22;
}

/// The record of a call, as the payload of an event.
pub(in crate::sender) fn call(draft: Draft) -> Vec<u8> {
    const USUAL: usize = 1024;
    let mut out = Vec::with_capacity(USUAL);
    write_call(draft, &mut out);
    out
}

/// As [`call`], at the end of `out`.
pub(in crate::sender) fn write_call(mut draft: Draft, out: &mut Vec<u8>) {
    write(draft.outline(), out);
}

/// What `Call::from(Record::from(outline))` is, encoded, without making either.
fn write(outline: Outline<'_>, out: &mut Vec<u8>) {
    let nanoseconds = outline.time.and_then(|time| time.unix_seconds().checked_mul(1_000_000_000));
    let (Some(nanoseconds), false, false) = (nanoseconds, outline.source.is_empty(), outline.name.is_empty())
    else {
        // What `Call` has no form for travels in `Call.other`.
        out.append(&mut Call::from(Record::from(outline)).encode_to_vec());
        return;
    };
    let mut bytes = |tag, value: &[u8]| {
        begin(tag, value.len(), out);
        out.extend_from_slice(value);
    };
    bytes(field::EVENT_ID, &outline.event_id);
    bytes(field::EVENT_SOURCE, outline.source.as_bytes());
    bytes(field::EVENT_NAME, outline.name.as_bytes());
    bytes(field::EVENT_TYPE, Outline::EVENT_TYPE.as_bytes());
    bytes(field::EVENT_CATEGORY, outline.category().as_bytes());
    bytes(field::SOURCE_IP_ADDRESS, outline.address().as_bytes());
    if let Some(user_agent) = &outline.user_agent {
        bytes(field::USER_AGENT, user_agent.as_bytes());
    }
    if let Some((code, message)) = &outline.error {
        bytes(field::ERROR_CODE, code.as_bytes());
        bytes(field::ERROR_MESSAGE, message.as_bytes());
    }
    bytes(field::REQUEST_ID, outline.request_id.as_bytes());
    bytes(field::REQUEST_PARAMETERS, outline.parameters.as_deref().unwrap_or("null").as_bytes());
    bytes(field::RESPONSE_ELEMENTS, outline.elements.as_deref().unwrap_or("null").as_bytes());
    if let Some(additional) = &outline.additional {
        bytes(field::ADDITIONAL_EVENT_DATA, additional.as_bytes());
    }
    bytes(field::OTHER, OTHER);
    sfixed64::encode(field::TIME, &nanoseconds, out);
    bool::encode(field::READ_ONLY, &outline.read_only, out);
    bool::encode(field::MANAGEMENT_EVENT, &!outline.is_data_event, out);
    message::encode(field::USER_IDENTITY, &wire::UserIdentity::from(outline.identity), out);
    for resource in outline.resources {
        message::encode(field::RESOURCES, &wire::Resource::from(resource), out);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use http_body_util::{BodyExt, Full};
    use serde_json::json;
    use sidetrail_record::Resource;
    use tower::{ServiceExt, service_fn};
    use tower_layer::Layer;

    use super::*;
    use crate::{
        Audit, AuditLayer, Identity, JwtClaims, Level, PeerAddr, RequestBody, ResourceTemplate, Rule, Sink,
    };

    /// A sink that compares both forms of what it gets.
    #[derive(Default)]
    struct Compare(AtomicUsize);

    impl Sink for Compare {
        fn record(&self, _: Record) {
            panic!("not a draft");
        }

        fn accept(&self, mut draft: Draft) {
            let outline = draft.outline();
            let mut encoded = Vec::new();
            write(outline.clone(), &mut encoded);
            let call = Call::from(Record::from(outline));
            assert_eq!(Call::decode(&*encoded).unwrap(), call);
            assert_eq!(encoded.len(), call.encoded_len());
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Calls an audited service once. `handle` sees what a handler would.
    async fn compare(service: &str, request: Request<Full<Bytes>>, handle: fn(&Audit) -> StatusCode) {
        let sink = Arc::new(Compare::default());
        let order = ResourceTemplate::new("AWS::O::Order", "arn:aws:o:{region}:{account}:order/{id}");
        let layer = AuditLayer::builder(service).sink(Arc::clone(&sink)).level(Level::RequestResponse);
        let layer = layer.route_any("/orders/{id}", Rule::new().resource(order)).build().unwrap();
        let service = layer.layer(service_fn(async |request: Request<RequestBody<Full<Bytes>>>| {
            let status = handle(&Audit::of(request.extensions()));
            request.into_body().collect().await.unwrap();
            Response::builder().status(status).body(Full::<Bytes>::from("{}"))
        }));
        service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(sink.0.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_call_is_encoded_as_its_record_is() {
        let request = || Request::post("/orders/17?x=y").header("user-agent", "test/1");
        let empty = || Request::get("/").body(Full::default()).unwrap();
        compare("orders", empty(), |_| StatusCode::OK).await;
        compare("", empty(), |_| StatusCode::NOT_FOUND).await;
        let peer = |text: &str| PeerAddr(text.parse().unwrap());
        let claims = JwtClaims::new(&json!({ "sub": "u1", "iss": "i", "jti": "t-9", "iat": 1_768_473_677 }));
        let full = request()
            .header("x-request-id", "r-1")
            .header("content-type", "application/json")
            .extension(peer("192.0.2.17:1"))
            .extension(claims.unwrap());
        compare("orders", full.body(Full::from(r#"{"a":[1]}"#)).unwrap(), |audit| {
            audit.error("OutOfStock", "no tea");
            audit.add_resource(Resource { arn: Some("arn:x".to_owned()), ..Resource::default() });
            audit.response_element("id", &7);
            StatusCode::CONFLICT
        })
        .await;
        let six = request().extension(peer("[2001:db8::1]:1"));
        compare("orders", six.body(Full::default()).unwrap(), |audit| {
            audit.parameter("large", &"x".repeat(200_000));
            audit.set_identity(Identity::service("billing"));
            StatusCode::INTERNAL_SERVER_ERROR
        })
        .await;
    }

    #[test]
    fn what_every_record_has_beside_a_calls_fields() {
        let version = Record { event_version: Some(Record::EVENT_VERSION.to_owned()), ..Record::default() };
        assert_eq!(Call::from(version).other.unwrap(), OTHER);
    }
}
