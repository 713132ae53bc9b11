//! A call that has ended, and the record that it becomes.

mod additional;
mod content;
mod outline;

use std::{
    borrow::Cow,
    fmt, mem,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sidetrail_record::{EventTime, Record, Resource, limits};

pub(crate) use self::outline::Outline;
use crate::{
    additions::Additions,
    capture::Tee,
    delivery::Permit,
    exchange::{Answer, Exchange},
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
        self.outline().into()
    }

    /// What the record says. Takes what the call has left behind.
    pub(crate) fn outline(&mut self) -> Outline<'_> {
        let mut ended = mem::take(&mut self.ended);
        let (exchange, action) = (&*self.exchange, &*self.action);
        let who = match ended.additions.identity.take() {
            Some(identity) => Who::by_handler(identity),
            None => exchange.policy.chain.who(&exchange.caller),
        };
        let path = exchange.texts.path();
        let template = exchange.route.template(path);
        let name = action.name(&exchange.method, &template);
        if self.end != End::Intended && exchange.route.known().is_none() && action.grpc_service.is_none() {
            exchange.policy.guesses.note(&exchange.method, &template, &name, ended.answer.status);
        }
        // A gRPC call's path is its name, which routers take as a parameter: tonic's routes end in `{*rest}`.
        let path_parameters = match action.grpc_service {
            Some(_) => Vec::new(),
            None => exchange.route.parameters(&template, path),
        };
        let resources = self.resources(&mut ended, &path_parameters);
        let error = self.error(&mut ended);
        let parameters = self.parameters(&mut ended, path_parameters);
        let elements = self.elements(&mut ended);
        let additional = self.additional(&ended, &who, &template);
        Outline {
            event_id: exchange.id,
            time: event_time(self.time),
            source: &exchange.policy.service,
            name,
            client: exchange.addresses.client,
            user_agent: exchange.texts.user_agent().map(|value| action.redactor.header(value)),
            error,
            request_id: exchange.request_id(),
            parameters: within(parameters, "requestParameters", limits::MAX_PARAMETERS),
            elements: within(elements, "responseElements", limits::MAX_PARAMETERS),
            additional: within(additional, "additionalEventData", limits::MAX_ADDITIONAL),
            read_only: action.read_only(&exchange.method),
            is_data_event: action.rule.data_event == Some(true),
            resources,
            identity: who.identity,
        }
    }

    /// What went wrong: what the handler says where the call came to its end, else what the outcome says.
    fn error(&self, ended: &mut Ended) -> Option<(Cow<'static, str>, Cow<'static, str>)> {
        let answer = &ended.answer;
        match ended.additions.error.take().filter(|_| self.end == End::Answered) {
            Some((code, message)) => Some((code.into(), message.into())),
            None => outcome::failure(self.end, answer.status, answer.grpc)
                .map(|(code, message)| (code.into(), message.into())),
        }
    }

    /// What the rule's templates say, then what the handler added.
    fn resources(&self, ended: &mut Ended, parameters: &[Parameter<'_>]) -> Vec<Resource> {
        let redactor = &self.action.redactor;
        let templates = self.action.rule.resources.as_deref().unwrap_or_default();
        let mut resources: Vec<Resource> =
            templates.iter().filter_map(|template| template.fill(parameters, redactor)).collect();
        resources.append(&mut ended.additions.resources);
        resources.truncate(MAX_RESOURCES);
        let mut room = MAX_RESOURCE_BYTES;
        resources.retain(|Resource { account_id, kind, arn, .. }| {
            let size = [account_id, kind, arn].into_iter().flatten().map(String::len).sum();
            room.checked_sub(size).inspect(|left| room = *left).is_some()
        });
        resources
    }
}

/// What stands in the place of a JSON text that is too large.
fn within(text: Option<String>, name: &str, limit: usize) -> Option<String> {
    text.map(|text| if text.len() > limit { limits::omitted(name, text.len()).into() } else { text })
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
