//! Calls that wait for the audit log.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use sidetrail::{
    AuditLayer, AuditUnavailable, Builder, Delivery, Draft, MemorySink, Overflow, Permit, Promise, Receipt,
    Record, RequestBody, Rule, Sink,
};
use tower::{Layer, Service, ServiceExt};

use crate::support::{Script, Step, collect, only, request, service};

const LATE: AuditUnavailable = AuditUnavailable::new("the audit log did not answer in time");

/// Answers when the test says so.
#[derive(Clone, Default)]
struct Slow(Arc<State>);

#[derive(Default)]
struct State {
    records: MemorySink,
    stores: Mutex<Vec<Promise>>,
    rooms: Mutex<Vec<Promise<Permit>>>,
}

impl Sink for Slow {
    fn record(&self, record: Record) {
        self.0.records.record(record);
    }

    fn store(&self, draft: Draft, _: Duration) -> Receipt {
        self.accept(draft);
        let (promise, receipt) = Receipt::pending();
        self.0.stores.lock().unwrap().push(promise);
        receipt
    }

    fn intend(&self, intent: Draft, _: Duration) -> (Permit, Receipt) {
        let record = intent.into_record();
        assert_eq!((record.event_name.as_deref(), record.error_code), (Some("RefundOrder"), None));
        let (promise, receipt) = Receipt::pending();
        self.0.stores.lock().unwrap().push(promise);
        (Permit::none(), receipt)
    }

    fn reserve(&self, _: Duration) -> Receipt<Permit> {
        let (promise, receipt) = Receipt::pending();
        self.0.rooms.lock().unwrap().push(promise);
        receipt
    }
}

impl Slow {
    fn answer(&self, result: Result<(), AuditUnavailable>) {
        self.0.stores.lock().unwrap().pop().unwrap().resolve(result);
    }

    fn waiting(&self) -> usize {
        self.0.stores.lock().unwrap().len() + self.0.rooms.lock().unwrap().len()
    }
}

fn layer(configure: impl FnOnce(Builder) -> Builder) -> (AuditLayer, Slow) {
    let sink = Slow::default();
    let builder = configure(AuditLayer::builder("orders.example.com")).sink(sink.clone());
    (builder.build().unwrap(), sink)
}

fn refund() -> Request<Full<Bytes>> {
    let mut request = request(Method::POST, "/orders/17/refund");
    request.headers_mut().insert("x-request-id", "r-1".parse().unwrap());
    request
}

/// Counts how often it is called.
fn counted(
    calls: Arc<AtomicUsize>,
    body: Script,
) -> impl Service<Request<RequestBody<Full<Bytes>>>, Response = Response<Script>, Error = Infallible, Future: Send>
+ Clone {
    service(move |_| {
        calls.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(Response::new(body.clone())))
    })
}

fn text(text: &'static str) -> Script {
    Script::new([Step::Data(text.into())])
}

async fn problem(response: Response<impl http_body::Body<Data = Bytes, Error: std::fmt::Debug>>) -> Value {
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    serde_json::from_str(&collect(response.into_body()).await.0).unwrap()
}

#[tokio::test]
async fn guarded_handlers_begin_when_the_intent_is_stored() {
    let (layer, sink) = layer(|layer| {
        layer.route(Method::POST, "/orders/{orderId}/refund", Rule::new().delivery(Delivery::Guarded))
    });
    let calls = Arc::<AtomicUsize>::default();
    let mut call = layer.layer(counted(Arc::clone(&calls), text("done"))).oneshot(refund()).boxed();
    assert!((&mut call).now_or_never().is_none());
    assert_eq!((calls.load(Ordering::Relaxed), sink.waiting()), (0, 1));
    sink.answer(Ok(()));
    let response = call.now_or_never().unwrap().unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(collect(response.into_body()).await.0, "done");
    let record = only(&sink.0.records);
    assert_eq!((&record["eventName"], &record["errorCode"]), (&"RefundOrder".into(), &Value::Null));
}

