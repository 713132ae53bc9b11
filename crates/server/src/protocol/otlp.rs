//! OTLP's logs over HTTP: `POST /v1/logs`, protobuf or JSON, plain or gzip.
//!
//! What is answered as taken is on the collector's disk. Records that are no events, or no good ones, are counted in
//! `partial_success`, with the reason of the first; they are not to be sent again. 429 and 503 are.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use prost::Message;
use sidetrail::{Audit, Level, Rule};
use sidetrail_api::{Code, Error, Operation, REQUEST_ID_HEADER};
use sidetrail_archive::content::inflate;
use sidetrail_archive::log::ReadError;

use super::receive::read_up_to;
use crate::Context;
use crate::access::Caller;
use crate::audit_events::otlp::{CHANNEL, events};
use crate::audit_events::{Channel, Undelivered, record};

/// The path.
const PATH: &str = "/v1/logs";
/// What it is called in records.
const NAME: &str = "ExportLogs";
/// Bytes of a body as it comes, and inflated. An SDK sends some 512 records at a time.
const MAX_BODY: usize = 4 << 20;
const MAX_INFLATED: u64 = 16 << 20;
/// Records that are delivered together.
const TOGETHER: usize = 256;
/// Seconds after which one that was not taken is to be sent again.
const AGAIN: HeaderValue = HeaderValue::from_static("5");
/// Characters of a reason.
const MAX_REASON: usize = 512;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Protobuf,
    Json,
}

/// `google.rpc.Status`, which answers that are no success have.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Why nothing of a request was taken.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

/// What serves it, where somebody may bring events.
pub(super) fn router(context: &Arc<Context>) -> Router {
    if context.bringers.is_empty() {
        return Router::new();
    }
    let rule = Rule::new().name(NAME).read_only(false).level(Level::Metadata).no_resource();
    let router = Router::new().route(PATH, post(serve).layer(rule)).with_state(Arc::clone(context));
    match &context.recorder {
        Some(recorder) => router.layer(recorder.layer.clone()),
        None => router,
    }
}

async fn serve(State(context): State<Arc<Context>>, request: Request) -> Response {
    let began = Instant::now();
    let request_id = crate::state::random_id().unwrap_or_default();
    let (parts, body) = request.into_parts();
    let audit = Audit::of(&parts.extensions);
    let (form, result) = match form(&parts.headers) {
        Ok(form) => (form, take(&context, &parts.headers, form, body, &audit).await),
        Err(refused) => (Form::Protobuf, Err(refused)),
    };
    let took_ms = began.elapsed().as_millis();
    let (status, body) = match result {
        Ok(answer) => {
            let rejected = answer.partial_success.as_ref().map_or(0, |it| it.rejected_log_records);
            tracing::info!(request_id, operation = NAME, rejected, took_ms, "answered");
            (StatusCode::OK, written(form, &answer, &answer))
        }
        Err(Refused { status, message }) => {
            tracing::info!(request_id, operation = NAME, %status, message, took_ms, "refused");
            audit.error(status.as_str().to_owned(), message.clone());
            let code = rpc_code(status);
            let json = serde_json::json!({ "code": code, "message": message });
            (status, written(form, &Status { code, message }, &json))
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let kind = if form == Form::Json { "application/json" } else { "application/x-protobuf" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        headers.insert(RETRY_AFTER, AGAIN);
    }
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.insert(HeaderName::from_static(REQUEST_ID_HEADER), id);
    }
    response
}

async fn take(
    context: &Context,
    headers: &HeaderMap,
    form: Form,
    body: Body,
    audit: &Audit,
) -> Result<ExportLogsServiceResponse, Refused> {
    let Ok(_permit) = context.permits.try_acquire() else {
        return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once"));
    };
    let caller = who(context, headers)?;
    audit.set_identity(caller.identity());
    if context.throttle.check(&caller, Operation::PutAuditEvents).is_err() {
        return Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, "rate exceeded"));
    }
    let bytes = read_up_to(body, MAX_BODY).await.map_err(|error| {
        let Error { code, message } = error;
        let status = if code == Code::RequestEntityTooLarge {
            StatusCode::PAYLOAD_TOO_LARGE
        } else {
            StatusCode::BAD_REQUEST
        };
        Refused::new(status, message)
    })?;
    let bytes = inflated(headers, bytes)?;
    let request = decoded(form, &bytes)?;
    drop(bytes);
    deliver(context, &caller, request).await
}

