//! A call that has ended, and the record that it becomes.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use sidetrail_record::{EventTime, Json, Record, UserIdentity, limits};

use crate::{
    Identity,
    capture::{Fields, Object, Tee, push_string},
    exchange::{Answer, Exchange},
    handle::{Additions, TypedBody},
    id,
    outcome::{self, End},
    policy::Action,
    redact::Redactor,
    route::Route,
};

/// Bytes of JSON that a record's headers may take.
const MAX_HEADER_BYTES: usize = 8 * 1024;

/// A call that has ended, not written down yet.
///
/// Making the [`Record`] takes longer than anything else that the layer does. A [`Sink`](crate::Sink) with a thread of
/// its own makes it there.
pub struct Draft {
    exchange: Arc<Exchange>,
    action: Arc<Action>,
    end: End,
    answer: Answer,
    additions: Additions,
    /// The request's body.
    tee: Tee,
    time: SystemTime,
    duration: Duration,
}

impl Draft {
    pub(crate) fn new(
        exchange: Arc<Exchange>,
        action: Arc<Action>,
        end: End,
        answer: Answer,
        additions: Additions,
        tee: Tee,
    ) -> Self {
        let duration = exchange.started.elapsed();
        Self { exchange, action, end, answer, additions, tee, time: SystemTime::now(), duration }
    }

