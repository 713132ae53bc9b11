//! A call that has ended, and the record that it becomes.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use sidetrail_record::{EventTime, Json, Record, Resource, limits};

use crate::{
    capture::{Fields, Object, Tee},
    delivery::Permit,
    exchange::{Answer, Exchange},
    handle::Additions,
    id,
    identity::Who,
    outcome::{self, End},
    policy::Action,
    redact,
    route::Parameter,
};

/// Resources in one record. CloudTrail states no limit; what it writes has few.
const MAX_RESOURCES: usize = 64;

/// And their texts in all, so that a record has room for the rest.
const MAX_RESOURCE_BYTES: usize = 64 * 1024;

/// A call that has ended, not written down yet.
///
/// Making the [`Record`] takes longer than anything else that the layer does. A [`Sink`](crate::Sink) with a thread of
/// its own makes it there.
pub struct Draft {
    exchange: Arc<Exchange>,
    action: Arc<Action>,
    end: End,
    ended: Ended,
    time: SystemTime,
    duration: Duration,
}

/// What a call has left behind.
#[derive(Default)]
pub(crate) struct Ended {
    pub(crate) answer: Answer,
    pub(crate) additions: Additions,
    /// The request's body.
    pub(crate) tee: Tee,
    #[cfg_attr(
        not(feature = "grpc"),
        expect(dead_code, reason = "sinks of others get it back with the draft")
    )]
    pub(crate) permit: Permit,
}

impl Draft {
    pub(crate) fn new(exchange: Arc<Exchange>, action: Arc<Action>, end: End, ended: Ended) -> Self {
        let duration = exchange.started.elapsed();
        Self { exchange, action, end, ended, time: SystemTime::now(), duration }
    }

    /// Says that the call is about to begin.
    pub(crate) fn intent(exchange: Arc<Exchange>, action: Arc<Action>) -> Self {
        Self::new(exchange, action, End::Intended, Ended::default())
    }

    /// The place that is kept for the record.
    #[cfg(feature = "grpc")]
    pub(crate) fn take_reservation(&mut self) -> Option<crate::sender::Reservation> {
        self.ended.permit.reservation.take()
    }

    /// About how many bytes the record will have.
    #[cfg(feature = "grpc")]
    pub(crate) fn weight(&self) -> usize {
        const USUAL: usize = 1024;
        let path = self.exchange.uri.path_and_query().map_or(0, |path| path.as_str().len());
        USUAL + path + self.ended.tee.size() + self.ended.answer.tee.size() + self.ended.additions.size()
    }