#[tokio::test]
async fn guarded_handlers_never_begin_without_it() {
    let (layer, sink) = layer(|layer| layer.delivery(Delivery::Guarded));
    let calls = Arc::<AtomicUsize>::default();
    for broken in [true, false] {
        let mut call = layer.layer(counted(Arc::clone(&calls), text("done"))).oneshot(refund()).boxed();
        assert!((&mut call).now_or_never().is_none());
        if broken {
            sink.0.stores.lock().unwrap().clear();
        } else {
            sink.answer(Err(LATE));
        }
        let problem = problem(call.await.unwrap()).await;
        assert_eq!((&problem["title"], &problem["status"]), (&"AuditUnavailable".into(), &503.into()));
        assert_eq!(problem["requestId"], "r-1");
        let record = only(&sink.0.records);
        assert_eq!(
            (&record["errorCode"], &record["errorMessage"]),
            (&"AuditUnavailable".into(), &problem["detail"])
        );
        assert_eq!(record["additionalEventData"]["http.response.status_code"], 503);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_intent_is_stored_is_recorded() {
    let (layer, sink) = layer(|layer| layer.delivery(Delivery::Guarded));
    let calls = Arc::<AtomicUsize>::default();
    let mut call = layer.layer(counted(Arc::clone(&calls), text("done"))).oneshot(refund()).boxed();
    assert!((&mut call).now_or_never().is_none());
    drop(call);
    assert_eq!(only(&sink.0.records)["errorCode"], "ClientClosedRequest");
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_sink_that_promises_nothing_guards_nothing() {
    struct Plain(MemorySink);
    impl Sink for Plain {
        fn record(&self, record: Record) {
            self.0.record(record);
        }
    }

    for delivery in [Delivery::Guarded, Delivery::Durable] {
        let records = MemorySink::default();
        let layer = AuditLayer::builder("orders.example.com").delivery(delivery).sink(Plain(records.clone()));
        let app = layer.build().unwrap().layer(counted(Arc::default(), text("done")));
        let problem = problem(app.oneshot(refund()).await.unwrap()).await;
        assert!(problem["detail"].as_str().unwrap().contains("cannot promise"), "{problem}");
        only(&records);
    }
}

#[tokio::test]
async fn durable_answers_wait_for_their_record() {
    let (layer, sink) = layer(|layer| layer.delivery(Delivery::Durable));
    let body = Script::new([Step::Data("do".into()), Step::Data("ne".into()), Step::Trailers("x-sum", "4")]);
    let mut call = layer.layer(counted(Arc::default(), body)).oneshot(refund()).boxed();
    assert!((&mut call).now_or_never().is_none());
    let record = only(&sink.0.records);
    assert_eq!(record["additionalEventData"]["http.response.body.size"], 4, "the record is complete");
    sink.answer(Ok(()));
    let response = call.now_or_never().unwrap().unwrap();
    let (body, trailers) = collect(response.into_body()).await;
    assert_eq!((body.as_str(), &trailers.unwrap()["x-sum"]), ("done", &"4".parse().unwrap()));
    assert!(sink.0.records.take().is_empty());
}

#[tokio::test]
async fn durable_answers_without_a_record_are_not_given() {
    let (layer, sink) = layer(|layer| layer.delivery(Delivery::Durable));
    for body in [text("done"), Script::new([])] {
        let mut call = layer.layer(counted(Arc::default(), body)).oneshot(refund()).boxed();
        assert!((&mut call).now_or_never().is_none());
        sink.answer(Err(LATE));
        let problem = problem(call.await.unwrap()).await;
        assert_eq!(problem["detail"], LATE.reason());
        assert_eq!(only(&sink.0.records)["errorCode"], Value::Null, "what the handler did");
    }
}

#[tokio::test]
async fn durable_streams_end_when_their_record_is_stored() {
    for stored in [true, false] {
        let (layer, sink) = layer(|layer| layer.delivery(Delivery::Durable));
        // The second frame is not there yet when the answer begins.
        let begun = Arc::new(AtomicUsize::new(0));
        let stream = |begun: Arc<AtomicUsize>| {
            futures_util::stream::poll_fn(move |cx| match begun.fetch_add(1, Ordering::Relaxed) {
                0 | 2 => std::task::Poll::Ready(Some(Ok::<_, Infallible>(http_body::Frame::data(
                    Bytes::from("x"),
                )))),
                1 => {
                    cx.waker().wake_by_ref();
                    std::task::Poll::Pending
                }
                _ => std::task::Poll::Ready(None),
            })
        };
        let app = tower::service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
            let body = http_body_util::StreamBody::new(stream(Arc::clone(&begun)));
            std::future::ready(Ok::<_, Infallible>(Response::new(body)))
        });
        let response = layer.layer(app).oneshot(refund()).await.unwrap();
        let mut body = Box::pin(response.into_body());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
        assert!(body.frame().now_or_never().is_none());
        assert!(!http_body::Body::is_end_stream(&body));
        only(&sink.0.records);
        sink.answer(if stored { Ok(()) } else { Err(LATE) });
        match body.frame().await {
            None => assert!(stored),
            Some(Err(error)) => assert!(!stored && error.to_string().contains("in time"), "{error}"),
            Some(Ok(frame)) => panic!("{frame:?}"),
        }
    }
}

#[tokio::test]
async fn a_body_that_was_read_to_its_end_is_not_asked_again() {
    let (layer, sink) = layer(|layer| layer.delivery(Delivery::Durable));
    let app = tower::service_fn(|_: Request<RequestBody<Full<Bytes>>>| {
        // Such a stream panics when it is polled after its end.
        let frames = futures_util::stream::unfold(0, |count| {
            let frame = Ok::<_, Infallible>(http_body::Frame::data(Bytes::from("x")));
            std::future::ready((count < 2).then_some((frame, count + 1)))
        });
        let body = http_body_util::StreamBody::new(frames);
        std::future::ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let mut call = layer.layer(app).oneshot(refund()).boxed();
    assert!((&mut call).now_or_never().is_none());
    sink.answer(Ok(()));
    assert_eq!(collect(call.await.unwrap().into_body()).await.0, "xx");
    only(&sink.0.records);
}

#[tokio::test]
async fn a_durable_answer_of_known_length_keeps_its_last_bytes_back() {
    let (layer, sink) = layer(|layer| layer.delivery(Delivery::Durable));
    // More than is held back as a whole.
    let chunk = Bytes::from(vec![b'x'; 50_000]);
    let app = service(move |_| {
        let body =
            Script::new([Step::Data(chunk.clone()), Step::Data(chunk.clone()), Step::Data(chunk.clone())]);
        std::future::ready(Ok(Response::builder()
            .header(header::CONTENT_LENGTH, 150_000)
            .body(body)
            .unwrap()))
    });
    let response = layer.layer(app).oneshot(refund()).await.unwrap();
    let mut body = Box::pin(response.into_body());
    for _ in 0..2 {
        body.frame().now_or_never().unwrap().unwrap().unwrap();
    }
    assert!(body.frame().now_or_never().is_none());
    sink.answer(Ok(()));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 50_000);
    only(&sink.0.records);
}

#[tokio::test]
async fn blocked_calls_wait_for_room() {
    let (layer, sink) = layer(|layer| layer.overflow(Overflow::Block));
    let calls = Arc::<AtomicUsize>::default();
    let mut call = layer.layer(counted(Arc::clone(&calls), text("done"))).oneshot(refund()).boxed();
    assert!((&mut call).now_or_never().is_none());
    assert_eq!((calls.load(Ordering::Relaxed), sink.waiting()), (0, 1));
    sink.0.rooms.lock().unwrap().pop().unwrap().resolve(Ok(Permit::none()));
    assert_eq!(collect(call.await.unwrap().into_body()).await.0, "done");
    only(&sink.0.records);
}

#[tokio::test]
async fn grpc_callers_get_a_grpc_status() {
    let (layer, sink) = layer(|layer| layer.overflow(Overflow::Block));
    let mut request = request(Method::POST, "/shop.v1.Orders/Refund");
    request.headers_mut().insert(header::CONTENT_TYPE, "application/grpc".parse().unwrap());
    let call = layer.layer(counted(Arc::default(), text("done"))).oneshot(request);
    let call = tokio::spawn(call);
    tokio::task::yield_now().await;
    sink.0.rooms.lock().unwrap().pop().unwrap().resolve(Err(LATE));
    let response = call.await.unwrap().unwrap();
    assert_eq!(
        (response.status(), &response.headers()["grpc-status"]),
        (StatusCode::OK, &"14".parse().unwrap())
    );
    assert_eq!(collect(response.into_body()).await.0, "");
    assert_eq!(only(&sink.0.records)["errorCode"], "AuditUnavailable");
}

#[tokio::test]
async fn a_rule_around_the_handler_can_guard_it() {
    let (layer, sink) = layer(|layer| layer);
    let calls = Arc::default();
    let guarded = Rule::new().delivery(Delivery::Guarded);
    for stored in [true, false] {
        // Two rules announce it once.
        let app = layer.layer(guarded.layer(guarded.layer(counted(Arc::clone(&calls), text("done")))));
        let mut call = app.oneshot(refund()).boxed();
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(sink.waiting(), 1);
        sink.answer(if stored { Ok(()) } else { Err(LATE) });
        let response = call.now_or_never().unwrap().unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 1, "in the first round");
        if stored {
            assert_eq!(collect(response.into_body()).await.0, "done");
            assert_eq!(only(&sink.0.records)["errorCode"], Value::Null);
        } else {
            problem(response).await;
            let record = only(&sink.0.records);
            assert_eq!(
                (&record["errorCode"], &record["errorMessage"]),
                (&"AuditUnavailable".into(), &LATE.reason().into())
            );
        }
    }
}

#[tokio::test]
async fn a_rule_around_the_handler_can_make_the_answer_wait() {
    let (layer, sink) = layer(|layer| layer);
    let app =
        layer.layer(Rule::new().delivery(Delivery::Durable).layer(counted(Arc::default(), text("done"))));
    let mut call = app.oneshot(refund()).boxed();
    assert!((&mut call).now_or_never().is_none());
    sink.answer(Ok(()));
    assert_eq!(collect(call.await.unwrap().into_body()).await.0, "done");
    only(&sink.0.records);
}
