//! Our own query of event history: a path of its own, signed like the operations, for whoever may `LookupEvents`.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use jiff::Timestamp;
use sidetrail::{Audit, Level, Rule};
use sidetrail_api::shape::{QUERY_EVENTS_PATH, QueryEventsInput, QueryEventsOutput};
use sidetrail_api::{Code, Error, Operation, json, sigv4};
use sidetrail_archive::key::Region;

use super::answer::{answer, refuse};
use super::receive::read;
use super::recording;
use crate::Context;
use crate::access::Caller;
use crate::history::{Asked, Seconds, shown};
use crate::refusal::Refusal;

/// Whose right it takes, and whose limits there are.
const AS: Operation = Operation::LookupEvents;

/// What serves it.
pub(super) fn router(context: Arc<Context>) -> Router {
    let rule = Rule::new().name("QueryEvents").read_only(true).level(Level::Metadata).no_resource();
    let recorder = context.recorder.clone();
    let router = Router::new().route(QUERY_EVENTS_PATH, post(query).layer(rule)).with_state(context);
    match recorder {
        Some(recorder) => router.layer(recorder.layer),
        None => router,
    }
}

async fn query(State(context): State<Arc<Context>>, request: Request) -> Response {
    let began = Instant::now();
    let request_id = crate::state::random_id().unwrap_or_default();
    let Ok(_permit) = context.permits.try_acquire() else {
        return refuse(&request_id, &Error::new(Code::ServiceUnavailable, "Too many requests at once."));
    };
    let (parts, body) = request.into_parts();
    let audit = Audit::of(&parts.extensions);
    let result: Result<Vec<u8>, Refusal> = async {
        let body = read(body).await?;
        let request = sigv4::Request {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body: &body,
        };
        let caller = context.keys.authenticate(&request, AS, Timestamp::now())?;
        recording::called(&audit, &caller, &body);
        caller.check(AS)?;
        find(&context, &caller, &body).await
    }
    .await;
    let took_ms = began.elapsed().as_millis();
    match result {
        Ok(body) => {
            tracing::info!(request_id, operation = "QueryEvents", took_ms, "answered");
            answer(200, &request_id, body)
        }
        Err(Refusal { error, cause }) => {
            recording::refused(&audit, &error);
            let code = error.code;
            match cause {
                Some(cause) => tracing::error!(request_id, operation = "QueryEvents", %code, cause, "failed"),
                None => tracing::info!(request_id, operation = "QueryEvents", %code, "refused"),
            }
            refuse(&request_id, &error)
        }
    }
}

async fn find(context: &Context, caller: &Caller, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let input: QueryEventsInput = json::read(body)?;
    let regions: Vec<_> = context.config.regions.iter().map(Region::as_str).collect();
    let asked = Asked::read(&input, caller.account.as_str(), &regions)?;
    let history = &context.kept.history;
    let page = history.find(asked.query.clone(), asked.after, asked.limit).await?;
    let output = QueryEventsOutput {
        next: page.next.map(|key| asked.next(key)),
        missing_before: page.missing_before.map(Seconds::timestamp),
        events: page
            .events
            .into_iter()
            .map(shown)
            .collect::<Result<_, _>>()
            .map_err(|error| Refusal::unavailable(&error))?,
    };
    serde_json::to_vec(&output).map_err(|error| Refusal::unavailable(&error))
}