    /// The record, with secrets taken out and within CloudTrail's limits.
    #[must_use]
    pub fn into_record(mut self) -> Record {
        let exchange = Arc::clone(&self.exchange);
        let action = Arc::clone(&self.action);
        let who = match self.ended.additions.identity.take() {
            Some(identity) => Who::by_handler(identity),
            None => exchange.policy.chain.who(&exchange.caller),
        };
        let (error_code, error_message) =
            match outcome::failure(self.end, self.ended.answer.status, self.ended.answer.grpc) {
                _ if self.end == End::Answered && self.ended.additions.error.is_some() => {
                    self.ended.additions.error.take().unzip()
                }
                Some((code, message)) => (Some(code.to_owned()), Some(message.to_owned())),
                None => (None, None),
            };
        let event_id = id::format(exchange.id);
        let path = exchange.uri.path();
        let template = exchange.route.template(path);
        let name = action.name(&exchange.method, &template);
        if exchange.route.known().is_none() && action.grpc_service.is_none() {
            exchange.policy.guesses.note(&exchange.method, &template, &name, self.ended.answer.status);
        }
        let additional = self.additional(&who, &template);
        let path_parameters = exchange.route.parameters(&template, path);
        let resources = self.resources(&path_parameters);
        let data_event = action.rule.data_event == Some(true);
        let mut record = Record {
            event_version: Some(Record::EVENT_VERSION.to_owned()),
            user_identity: Some(who.identity),
            event_time: event_time(self.time),
            event_source: Some(exchange.policy.service.clone()),
            event_name: Some(name.clone().into_owned()),
            source_ip_address: Some(
                exchange.addresses.client.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string()),
            ),
            user_agent: header_text(exchange.user_agent.as_ref()),
            error_code,
            error_message,
            request_parameters: Some(self.parameters(path_parameters)),
            response_elements: Some(self.elements()),
            additional_event_data: additional,
            request_id: Some(exchange.request_id()),
            event_id: Some(event_id),
            read_only: Some(action.read_only(&exchange.method)),
            resources: Some(resources).filter(|resources| !resources.is_empty()),
            event_type: Some("AwsApiCall".to_owned()),
            management_event: Some(!data_event),
            event_category: Some(if data_event { "Data" } else { "Management" }.to_owned()),
            ..Record::default()
        };
        limits::apply(&mut record);
        record
    }

    /// What the rule's templates say, then what the handler added.
    fn resources(&mut self, parameters: &[Parameter<'_>]) -> Vec<Resource> {
        let redactor = &self.exchange.policy.redactor;
        let templates = self.action.rule.resources.as_deref().unwrap_or_default();
        let mut resources: Vec<Resource> =
            templates.iter().filter_map(|template| template.fill(parameters, redactor)).collect();
        resources.append(&mut self.ended.additions.resources);
        resources.truncate(MAX_RESOURCES);
        let mut room = MAX_RESOURCE_BYTES;
        resources.retain(|Resource { account_id, kind, arn, .. }| {
            let size = [account_id, kind, arn].into_iter().flatten().map(String::len).sum();
            room.checked_sub(size).inspect(|left| room = *left).is_some()
        });
        resources
    }

    fn parameters(&self, path: Vec<Parameter<'_>>) -> Json {
        let redactor = &self.exchange.policy.redactor;
        let mut object = Object::with(&self.ended.additions.parameters);
        object.path(path, redactor);
        if let Some(query) = self.exchange.uri.query() {
            object.query(query, redactor);
        }
        self.ended.tee.record(&mut object, redactor);
        object.finish().unwrap_or_else(Json::null)
    }

    fn elements(&self) -> Json {
        let mut object = Object::with(&self.ended.additions.elements);
        self.ended.answer.tee.record(&mut object, &self.exchange.policy.redactor);
        object.finish().unwrap_or_else(Json::null)
    }

    /// `additionalEventData`: OpenTelemetry's attribute names where it has one.
    fn additional(&self, who: &Who<'_>, template: &str) -> Option<Json> {
        const USUAL: usize = 384;
        let mut fields = Fields::with_capacity(USUAL);
        fields.string("http.request.method", self.exchange.method.as_str());
        let is_known = self.exchange.route.known().is_some();
        fields.string(if is_known { "http.route" } else { "url.template" }, template);
        if let Some(service) = &self.action.grpc_service {
            fields.string("rpc.system", "grpc");
            fields.string("rpc.service", service);
        }
        if let Some(status) = self.ended.answer.status {
            fields.plain("http.response.status_code", status.as_u16());
        }
        if let Some(code) = self.ended.answer.grpc {
            fields.plain("rpc.grpc.status_code", code);
        }
        fields.plain("http.request.body.size", self.ended.tee.seen);
        fields.plain("http.response.body.size", self.ended.answer.tee.seen);
        fields.plain("durationMs", self.duration.as_micros() as f64 / 1000.0);
        if let Some((trace, span)) = self.exchange.trace.as_ref().and_then(trace_context) {
            fields.string("trace_id", trace);
            fields.string("span_id", span);
        }
        who.describe(&mut fields);
        self.exchange.addresses.describe(&mut fields);
        fields.finish()
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
pub(crate) fn header_text(value: Option<&HeaderValue>) -> Option<String> {
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