    /// The record, with secrets taken out and within CloudTrail's limits.
    #[must_use]
    pub fn into_record(mut self) -> Record {
        let exchange = Arc::clone(&self.exchange);
        let action = Arc::clone(&self.action);
        let (identity, identity_source) = match (self.additions.identity.take(), &exchange.caller) {
            (Some(identity), _) => (identity, "handler"),
            (None, Some((identity, source))) => (identity.clone(), &**source),
            (None, None) => (Identity::anonymous(), "none"),
        };
        let (error_code, error_message) =
            match outcome::failure(self.end, self.answer.status, self.answer.grpc) {
                _ if self.end == End::Answered && self.additions.error.is_some() => {
                    self.additions.error.take().unzip()
                }
                Some((code, message)) => (Some(code.to_owned()), Some(message.to_owned())),
                None => (None, None),
            };
        let event_id = id::format(exchange.id);
        let (parameters, elements) = (self.parameters(), self.elements());
        let mut record = Record {
            event_version: Some(Record::EVENT_VERSION.to_owned()),
            user_identity: Some(UserIdentity::from(identity)),
            event_time: event_time(self.time),
            event_source: Some(exchange.policy.service.clone()),
            event_name: Some(action.name.clone()),
            source_ip_address: Some(
                exchange.client.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string()),
            ),
            user_agent: header_text(exchange.user_agent.as_ref(), &action.redactor),
            error_code,
            error_message,
            request_parameters: Some(parameters),
            response_elements: Some(elements),
            additional_event_data: self.additional(identity_source),
            request_id: Some(
                header_text(exchange.request_id.as_ref(), &action.redactor)
                    .unwrap_or_else(|| event_id.clone()),
            ),
            event_id: Some(event_id),
            read_only: Some(action.read_only),
            resources: Some(self.additions.resources).filter(|resources| !resources.is_empty()),
            event_type: Some("AwsApiCall".to_owned()),
            management_event: Some(true),
            event_category: Some("Management".to_owned()),
            ..Record::default()
        };
        limits::apply(&mut record);
        record
    }

    fn parameters(&mut self) -> Json {
        let redactor = &self.action.redactor;
        let mut object = Object::request(&self.additions.parameters);
        object.path(self.exchange.route.parameters(self.exchange.uri.path()), redactor);
        if let Some(query) = self.exchange.uri.query() {
            object.query(query, redactor);
        }
        if !self.is_message(Side::Request, &mut object) {
            record_body(self.additions.request_body.take(), &self.tee, &mut object, redactor);
        }
        object.finish().unwrap_or_else(Json::null)
    }

    fn elements(&mut self) -> Json {
        let redactor = &self.action.redactor;
        let mut object = Object::response(&self.additions.elements);
        if !self.action.elements.is_empty() && self.additions.response_body.is_none() {
            self.answer.tee.pick(&self.action.elements, &mut object, redactor);
        } else if !self.is_message(Side::Response, &mut object) {
            record_body(self.additions.response_body.take(), &self.answer.tee, &mut object, redactor);
        }
        object.finish().unwrap_or_else(Json::null)
    }

    /// Records a gRPC message that has a descriptor.
    #[cfg(feature = "grpc-messages")]
    fn is_message(&self, side: Side, object: &mut Object) -> bool {
        let Some(descriptors) = &self.exchange.policy.descriptors else { return false };
        if self.action.grpc_service.is_none() {
            return false;
        }
        let Some(call) = descriptors.call(self.exchange.uri.path()) else { return false };
        match side {
            Side::Request => self.tee.record_messages(&call.request, object, &self.action.redactor),
            Side::Response => self.answer.tee.record_messages(&call.response, object, &self.action.redactor),
        }
    }

    #[cfg(not(feature = "grpc-messages"))]
    fn is_message(&self, _: Side, _: &mut Object) -> bool {
        false
    }

    /// `additionalEventData`: OpenTelemetry's attribute names where it has one.
    fn additional(&self, identity_source: &str) -> Option<Json> {
        const USUAL: usize = 384;
        let mut fields = Fields::with_capacity(USUAL);
        fields.string("http.request.method", self.exchange.method.as_str());
        match &self.exchange.route {
            Route::Known(template) => fields.string("http.route", template),
            Route::Guessed(template) => fields.string("url.template", template),
        }
        if let Some(service) = &self.action.grpc_service {
            fields.string("rpc.system", "grpc");
            fields.string("rpc.service", service);
        }
        if let Some(status) = self.answer.status {
            fields.number("http.response.status_code", status.as_u16().into());
        }
        if let Some(code) = self.answer.grpc {
            fields.number("rpc.grpc.status_code", code.into());
        }
        fields.number("http.request.body.size", self.tee.seen);
        if let Some(hash) = self.tee.sha256() {
            fields.string("http.request.body.sha256", &hash);
        }
        fields.number("http.response.body.size", self.answer.tee.seen);
        if let Some(hash) = self.answer.tee.sha256() {
            fields.string("http.response.body.sha256", &hash);
        }
        fields.thousandths("durationMs", u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX));
        if let Some((trace, span)) = self.exchange.trace.as_ref().and_then(trace_context) {
            fields.string("trace_id", trace);
            fields.string("span_id", span);
        }
        fields.string("identitySource", identity_source);
        self.headers(&mut fields);
        if let Some(change) = self.additions.change.json() {
            fields.member("change", |out| out.push_str(&change));
        }
        fields.finish()
    }

    /// `http.request.header.<name>`, as OpenTelemetry has it: a list, since a header may come more than once.
    fn headers(&self, fields: &mut Fields) {
        let headers = &self.exchange.headers;
        let mut room = MAX_HEADER_BYTES;
        for group in headers.chunk_by(|(one, _), (other, _)| one == other) {
            let name = group[0].0.as_str();
            let before = fields.len();
            fields.named(&format!("http.request.header.{name}"), |out| {
                for (index, (_, value)) in group.iter().enumerate() {
                    out.push(if index == 0 { '[' } else { ',' });
                    let text = String::from_utf8_lossy(value.as_bytes());
                    let mut text = self.action.redactor.value(name, text).into_owned();
                    limits::cut(&mut text, limits::MAX_TEXT);
                    push_string(out, &text);
                }
                out.push(']');
            });
            match room.checked_sub(fields.len() - before) {
                Some(left) => room = left,
                None => fields.truncate(before),
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Request,
    Response,
}

/// Adds a body as the handler says that it is, else as it came.
fn record_body(typed: Option<TypedBody>, tee: &Tee, object: &mut Object, redactor: &Redactor) {
    match typed.filter(|_| tee.is_wanted()) {
        None => tee.record(object, redactor),
        Some(TypedBody::Json(text)) => {
            // What serde_json wrote is JSON; it may still be nested too deeply.
            if object.body(&text, redactor).is_err() {
                let omitted = limits::omitted("body", text.len());
                object.member("body", |out| out.push_str(omitted.as_str()));
            }
        }
        Some(TypedBody::TooLarge(size)) => {
            let omitted = limits::omitted("body", size);
            object.member("body", |out| out.push_str(omitted.as_str()));
        }
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Draft")
            .field("action", &self.action)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// Seconds, rounded down, as CloudTrail does.
fn event_time(time: SystemTime) -> Option<EventTime> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    EventTime::from_unix_seconds(seconds.try_into().ok()?)
}

/// The text of a header, unless it is a secret by its looks.
fn header_text(value: Option<&HeaderValue>, redactor: &Redactor) -> Option<String> {
    let bytes = value?.as_bytes();
    // Nearly all are ASCII, which this is faster to see.
    let text = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
    let mut text = redactor.text(text).into_owned();
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
