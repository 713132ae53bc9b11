//! Bodies that follow a script, and short ways to send requests.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use sidetrail::{Audit, AuditLayer, Builder, MemorySink, RequestBody, RouteTemplate};
use tower::{Layer, Service, ServiceExt};

/// What a scripted body does when it is polled.
#[derive(Clone)]
pub(crate) enum Step {
    Data(Bytes),
    Trailers(&'static str, &'static str),
    /// For ever.
    Pending,
    Fail,
    Panic,
    /// Runs something on the way.
    Run(Arc<dyn Fn() + Send + Sync>),
}

impl fmt::Debug for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Step")
    }
}

/// A body that follows a script.
#[derive(Clone, Debug)]
pub(crate) struct Script(VecDeque<Step>);

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        loop {
            return Poll::Ready(match self.0.front().cloned() {
                Some(Step::Pending) => return Poll::Pending,
                Some(step) => {
                    self.0.pop_front();
                    match step {
                        Step::Data(data) => Some(Ok(Frame::data(data))),
                        Step::Trailers(name, value) => {
                            let mut trailers = HeaderMap::new();
                            trailers.insert(name, value.parse().expect("a header value"));
                            Some(Ok(Frame::trailers(trailers)))
                        }
                        Step::Fail => Some(Err("body failed")),
                        Step::Run(run) => {
                            run();
                            continue;
                        }
                        Step::Panic | Step::Pending => unreachable!("in body"),
                    }
                }
                None => None,
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// A layer that records into memory.
pub(crate) fn layer() -> (AuditLayer, MemorySink) {
    let records = MemorySink::default();
    let layer = AuditLayer::builder("orders.example.com").sink(records.clone()).build().expect("a layer");
    (layer, records)
}

/// A service from an async closure.
pub(crate) fn service<F, R>(
    handle: F,
) -> impl Service<Request<RequestBody<Full<Bytes>>>, Response = Response<Script>, Error = Infallible, Future = R>
+ Clone
where
    F: FnMut(Request<RequestBody<Full<Bytes>>>) -> R + Clone,
    R: Future<Output = Result<Response<Script>, Infallible>>,
{
    tower::service_fn(handle)
}

/// A request without a body.
pub(crate) fn request(method: Method, uri: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(uri).body(Full::default()).expect("a request")
}

/// Sends a request to a service that reads it and answers with JSON. What was recorded.
pub(crate) async fn exchange(
    build: impl FnOnce(Builder) -> Builder,
    request: Request<Full<Bytes>>,
    answer: &'static str,
) -> serde_json::Value {
    exchange_with(build, request, answer, |_| {}).await
}

/// As [`exchange`], with what the handler does.
pub(crate) async fn exchange_with(
    build: impl FnOnce(Builder) -> Builder,
    request: Request<Full<Bytes>>,
    answer: &'static str,
    handle: fn(&Audit),
) -> serde_json::Value {
    let records = MemorySink::default();
    let builder = AuditLayer::builder("orders.example.com").sink(records.clone());
    let layer = build(builder).build().expect("a layer");
    let app = layer.layer(service(move |request: Request<RequestBody<Full<Bytes>>>| async move {
        let audit = Audit::of(request.extensions());
        request.into_body().collect().await.expect("a body");
        handle(&audit);
        let mut response = Response::new(Script::new([Step::Data(answer.into())]));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }));
    let response = app.oneshot(request).await.expect("infallible");
    collect(response.into_body()).await;
    only(&records)
}

/// A request with a body.
pub(crate) fn post(
    uri: &str,
    template: &'static str,
    content_type: &str,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let request =
        Request::post(uri).header(CONTENT_TYPE, content_type).extension(RouteTemplate::new(template));
    request.body(Full::new(body.into())).expect("a request")
}

/// A body's data and trailers.
pub(crate) async fn collect<B>(body: B) -> (String, Option<HeaderMap>)
where
    B: Body<Error: fmt::Debug>,
{
    let collected = body.collect().await.expect("a body");
    let trailers = collected.trailers().cloned();
    (String::from_utf8(collected.to_bytes().to_vec()).expect("text"), trailers)
}

/// The one record, as JSON.
pub(crate) fn only(records: &MemorySink) -> serde_json::Value {
    let records = records.take();
    assert_eq!(records.len(), 1, "{records:?}");
    serde_json::to_value(&records[0]).expect("JSON")
}
