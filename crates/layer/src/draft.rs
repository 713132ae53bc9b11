//! A call that has ended, and the record that it becomes.

mod additional;
mod content;

use std::{
    fmt, mem,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sidetrail_record::{EventTime, Record, Resource, limits};

use crate::{
    additions::Additions,
    capture::Tee,
    delivery::Permit,
    exchange::{Answer, Exchange},
    id,
    identity::Who,
    outcome::{self, End},
    policy::Action,
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

    /// The place that the sink kept for the record.
    #[must_use]
    pub fn take_permit(&mut self) -> Permit {
        mem::take(&mut self.ended.permit)
    }

    /// About how many bytes the record will have.
    #[cfg(feature = "grpc")]
    pub(crate) fn weight(&self) -> usize {
        const USUAL: usize = 1024;
        USUAL
            + self.exchange.texts.size()
            + self.ended.tee.size()
            + self.ended.answer.tee.size()
            + self.ended.additions.size()
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
        let path = exchange.texts.path();
        let template = exchange.route.template(path);
        let name = action.name(&exchange.method, &template);
        if self.end != End::Intended && exchange.route.known().is_none() && action.grpc_service.is_none() {
            exchange.policy.guesses.note(&exchange.method, &template, &name, self.ended.answer.status);
        }
        // A gRPC call's path is its name, which routers take as a parameter: tonic's routes end in `{*rest}`.
        let path_parameters = match action.grpc_service {
            Some(_) => Vec::new(),
            None => exchange.route.parameters(&template, path),
        };
        let resources = self.resources(&path_parameters);
        let (error_code, error_message) = self.error().unzip();
        let data_event = action.rule.data_event == Some(true);
        let mut record = Record {
            event_version: Some(Record::EVENT_VERSION.to_owned()),
            event_time: event_time(self.time),
            event_source: Some(exchange.policy.service.clone()),
            event_name: Some(name.clone().into_owned()),
            source_ip_address: Some(
                exchange.addresses.client.map_or_else(|| "unknown".to_owned(), |client| client.to_string()),
            ),
            user_agent: exchange.texts.user_agent().map(|value| action.redactor.header(value)),
            error_code,
            error_message,
            request_parameters: Some(self.parameters(path_parameters)),
            response_elements: Some(self.elements()),
            additional_event_data: self.additional(&who, &template),
            request_id: Some(exchange.request_id()),
            event_id: Some(id::format(exchange.id)),
            read_only: Some(action.read_only(&exchange.method)),
            resources: Some(resources).filter(|resources| !resources.is_empty()),
            event_type: Some("AwsApiCall".to_owned()),
            management_event: Some(!data_event),
            event_category: Some(if data_event { "Data" } else { "Management" }.to_owned()),
            user_identity: Some(who.identity),
            ..Record::default()
        };
        limits::apply(&mut record);
        record
    }

    /// What went wrong: what the handler says where the call came to its end, else what the outcome says.
    fn error(&mut self) -> Option<(String, String)> {
        let answer = &self.ended.answer;
        let said = self.ended.additions.error.take().filter(|_| self.end == End::Answered);
        said.or_else(|| {
            let (code, message) = outcome::failure(self.end, answer.status, answer.grpc)?;
            Some((code.to_owned(), message.to_owned()))
        })
    }

    /// What the rule's templates say, then what the handler added.
    fn resources(&mut self, parameters: &[Parameter<'_>]) -> Vec<Resource> {
        let redactor = &self.action.redactor;
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
