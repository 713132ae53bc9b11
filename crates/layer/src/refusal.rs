//! The answer of the layer's own: a call whose record cannot be stored.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Body;

use crate::{ResponseBody, capture::Fields, delivery::AuditUnavailable, exchange::Exchange};

/// gRPC's `UNAVAILABLE`.
const GRPC_UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// `503` with a problem document (RFC 9457), or gRPC's `UNAVAILABLE`.
pub(crate) fn response<B: Body>(
    exchange: &Exchange,
    unavailable: AuditUnavailable,
) -> Response<ResponseBody<B>> {
    if exchange.action().grpc_service.is_some() {
        let mut response = Response::new(ResponseBody::own(Bytes::new()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", GRPC_UNAVAILABLE);
        headers.insert("grpc-message", HeaderValue::from_static("AuditUnavailable"));
        return response;
    }
    let mut response = Response::new(ResponseBody::own(problem(exchange, unavailable)));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn problem(exchange: &Exchange, unavailable: AuditUnavailable) -> Bytes {
    let mut fields = Fields::default();
    fields.string("type", "about:blank");
    fields.string("title", "AuditUnavailable");
    fields.number("status", StatusCode::SERVICE_UNAVAILABLE.as_u16().into());
    fields.string("detail", unavailable.reason());
    fields.string("requestId", &exchange.request_id());
    fields.finish().map_or_else(Bytes::new, Bytes::from)
}
