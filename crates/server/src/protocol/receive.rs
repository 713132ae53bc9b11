//! Requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use axum::routing::post;
use http::uri::Uri;
use http::{HeaderValue, Method};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde::Deserialize;
use sidetrail::{Audit, Level, Rule};
use sidetrail_api::json::{self, MAX_BODY, too_large};
use sidetrail_api::shape::PutAuditEventsInput;
use sidetrail_api::sigv4;
use sidetrail_api::{Code, Error, Operation, TARGET_HEADER, quoted};
use tower::ServiceExt;

use super::answer::{answer, refuse};
use super::recording;
use crate::Context;
use crate::access::Caller;
use crate::operation;
use crate::refusal::Refusal;

/// Bytes of a body that is too large which are taken off the wire, so that its sender hears why it is refused.
const MAX_DRAINED: usize = 32 << 20;
/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The header that the layer takes a record's `requestID` from.
const REQUEST_ID: &str = "x-request-id";
/// The path of the one operation that has its own.
const PUT_AUDIT_EVENTS: &str = "/PutAuditEvents";

/// A request on its way from the first routing to the second.
#[derive(Clone, Debug)]
struct Asked {
    /// As it was signed.
    uri: Uri,
    request_id: String,
    operation: Operation,
}

/// What serves the API.
pub(crate) fn router(context: Arc<Context>) -> Router {
    let mut calls = Router::new();
    for operation in Operation::ALL {
        // Bodies are not for the layer to see: what was read of them is recorded.
        let rule = Rule::new()
            .name(operation.name())
            .read_only(operation.is_read_only())
            .level(Level::Metadata)
            .no_resource();
        calls = calls.route(&format!("/{operation}"), post(call).layer(rule));
    }
    let mut calls = calls.with_state(Arc::clone(&context));
    if let Some(recorder) = &context.recorder {
        calls = calls.layer(recorder.layer.clone());
    }
    super::own::router(&context)
        .merge(super::otlp::router(&context))
        .fallback(move |request: Request| receive(Arc::clone(&context), calls.clone(), request))
}

/// Finds out what is asked for.
async fn receive(context: Arc<Context>, calls: Router, mut request: Request) -> Response {
    let request_id = crate::state::random_id().unwrap_or_default();
    let Ok(_permit) = context.permits.try_acquire() else {
        return refuse(&request_id, &Error::new(Code::ServiceUnavailable, "Too many requests at once."));
    };
    let operation = match operation_of(&request) {
        Ok(operation) => operation,
        Err(error) => {
            tracing::debug!(request_id, %error, "refused");
            let _ = read(request.into_body()).await;
            return refuse(&request_id, &error);
        }
    };
    let uri = std::mem::replace(request.uri_mut(), path_of(operation));
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        request.headers_mut().insert(REQUEST_ID, id);
    }
    request.extensions_mut().insert(Asked { uri, request_id: request_id.clone(), operation });
    match calls.oneshot(request).await {
        Ok(response) => response,
        Err(impossible) => match impossible {},
    }
}

fn path_of(operation: Operation) -> Uri {
    Uri::try_from(format!("/{operation}")).unwrap_or_default()
}

fn operation_of(request: &Request) -> Result<Operation, Error> {
    let unknown = |message: &str| Err(Error::new(Code::UnknownOperation, message));
    if request.method() != Method::POST {
        return unknown("Operations are asked for with POST.");
    }
    match request.uri().path() {
        "/" => {}
        PUT_AUDIT_EVENTS => return Ok(Operation::PutAuditEvents),
        _ => return unknown("There is nothing at this path."),
    }
    let mut targets = request.headers().get_all(TARGET_HEADER).iter();
    match (targets.next(), targets.next()) {
        (Some(target), None) => {
            let target = target.to_str().unwrap_or_default();
            Operation::of_target(target)
                .map_or_else(|| unknown("X-Amz-Target names no operation of CloudTrail's."), Ok)
        }
        _ => unknown("A request has exactly one X-Amz-Target."),
    }
}

