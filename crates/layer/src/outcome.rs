//! What came of a call, in CloudTrail's words.
//!
//! | status | `errorCode` |
//! |---|---|
//! | below 400 | none |
//! | 400 and any other 4xx | `BadRequest` |
//! | 401 | `Unauthorized` |
//! | 403 | `AccessDenied` |
//! | 404, 410 | `ResourceNotFound` |
//! | 405 | `MethodNotAllowed` |
//! | 408, 504 | `RequestTimeout` |
//! | 409 | `Conflict` |
//! | 412, 428 | `PreconditionFailed` |
//! | 413 | `RequestTooLarge` |
//! | 415 | `UnsupportedMediaType` |
//! | 422 | `ValidationError` |
//! | 429 | `ThrottlingException` |
//! | 499, or the caller went away | `ClientClosedRequest` |
//! | 501 | `NotImplemented` |
//! | 503 | `ServiceUnavailable` |
//! | 503 of the layer's own | `AuditUnavailable` |
//! | any other 5xx, a panic, a failed service or body | `InternalFailure` |
//!
//! `errorMessage` is the status's usual phrase, never text of the application: that could hold anything. Handlers say
//! more with [`Audit::error`](crate::Audit::error). gRPC status codes go to the same words.

use http::{HeaderMap, StatusCode};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer went out to its end.
    Answered,
    /// Whoever waited for the answer stopped waiting: the caller, or a layer outside this one.
    Cancelled,
    /// The service or one of the bodies panicked.
    Panicked,
    /// The service returned an error instead of a response.
    ServiceFailed,
    /// The response's body failed.
    BodyFailed,
    /// It was not served, since it could not be recorded. Why.
    Refused(&'static str),
    /// It has not ended: this is the intent to serve it.
    Intended,
}

/// `errorCode` and `errorMessage`.
pub(crate) type Failure = (&'static str, &'static str);

/// What went wrong, if anything did.
pub(crate) fn failure(end: End, status: Option<StatusCode>, grpc: Option<u16>) -> Option<Failure> {
    match end {
        End::Answered => match grpc {
            Some(code) => of_grpc(code),
            None => status.and_then(of_status),
        },
        End::Cancelled if status.is_some() => Some(("ClientClosedRequest", "cancelled during the response")),
        End::Cancelled => Some(("ClientClosedRequest", "cancelled before the response")),
        End::Panicked => Some(("InternalFailure", "handler panicked")),
        End::ServiceFailed => Some(("InternalFailure", "service failed")),
        End::BodyFailed => Some(("InternalFailure", "response body failed")),
        End::Refused(reason) => Some(("AuditUnavailable", reason)),
        End::Intended => None,
    }
}

fn of_status(status: StatusCode) -> Option<Failure> {
    let code = match status.as_u16() {
        ..400 => return None,
        401 => "Unauthorized",
        403 => "AccessDenied",
        404 | 410 => "ResourceNotFound",
        405 => "MethodNotAllowed",
        408 | 504 => "RequestTimeout",
        409 => "Conflict",
        412 | 428 => "PreconditionFailed",
        413 => "RequestTooLarge",
        415 => "UnsupportedMediaType",
        422 => "ValidationError",
        429 => "ThrottlingException",
        499 => "ClientClosedRequest",
        501 => "NotImplemented",
        503 => "ServiceUnavailable",
        400..500 => "BadRequest",
        500.. => "InternalFailure",
    };
    Some((code, status.canonical_reason().unwrap_or("unknown status")))
}

fn of_grpc(code: u16) -> Option<Failure> {
    Some(match code {
        0 => return None,
        1 => ("ClientClosedRequest", "CANCELLED"),
        3 => ("BadRequest", "INVALID_ARGUMENT"),
        4 => ("RequestTimeout", "DEADLINE_EXCEEDED"),
        5 => ("ResourceNotFound", "NOT_FOUND"),
        6 => ("Conflict", "ALREADY_EXISTS"),
        7 => ("AccessDenied", "PERMISSION_DENIED"),
        8 => ("ThrottlingException", "RESOURCE_EXHAUSTED"),
        9 => ("PreconditionFailed", "FAILED_PRECONDITION"),
        10 => ("Conflict", "ABORTED"),
        11 => ("BadRequest", "OUT_OF_RANGE"),
        12 => ("NotImplemented", "UNIMPLEMENTED"),
        13 => ("InternalFailure", "INTERNAL"),
        14 => ("ServiceUnavailable", "UNAVAILABLE"),
        15 => ("InternalFailure", "DATA_LOSS"),
        16 => ("Unauthorized", "UNAUTHENTICATED"),
        _ => ("InternalFailure", "UNKNOWN"),
    })
}

/// `grpc-status` of headers or trailers.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
