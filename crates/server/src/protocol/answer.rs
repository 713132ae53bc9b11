//! Answers.

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use sidetrail_api::{CONTENT_TYPE as JSON, Error, REQUEST_ID_HEADER};

/// An answer: a body of JSON, and the request's id.
pub(super) fn answer(status: u16, request_id: &str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static(REQUEST_ID_HEADER), id);
    }
    response
}

/// An answer that is no success.
pub(super) fn refuse(request_id: &str, error: &Error) -> Response {
    answer(error.code.status(), request_id, error.body().into_bytes())
}
