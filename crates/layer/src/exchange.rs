//! One request on its way through the service, and the record that it becomes.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use sidetrail_record::{EventTime, Json, Record, UserIdentity, limits};

use crate::{
    Identity, Level,
    capture::{BodyKind, Fields, Object, Tee},
    handle::Additions,
    id,
    outcome::{self, End},
    policy::{Action, Policy},
    redact,
    route::Route,
};

/// The address of the connection's other end, for servers that Sidetrail does not know: insert it into the request's
/// extensions. With the feature `axum`, axum's `ConnectInfo<SocketAddr>` is understood without this.
///
/// Headers such as `X-Forwarded-For` are never believed: anybody can send them.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub SocketAddr);

/// What is known of a request when it arrives, and what becomes known while it is served.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) policy: Arc<Policy>,
    pub(crate) action: Arc<Action>,
    pub(crate) method: Method,
    id: [u8; 16],
    started: Instant,
    route: Route,
    uri: Uri,
    caller: Option<(Identity, Arc<str>)>,
    peer: Option<IpAddr>,
    user_agent: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
    trace: Option<HeaderValue>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    /// The request's body.
    pub(crate) tee: Tee,
    pub(crate) additions: Additions,
    /// The record is made; nothing that comes now can change it.
    pub(crate) finished: bool,
}

/// What is known of the response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Option<StatusCode>,
    pub(crate) grpc: Option<u16>,
    pub(crate) tee: Tee,
}