/// Who has the token.
fn who(context: &Context, headers: &HeaderMap) -> Result<Caller, Refused> {
    let sent = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    let token =
        sent.and_then(|it| it.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = token else {
        return Err(Refused::new(StatusCode::UNAUTHORIZED, "there is no Authorization: Bearer TOKEN"));
    };
    let bringer = context.bringers.iter().find(|bringer| bringer.is(token.trim()));
    let bringer = bringer.ok_or_else(|| Refused::new(StatusCode::UNAUTHORIZED, "the token is not known"))?;
    Ok(bringer.caller(Timestamp::now()))
}

fn form(headers: &HeaderMap) -> Result<Form, Refused> {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().map(str::trim) {
        Some("application/x-protobuf") => Ok(Form::Protobuf),
        Some("application/json") => Ok(Form::Json),
        _ => Err(Refused::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/x-protobuf or application/json",
        )),
    }
}

fn inflated(headers: &HeaderMap, bytes: Vec<u8>) -> Result<Vec<u8>, Refused> {
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(bytes),
        Some(b"gzip") => {
            let mut inflated = Vec::new();
            inflate(&bytes, MAX_INFLATED, &mut inflated).map_err(|error| match error {
                ReadError::TooLarge(limit) => {
                    let message = format!("the body has more than {limit} bytes when it is inflated");
                    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, message)
                }
                _ => Refused::new(StatusCode::BAD_REQUEST, "the body is no gzip"),
            })?;
            Ok(inflated)
        }
        Some(_) => {
            Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Encoding must be gzip, or none"))
        }
    }
}

fn decoded(form: Form, bytes: &[u8]) -> Result<ExportLogsServiceRequest, Refused> {
    let wrong = |error: String| {
        Refused::new(StatusCode::BAD_REQUEST, format!("the body is no ExportLogsServiceRequest: {error}"))
    };
    match form {
        Form::Protobuf => ExportLogsServiceRequest::decode(bytes).map_err(|error| wrong(error.to_string())),
        Form::Json => serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string())),
    }
}

/// Has the events recorded. If some could not be for now all are to be sent again: those that are on disk have the same ids
/// then.
async fn deliver(
    context: &Context,
    caller: &Caller,
    request: ExportLogsServiceRequest,
) -> Result<ExportLogsServiceResponse, Refused> {
    let unavailable = |message: String| Refused::new(StatusCode::SERVICE_UNAVAILABLE, message);
    let Some(delivery) = context.deliveries.get(&(caller.account.clone(), caller.region.clone())) else {
        return Err(unavailable("there is no collector for these events".to_owned()));
    };
    let channel = Channel::of(Some(CHANNEL), caller).map_err(|error| unavailable(error.message))?;
    let (mut rejected, mut first) = (0_i64, None);
    let mut reject = |reason: String| {
        rejected += 1;
        if first.is_none() {
            first = Some(reason);
        }
    };
    let mut records = Vec::new();
    for event in events(request, caller) {
        let made = match &event {
            Ok(event) => record(event, &channel, caller, caller.at).map_err(|(_, message)| message),
            Err(reason) => Err((*reason).to_owned()),
        };
        match made {
            Ok((_, text)) => records.push(text),
            Err(reason) => reject(reason),
        }
    }
    while !records.is_empty() {
        let rest = records.split_off(records.len().min(TOGETHER));
        for delivered in delivery.deliver(std::mem::replace(&mut records, rest)).await {
            match delivered {
                Ok(()) => {}
                Err(Undelivered::Refused(reason)) => reject(reason),
                Err(error @ (Undelivered::Away | Undelivered::Full)) => {
                    return Err(unavailable(error.to_string()));
                }
            }
        }
    }
    let partial_success = first.map(|reason| {
        let reason: String = reason.chars().take(MAX_REASON).collect();
        let error_message = format!("{rejected} log records were not taken; the first: {reason}");
        ExportLogsPartialSuccess { rejected_log_records: rejected, error_message }
    });
    Ok(ExportLogsServiceResponse { partial_success })
}

fn written(form: Form, message: &impl Message, json: &impl serde::Serialize) -> Vec<u8> {
    match form {
        Form::Protobuf => message.encode_to_vec(),
        // Neither holds anything that JSON has no form for.
        Form::Json => serde_json::to_vec(json).unwrap_or_default(),
    }
}

/// The code of gRPC for a status.
fn rpc_code(status: StatusCode) -> i32 {
    match status {
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::TOO_MANY_REQUESTS => 8,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        _ => 3,
    }
}