/// A call, from here on in the layer's sight.
async fn call(State(context): State<Arc<Context>>, request: Request) -> Response {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let audit = Audit::of(&parts.extensions);
    let Some(asked) = parts.extensions.get::<Asked>() else {
        return refuse("", &Error::new(Code::UnknownOperation, "There is nothing at this path."));
    };
    let Asked { uri, request_id, operation } = asked;
    let mut who = None;
    let result = async {
        let body = read(body).await?;
        let mut headers = parts.headers.clone();
        // It is ours, and was not there when the request was signed.
        headers.remove(REQUEST_ID);
        let request = sigv4::Request {
            method: parts.method.as_str(),
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers: &headers,
            body: &body,
        };
        let caller = context.keys.authenticate(&request, *operation, Timestamp::now())?;
        let caller = who.insert(caller);
        if context.recorder.is_some() {
            recording::called(&audit, caller, &body);
        }
        let body = match operation {
            Operation::PutAuditEvents => with_query(uri, &body)?,
            _ => body,
        };
        perform(&context, caller, *operation, &body).await
    };
    let result: Result<Vec<u8>, Refusal> = result.await;
    let (caller, account) = match &who {
        Some(caller) => (caller.access_key.as_str(), caller.account.as_str()),
        None => ("", ""),
    };
    let took_ms = began.elapsed().as_millis();
    match result {
        Ok(body) => {
            if context.recorder.is_some() {
                recording::returned(&audit, *operation, &body);
            }
            tracing::info!(request_id, %operation, access_key = caller, account, took_ms, "answered");
            answer(200, request_id, body)
        }
        Err(Refusal { error, cause }) => {
            recording::refused(&audit, &error);
            let code = error.code;
            match cause {
                Some(cause) => {
                    tracing::error!(request_id, %operation, access_key = caller, account, %code, cause, took_ms, "failed");
                }
                None => {
                    tracing::info!(request_id, %operation, access_key = caller, account, %code, took_ms, "refused");
                }
            }
            refuse(request_id, &error)
        }
    }
}

async fn perform(
    context: &Context,
    caller: &Caller,
    operation: Operation,
    body: &[u8],
) -> Result<Vec<u8>, Refusal> {
    caller.check(operation)?;
    context.throttle.check(caller, operation)?;
    match context.registry.get(operation) {
        Some(handler) => handler(context, caller, body).await,
        None => {
            let reason = operation::reason(operation);
            Err(Error::unsupported(format_args!("Sidetrail does not do {operation}: {reason}.")).into())
        }
    }
}

/// The parameters of the one operation that has some in its query, as members of its input.
fn with_query(uri: &Uri, body: &[u8]) -> Result<Vec<u8>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Parameters {
        channel_arn: Option<String>,
        external_id: Option<String>,
    }
    let wrong = |what: String| Error::new(Code::Serialization, quoted(&what));
    let Query(Parameters { channel_arn, external_id }) =
        Query::try_from_uri(uri).map_err(|error| wrong(error.body_text()))?;
    let mut input: PutAuditEventsInput = json::read(body)?;
    (input.channel_arn, input.external_id) = (channel_arn, external_id);
    serde_json::to_vec(&input).map_err(|error| wrong(error.to_string()))
}

/// Reads the body of a request for an operation.
pub(super) async fn read(body: Body) -> Result<Vec<u8>, Error> {
    read_up_to(body, MAX_BODY).await
}

/// Reads a body, and refuses one that is too large when it is through, or too large for that.
pub(super) async fn read_up_to(mut body: Body, limit: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut size = 0_usize;
    let reading = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(Error::new(Code::Serialization, "The body ended before its end."));
            };
            let Some(data) = frame.data_ref() else { continue };
            size += data.len();
            if size <= limit {
                bytes.extend_from_slice(data);
            } else if size > MAX_DRAINED {
                break;
            } else {
                bytes = Vec::new();
            }
        }
        if size > limit { Err(too_large(limit)) } else { Ok(()) }
    };
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(())) => Ok(bytes),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::new(Code::Serialization, "The body did not come in time.")),
    }
}