impl Exchange {
    /// Takes note of a request. `None` if such requests are not recorded.
    pub(crate) fn begin(policy: &Arc<Policy>, parts: &Parts) -> Option<Self> {
        let route = Route::of(parts);
        let action = policy.action(parts, &route);
        if action.level == Level::None {
            return None;
        }
        let header = |name: HeaderName| parts.headers.get(name).cloned();
        let cap = if action.level >= Level::Request { policy.body_cap } else { 0 };
        let tee = Tee::new(BodyKind::of(&parts.headers), cap);
        Some(Self {
            id: id::uuid(),
            started: Instant::now(),
            method: parts.method.clone(),
            uri: uri(parts).clone(),
            caller: policy.chain.identify(parts),
            peer: peer(parts),
            user_agent: header(header::USER_AGENT),
            request_id: header(HeaderName::from_static("x-request-id")),
            trace: header(HeaderName::from_static("traceparent")),
            state: Mutex::new(State { tee, additions: Additions::default(), finished: false }),
            policy: Arc::clone(policy),
            action,
            route,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty copy of the response's body.
    pub(crate) fn response_tee(&self, headers: &HeaderMap) -> Tee {
        let cap = if self.action.level >= Level::RequestResponse { self.policy.body_cap } else { 0 };
        Tee::new(BodyKind::of(headers), cap)
    }

    /// Makes the record and hands it over. The caller sees to it that this happens once.
    pub(crate) fn finish(&self, end: End, answer: &Answer) {
        let mut state = self.lock();
        state.finished = true;
        let mut additions = std::mem::take(&mut state.additions);
        let tee = std::mem::replace(&mut state.tee, Tee::new(BodyKind::Opaque(None), 0));
        drop(state);

        let (identity, identity_source) = match (additions.identity.take(), &self.caller) {
            (Some(identity), _) => (identity, "handler"),
            (None, Some((identity, source))) => (identity.clone(), &**source),
            (None, None) => (Identity::anonymous(), "none"),
        };
        let (error_code, error_message) = match outcome::failure(end, answer.status, answer.grpc) {
            _ if end == End::Answered && additions.error.is_some() => additions.error.take().unzip(),
            Some((code, message)) => (Some(code.to_owned()), Some(message.to_owned())),
            None => (None, None),
        };
        let event_id = id::format(self.id);
        let mut record = Record {
            event_version: Some(Record::EVENT_VERSION.to_owned()),
            user_identity: Some(UserIdentity::from(identity)),
            event_time: now(),
            event_source: Some(self.policy.service.clone()),
            event_name: Some(self.action.name.clone()),
            source_ip_address: Some(self.peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string())),
            user_agent: header_text(self.user_agent.as_ref()),
            error_code,
            error_message,
            request_parameters: Some(self.parameters(&additions, &tee)),
            response_elements: Some(self.elements(&additions, &answer.tee)),
            additional_event_data: self.additional(identity_source, &tee, answer),
            request_id: Some(header_text(self.request_id.as_ref()).unwrap_or_else(|| event_id.clone())),
            event_id: Some(event_id),
            read_only: Some(self.action.read_only),
            resources: Some(additions.resources).filter(|resources| !resources.is_empty()),
            event_type: Some("AwsApiCall".to_owned()),
            management_event: Some(true),
            event_category: Some("Management".to_owned()),
            ..Record::default()
        };
        limits::apply(&mut record);
        self.policy.sink.record(record);
    }

    fn parameters(&self, additions: &Additions, tee: &Tee) -> Json {
        let redactor = &self.policy.redactor;
        let mut object = Object::with(&additions.parameters);
        object.path(self.route.parameters(self.uri.path()), redactor);
        if let Some(query) = self.uri.query() {
            object.query(query, redactor);
        }
        tee.record(&mut object, redactor);
        object.finish().unwrap_or_else(Json::null)
    }

    fn elements(&self, additions: &Additions, tee: &Tee) -> Json {
        let mut object = Object::with(&additions.elements);
        tee.record(&mut object, &self.policy.redactor);
        object.finish().unwrap_or_else(Json::null)
    }

    /// `additionalEventData`: OpenTelemetry's attribute names where it has one.
    fn additional(&self, identity_source: &str, tee: &Tee, answer: &Answer) -> Option<Json> {
        const USUAL: usize = 384;
        let mut fields = Fields::with_capacity(USUAL);
        fields.string("http.request.method", self.method.as_str());
        match &self.route {
            Route::Known(template) => fields.string("http.route", template),
            Route::Guessed(template) => fields.string("url.template", template),
        }
        if let Some(service) = &self.action.grpc_service {
            fields.string("rpc.system", "grpc");
            fields.string("rpc.service", service);
        }
        if let Some(status) = answer.status {
            fields.plain("http.response.status_code", status.as_u16());
        }
        if let Some(code) = answer.grpc {
            fields.plain("rpc.grpc.status_code", code);
        }
        fields.plain("http.request.body.size", tee.seen);
        fields.plain("http.response.body.size", answer.tee.seen);
        fields.plain("durationMs", self.started.elapsed().as_micros() as f64 / 1000.0);
        if let Some((trace, span)) = self.trace.as_ref().and_then(trace_context) {
            fields.string("trace_id", trace);
            fields.string("span_id", span);
        }
        fields.string("identitySource", identity_source);
        fields.finish()
    }
}

/// The URI as the client sent it: nested routers cut off what they matched.
fn uri(parts: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = parts.extensions.get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    &parts.uri
}

fn peer(parts: &Parts) -> Option<IpAddr> {
    let address = parts.extensions.get().map(|PeerAddr(address)| *address);
    #[cfg(feature = "axum")]
    let address = address
        .or_else(|| parts.extensions.get().map(|axum::extract::ConnectInfo::<SocketAddr>(address)| *address));
    // An IPv4 client of an IPv6 socket is an IPv4 client.
    address.map(|address| address.ip().to_canonical())
}

/// Seconds, rounded down, as CloudTrail does.
fn now() -> Option<EventTime> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    EventTime::from_unix_seconds(seconds.try_into().ok()?)
}

/// The text of a header, unless it is a secret by its looks.
fn header_text(value: Option<&HeaderValue>) -> Option<String> {
    let mut text = redact::text(String::from_utf8_lossy(value?.as_bytes())).into_owned();
    limits::cut(&mut text, limits::MAX_TEXT);
    Some(text)
}

/// Trace id and span id of a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_context(header: &HeaderValue) -> Option<(&str, &str)> {
    let is_id = |text: &&str, length: usize| {
        text.len() == length
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && text.bytes().any(|byte| byte != b'0')
    };
    let mut parts = header.to_str().ok()?.split('-').skip(1);
    let trace = parts.next().filter(|text| is_id(text, 32))?;
    let span = parts.next().filter(|text| is_id(text, 16))?;
    Some((trace, span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_context_is_believed_where_it_is_well_formed() {
        let parse = |text: &'static str| trace_context(&HeaderValue::from_static(text)).is_some();
        assert!(parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(!parse("00-00000000000000000000000000000000-00f067aa0ba902b7-01"));
        assert!(!parse("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01"));
        assert!(!parse("00-4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(!parse(""));
    }
}
