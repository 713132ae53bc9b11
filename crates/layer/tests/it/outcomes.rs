//! Every request yields exactly one record, however it ends, and passes through unchanged.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use crate::support::{Script, Step, collect, layer, only, request, service};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use serde_json::json;
use sidetrail::{Audit, AuditLayer, Identity, Level, MemorySink, PeerAddr, RouteTemplate, Rule};
use tower::{Layer, Service, ServiceExt};

fn response(script: Script) -> Response<Script> {
    Response::new(script)
}

fn data(text: &str) -> Step {
    Step::Data(text.to_owned().into())
}

#[tokio::test]
async fn an_answer() {
    let (layer, records) = layer();
    let app = layer.layer(service(async |_| Ok(response(Script::new([data("hello"), data(" world")])))));
    let response = app.oneshot(request(Method::GET, "/orders/17")).await.unwrap();
    assert!(records.take().is_empty(), "not before the body has ended");
    assert_eq!(collect(response.into_body()).await.0, "hello world");
    let record = only(&records);
    assert_eq!(record["eventName"], "GetOrder");
    assert_eq!(record["errorCode"], json!(null));
    assert_eq!(record["readOnly"], true);
    assert_eq!(record["additionalEventData"]["http.response.body.size"], 11);
    assert_eq!(record["requestParameters"], json!({ "orderId": "17" }));
    assert_eq!(record["responseElements"], json!(null));
    assert_eq!(record["requestID"], record["eventID"]);
}

#[tokio::test]
async fn bodies_that_end_with_the_head() {
    for (method, status, steps, polled) in [
        (Method::GET, 200, vec![], false),
        (Method::HEAD, 200, vec![data("never sent")], false),
        (Method::GET, 204, vec![], false),
        (Method::GET, 304, vec![data("never sent")], false),
        (Method::GET, 101, vec![data("upgraded")], true),
        (Method::CONNECT, 200, vec![data("tunnel")], true),
    ] {
        let (layer, records) = layer();
        let app = layer.layer(service(move |_| {
            let mut response = response(Script::new(steps.clone()));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            std::future::ready(Ok(response))
        }));
        let response = app.oneshot(request(method.clone(), "/orders")).await.unwrap();
        assert_eq!(only(&records)["errorCode"], json!(null), "{method} {status}");
        if polled {
            collect(response.into_body()).await;
        } else {
            drop(response);
        }
        assert!(records.take().is_empty(), "{method} {status}: only one");
    }
}

