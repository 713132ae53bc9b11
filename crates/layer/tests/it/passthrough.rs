//! With the layer, request and response are what they are without it.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use crate::support::{Script, Step};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use proptest::prelude::*;
use sidetrail::{AuditLayer, Delivery, Level, MemorySink, RequestBody};
use tower::{Layer, ServiceExt};

/// All that a reader can see of a body, poll by poll.
#[derive(Debug, PartialEq)]
enum Seen {
    Data(Bytes),
    Trailers(HeaderMap),
    Failed(String),
    Pending,
    End,
}

fn read<B: Body<Data = Bytes, Error: ToString>>(body: B) -> Vec<(bool, u64, Option<u64>, Seen)> {
    let mut body = pin!(body);
    let mut context = Context::from_waker(Waker::noop());
    let mut seen = Vec::new();
    loop {
        let hint = body.size_hint();
        let before = (body.is_end_stream(), hint.lower(), hint.upper());
        let step = match body.as_mut().poll_frame(&mut context) {
            Poll::Pending => Seen::Pending,
            Poll::Ready(None) => Seen::End,
            Poll::Ready(Some(Err(error))) => Seen::Failed(error.to_string()),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data().map_err(Frame::into_trailers) {
                Ok(data) => Seen::Data(data),
                Err(trailers) => Seen::Trailers(trailers.unwrap()),
            },
        };
        let last = matches!(step, Seen::Pending | Seen::End);
        seen.push((before.0, before.1, before.2, step));
        if last {
            return seen;
        }
    }
}

fn script() -> impl Strategy<Value = Script> {
    let data = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from),
        Just(Bytes::from_static(br#"{"password":"hunter2","a":[1.50]}"#)),
        (0..40_000_usize).prop_map(|size| vec![b'1'; size].into()),
    ];
    let end = prop::option::of(prop_oneof![
        Just(Step::Trailers("grpc-status", "7")),
        Just(Step::Fail),
        Just(Step::Pending),
    ]);
    (prop::collection::vec(data, 0..5), end)
        .prop_map(|(data, end)| Script::new(data.into_iter().map(Step::Data).chain(end)))
}

fn request(method: &str, uri: &str, json: bool, body: Script) -> Request<Script> {
    let mut request = Request::builder().method(method).uri(uri).header("x-any", "thing").body(body).unwrap();
    request.extensions_mut().insert(17_u8);
    if json {
        request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    }
    request
}

fn response(status: u16, body: Script) -> Response<Script> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    response.extensions_mut().insert("extension");
    response
}

proptest! {
    #[test]
    fn nothing_changes_and_one_record_is_made(
        sent in script(),
        answered in script(),
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "CONNECT", "PURGE"]),
        uri in prop::sample::select(vec!["/", "/orders/17?a=b&token=t", "/a%20b/%ff", "*"]),
        status in prop::sample::select(vec![101_u16, 200, 204, 304, 404, 500]),
        json in any::<bool>(),
        reads in any::<bool>(),
        durable in any::<bool>(),
    ) {
        let records = MemorySink::default();
        let layer = AuditLayer::builder("orders.example.com")
            .level(Level::RequestResponse)
            .delivery(if durable { Delivery::Durable } else { Delivery::Buffered })
            .sink(records.clone())
            .build()
            .unwrap();
        let (sent_again, answered_again) = (sent.clone(), answered.clone());
        let app = layer.layer(tower::service_fn(move |request: Request<RequestBody<Script>>| {
            let (parts, body) = request.into_parts();
            let (expected, _) = self::request(method, uri, json, Script::new([])).into_parts();
            assert_eq!((&parts.method, &parts.uri, parts.version), (&expected.method, &expected.uri, expected.version));
            assert_eq!(parts.headers, expected.headers);
            assert_eq!(parts.extensions.get::<u8>(), Some(&17));
            if reads {
                assert_eq!(read(body), read(sent_again.clone()));
            }
            std::future::ready(Ok::<_, &str>(response(status, answered_again.clone())))
        }));
        let answer = app.oneshot(request(method, uri, json, sent)).now_or_never().unwrap().unwrap();
        let (parts, body) = answer.into_parts();
        let (expected, expected_body) = response(status, answered).into_parts();
        prop_assert_eq!((parts.status, parts.version), (expected.status, expected.version));
        prop_assert_eq!(parts.headers, expected.headers);
        prop_assert_eq!(parts.extensions.get::<&str>(), Some(&"extension"));
        let (body, expected_body) = (read(body), read(expected_body));
        if durable {
            // It was read before, so its hints know more.
            let steps = |body: Vec<(_, _, _, Seen)>| body.into_iter().map(|(.., step)| step).collect::<Vec<_>>();
            prop_assert_eq!(steps(body), steps(expected_body));
        } else {
            prop_assert_eq!(body, expected_body);
        }

        let records = records.take();
        prop_assert_eq!(records.len(), 1);
        let text = serde_json::to_string(&records[0]).unwrap();
        prop_assert!(!text.contains("hunter2"), "{}", text);
        prop_assert!(records[0].event_name.as_ref().is_some_and(|name| !name.is_empty()));
    }
}