#[tokio::test]
async fn a_body_read_up_to_its_announced_length() {
    let (layer, records) = layer();
    let app = layer.layer(service(async |_| {
        let mut response = response(Script::new([data("12345"), Step::Pending]));
        response.headers_mut().insert(header::CONTENT_LENGTH, 5.into());
        Ok(response)
    }));
    let mut body = app.oneshot(request(Method::GET, "/orders")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert!(records.take().is_empty());
    drop(body);
    assert_eq!(only(&records)["errorCode"], json!(null));
}

#[tokio::test]
async fn a_caller_that_hangs_up_before_the_response() {
    let (layer, records) = layer();
    let app = layer
        .layer(service(async |_| -> Result<Response<Script>, Infallible> { std::future::pending().await }));
    let mut future = Box::pin(app.oneshot(request(Method::POST, "/orders")));
    assert!((&mut future).now_or_never().is_none());
    drop(future);
    let record = only(&records);
    assert_eq!(record["errorCode"], "ClientClosedRequest");
    assert_eq!(record["errorMessage"], "cancelled before the response");
}

#[tokio::test]
async fn a_caller_that_hangs_up_during_the_response() {
    let (layer, records) = layer();
    let app = layer
        .layer(service(async |_| Ok(response(Script::new([data("12345"), data("678"), Step::Pending])))));
    let mut body = app.oneshot(request(Method::GET, "/orders/export")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let record = only(&records);
    assert_eq!(record["errorCode"], "ClientClosedRequest");
    assert_eq!(record["errorMessage"], "cancelled during the response");
    assert_eq!(record["additionalEventData"]["http.response.status_code"], 200);
    assert_eq!(record["additionalEventData"]["http.response.body.size"], 5);
}

#[tokio::test]
async fn panics() {
    fn in_call(
        _: Request<sidetrail::RequestBody<Full<Bytes>>>,
    ) -> std::future::Ready<Result<Response<Script>, Infallible>> {
        panic!("in call")
    }
    let failed = |records: &MemorySink| {
        let record = only(records);
        assert_eq!(record["errorCode"], "InternalFailure");
        assert_eq!(record["errorMessage"], "handler panicked");
    };

    let (layer1, records) = layer();
    let mut app = layer1.layer(tower::service_fn(in_call));
    std::panic::catch_unwind(AssertUnwindSafe(|| app.call(request(Method::GET, "/boom")))).unwrap_err();
    failed(&records);

    let (layer2, records) = layer();
    let app =
        layer2.layer(service(async |_| -> Result<Response<Script>, Infallible> { panic!("in future") }));
    let future = AssertUnwindSafe(app.oneshot(request(Method::GET, "/boom"))).catch_unwind();
    assert!(future.await.is_err());
    failed(&records);

    let (layer3, records) = layer();
    let app = layer3.layer(service(async |_| Ok(response(Script::new([data("1"), Step::Panic])))));
    let body = app.oneshot(request(Method::GET, "/boom")).await.unwrap().into_body();
    assert!(AssertUnwindSafe(body.collect()).catch_unwind().await.is_err());
    failed(&records);

    let (layer4, records) = layer();
    let app = layer4.layer(service(async |_| -> Result<Response<Script>, Infallible> { panic!("in task") }));
    tokio::spawn(app.oneshot(request(Method::GET, "/boom"))).await.unwrap_err();
    failed(&records);
}

#[tokio::test]
async fn a_service_or_body_that_fails() {
    let (layer1, records) = layer();
    let app = layer1.layer(tower::service_fn(async |_: Request<sidetrail::RequestBody<Full<Bytes>>>| {
        Err::<Response<Script>, _>("password=hunter2")
    }));
    assert_eq!(app.oneshot(request(Method::GET, "/orders")).await.unwrap_err(), "password=hunter2");
    let record = only(&records);
    assert_eq!(
        (&record["errorCode"], &record["errorMessage"]),
        (&json!("InternalFailure"), &json!("service failed"))
    );

    let (layer2, records) = layer();
    let app = layer2.layer(service(async |_| Ok(response(Script::new([data("1"), Step::Fail])))));
    let body = app.oneshot(request(Method::GET, "/orders")).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap_err().to_string(), "body failed");
    assert_eq!(only(&records)["errorMessage"], "response body failed");
}

#[tokio::test]
async fn statuses_have_error_codes() {
    for (status, code) in [
        (200, None),
        (302, None),
        (400, Some("BadRequest")),
        (401, Some("Unauthorized")),
        (403, Some("AccessDenied")),
        (404, Some("ResourceNotFound")),
        (409, Some("Conflict")),
        (418, Some("BadRequest")),
        (429, Some("ThrottlingException")),
        (500, Some("InternalFailure")),
        (503, Some("ServiceUnavailable")),
        (504, Some("RequestTimeout")),
        (599, Some("InternalFailure")),
    ] {
        let (layer, records) = layer();
        let app = layer.layer(service(move |_| {
            let mut response = response(Script::new([data("x")]));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            std::future::ready(Ok(response))
        }));
        collect(app.oneshot(request(Method::GET, "/orders")).await.unwrap().into_body()).await;
        assert_eq!(only(&records)["errorCode"], json!(code), "{status}");
    }
}

#[tokio::test]
async fn grpc_is_named_by_method_and_judged_by_trailers() {
    for (status, code) in [("0", None), ("5", Some("ResourceNotFound")), ("16", Some("Unauthorized"))] {
        let (layer, records) = layer();
        let app = layer.layer(service(move |_| {
            let script = Script::new([data("message"), Step::Trailers("grpc-status", status)]);
            std::future::ready(Ok(response(script)))
        }));
        let mut request = request(Method::POST, "/shop.v1.Orders/Refund");
        request.headers_mut().insert(header::CONTENT_TYPE, "application/grpc+proto".parse().unwrap());
        let (_, trailers) = collect(app.oneshot(request).await.unwrap().into_body()).await;
        assert_eq!(trailers.unwrap()["grpc-status"], status);
        let record = only(&records);
        assert_eq!(record["eventName"], "Refund");
        assert_eq!(record["additionalEventData"]["rpc.service"], "shop.v1.Orders");
        assert_eq!(record["errorCode"], json!(code), "{status}");
    }
}

#[tokio::test]
async fn parameters_come_from_path_query_and_body() {
    let (layer, records) = layer();
    let app = layer.layer(service(async |request: Request<_>| {
        collect(request.into_body()).await;
        Ok(response(Script::new([])))
    }));
    let send = async |uri: &str, content_type: &str, body: &str| {
        let mut request = request(Method::POST, uri);
        *request.body_mut() = Full::from(body.to_owned());
        request.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        request.headers_mut().insert(header::AUTHORIZATION, "Bearer not-to-be-seen".parse().unwrap());
        request.extensions_mut().insert(RouteTemplate::new("/orders/{id}/refund"));
        app.clone().oneshot(request).await.unwrap();
        let record = only(&records);
        assert!(!record.to_string().contains("not-to-be-seen"), "{record}");
        record["requestParameters"].clone()
    };
    let json = "application/json; charset=utf-8";
    assert_eq!(
        send(
            "/orders/17/refund?tag=a&tag=b&token=not-to-be-seen",
            json,
            r#"{"amount":1.50,"card":{"cvv":"not-to-be-seen"}}"#
        )
        .await,
        json!({ "id": "17", "tag": ["a", "b"], "token": "HIDDEN_DUE_TO_SECURITY_REASONS", "amount": 1.5,
                "card": { "cvv": "HIDDEN_DUE_TO_SECURITY_REASONS" } })
    );
    assert_eq!(
        send("/orders/17/refund", "text/plain", "not-to-be-seen").await["body"],
        json!({ "reason": "body is not JSON", "omitted": true, "originalSize": 14, "contentType": "text/plain" })
    );
    assert_eq!(
        send("/orders/17/refund", json, "{not-to-be-seen").await["body"],
        json!({ "reason": "body is not valid JSON", "omitted": true, "originalSize": 15 })
    );
    let large = format!("[\"{}\"]", "x".repeat(16 * 1024));
    assert_eq!(
        send("/orders/17/refund", json, &large).await["body"],
        json!({ "reason": "body too large", "omitted": true, "originalSize": 16 * 1024 + 4 })
    );
}

#[tokio::test]
async fn what_the_handler_does_not_read_is_not_read() {
    let (layer, records) = layer();
    let app = layer.layer(service(async |_| Ok(response(Script::new([])))));
    let mut request = request(Method::POST, "/orders");
    *request.body_mut() = Full::from(r#"{"a":1}"#);
    request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    app.oneshot(request).await.unwrap();
    let record = only(&records);
    assert_eq!(record["requestParameters"], json!(null));
    assert_eq!(record["additionalEventData"]["http.request.body.size"], 0);
}

#[tokio::test]
async fn levels_and_rules_decide_what_is_recorded() {
    let records = MemorySink::default();
    let layer = AuditLayer::builder("orders.example.com")
        .level(Level::RequestResponse)
        .route(Method::GET, "/health", Rule::new().level(Level::None))
        .route(Method::POST, "/find", Rule::new().name("SearchOrders").read_only(true).level(Level::Metadata))
        .sink(records.clone())
        .build()
        .unwrap();
    let app = layer.layer(service(async |request: Request<_>| {
        collect(request.into_body()).await;
        let mut response = response(Script::new([data(r#"{"orderId":"o-1","#), data(r#""secret":"s"}"#)]));
        response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        Ok(response)
    }));
    let send = async |method: Method, uri: &str| {
        let mut request = request(method, uri);
        *request.body_mut() = Full::from(r#"{"a":1}"#);
        request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        request.extensions_mut().insert(RouteTemplate::new(uri));
        collect(app.clone().oneshot(request).await.unwrap().into_body()).await;
    };
    send(Method::GET, "/health").await;
    assert!(records.take().is_empty());
    send(Method::POST, "/find").await;
    let record = only(&records);
    assert_eq!(record["eventName"], "SearchOrders");
    assert_eq!(record["readOnly"], true);
    assert_eq!((&record["requestParameters"], &record["responseElements"]), (&json!(null), &json!(null)));
    send(Method::POST, "/orders").await;
    let record = only(&records);
    assert_eq!(record["requestParameters"], json!({ "a": 1 }));
    assert_eq!(
        record["responseElements"],
        json!({ "orderId": "o-1", "secret": "HIDDEN_DUE_TO_SECURITY_REASONS" })
    );
}

#[tokio::test]
async fn handlers_add_to_the_record() {
    let (layer, records) = layer();
    let app = layer.layer(service(async |request: Request<_>| {
        let audit = Audit::of(request.extensions());
        let task = tokio::spawn(async move {
            audit.set_identity(Identity::user("17", "jo"));
            audit.parameter("orderId", "o-1");
            audit.parameter("password", "hunter2");
            audit.response_element("refund", &json!({ "id": 7, "apiKey": "hunter2" }));
            audit.response_element("huge", &"x".repeat(200 * 1024));
            audit.error("InsufficientStock", "Bearer hunter2hunter2hunter2");
            audit.add_resource(sidetrail::Resource { arn: Some("arn:x".to_owned()), ..Default::default() });
            audit
        });
        let audit = task.await.unwrap();
        Ok(response(Script::new([
            data("1"),
            Step::Run(std::sync::Arc::new(move || audit.parameter("late", "yes"))),
        ])))
    }));
    let mut request = request(Method::POST, "/orders");
    request.extensions_mut().insert(Identity::service("billing"));
    collect(app.oneshot(request).await.unwrap().into_body()).await;
    let record = only(&records);
    assert_eq!(record["userIdentity"], json!({ "type": "IAMUser", "principalId": "17", "userName": "jo" }));
    assert_eq!(record["additionalEventData"]["identitySource"], "handler");
    assert_eq!(
        record["requestParameters"],
        json!({ "orderId": "o-1", "password": "HIDDEN_DUE_TO_SECURITY_REASONS", "late": "yes" })
    );
    assert_eq!(
        record["responseElements"],
        json!({ "refund": { "id": 7, "apiKey": "HIDDEN_DUE_TO_SECURITY_REASONS" } })
    );
    assert_eq!(record["errorCode"], "InsufficientStock");
    assert_eq!(record["errorMessage"], "HIDDEN_DUE_TO_SECURITY_REASONS");
    assert_eq!(record["resources"], json!([{ "ARN": "arn:x" }]));
}

#[tokio::test]
async fn the_caller_and_the_connection_are_told() {
    let (layer, records) = layer();
    let app = layer.layer(service(async |_| Ok(response(Script::new([])))));
    let mut named = request(Method::GET, "/orders");
    named.extensions_mut().insert(PeerAddr("[::ffff:192.0.2.7]:4711".parse().unwrap()));
    for (name, value) in [
        ("user-agent", "curl/8"),
        ("x-request-id", "r-1"),
        ("x-forwarded-for", "203.0.113.1"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ] {
        named.headers_mut().insert(name, value.parse().unwrap());
    }
    app.clone().oneshot(named).await.unwrap();
    let record = only(&records);
    assert_eq!(record["sourceIPAddress"], "192.0.2.7");
    assert_eq!(record["userAgent"], "curl/8");
    assert_eq!(record["requestID"], "r-1");
    assert_eq!(record["additionalEventData"]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(record["userIdentity"], json!({ "type": "Unknown", "principalId": "anonymous" }));
    assert!(!record.to_string().contains("203.0.113.1"));
    app.oneshot(request(Method::GET, "/orders")).await.unwrap();
    assert_eq!(only(&records)["sourceIPAddress"], "unknown");
}

/// A service that counts how often it is polled ready.
#[derive(Clone)]
struct Picky(bool);

impl<B> Service<Request<B>> for Picky {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0 = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.0), "called before it was ready");
        std::future::ready(Ok(Response::new(Empty::new())))
    }
}

#[tokio::test]
async fn the_service_called_is_the_one_that_was_ready() {
    let (layer, records) = layer();
    let mut app = layer.layer(Picky(false));
    for _ in 0..3 {
        let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut app).await.unwrap();
        ready.call(request(Method::GET, "/orders")).await.unwrap();
        let _clone = app.clone();
    }
    assert_eq!(records.take().len(), 3);
}

#[test]
fn a_sink_that_panics_harms_nobody() {
    struct Panics;
    impl sidetrail::Sink for Panics {
        fn record(&self, _: sidetrail::Record) {
            panic!("sink")
        }
    }
    let layer = AuditLayer::builder("orders.example.com").sink(Panics).build().unwrap();
    let app = layer.layer(service(async |_| Ok(response(Script::new([])))));
    assert!(app.oneshot(request(Method::GET, "/orders")).now_or_never().unwrap().is_ok());
}

#[test]
fn bodies_keep_their_hints() {
    struct Hinted;
    impl Body for Hinted {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(None)
        }
        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(7)
        }
    }
    let (layer, _records) = layer();
    let app = layer.layer(tower::service_fn(async |request: Request<sidetrail::RequestBody<Hinted>>| {
        assert_eq!(request.body().size_hint().exact(), Some(7));
        assert!(!request.body().is_end_stream());
        Ok::<_, Infallible>(Response::new(Hinted))
    }));
    let response = app.oneshot(Request::new(Hinted)).now_or_never().unwrap().unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(7));
}
