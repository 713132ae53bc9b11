//! Bodies that are long, in parts, or never end.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, put},
};
use futures_util::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use sidetrail::AuditLayer;

use super::{status, told};
use crate::{
    loopback::{Server, empty, record},
    support::layer,
};

const CHUNK: usize = 1024 * 1024;
const CHUNKS: usize = 64;

fn chunks() -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    let chunk = Bytes::from(vec![b'x'; CHUNK]);
    stream::iter((0..CHUNKS).map(move |_| Ok(chunk.clone())))
}

#[tokio::test]
async fn an_upload_that_streams() {
    let (layer, sink) = layer();
    let count = async |request: Request| {
        let mut body = request.into_body().into_data_stream();
        let mut size = 0;
        while let Some(chunk) = body.next().await {
            size += chunk.unwrap().len();
        }
        size.to_string()
    };
    let server = Server::start(Router::new().route("/files/{name}", put(count)).layer(layer)).await;
    let body = StreamBody::new(chunks().map(|chunk| chunk.map(Frame::data)));
    let request = http::Request::put(format!("http://{}/files/big", server.address)).body(body).unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), (CHUNK * CHUNKS).to_string());
    let record = record(&sink).await;
    assert_eq!(told(&record), ("UpdateFile", Some("/files/{name}"), None));
    assert_eq!(record["additionalEventData"]["http.request.body.size"], CHUNK * CHUNKS);
}

#[tokio::test]
async fn a_download_that_streams() {
    let (layer, sink) = layer();
    let app = Router::new().route("/files/{name}", get(async || Body::from_stream(chunks()))).layer(layer);
    let server = Server::start(app).await;
    let mut body = server.call(empty("GET", "/files/big")).await.into_body();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        size += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(size, CHUNK * CHUNKS);
    let record = record(&sink).await;
    assert_eq!(told(&record), ("GetFile", Some("/files/{name}"), None));
    assert_eq!(record["additionalEventData"]["http.response.body.size"], size);
}

/// Says when it is dropped.
struct Dropped<S>(S, Arc<AtomicBool>);

impl<S: Stream + Unpin> Stream for Dropped<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl<S> Drop for Dropped<S> {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

fn events(layer: AuditLayer, dropped: &Arc<AtomicBool>) -> Router {
    let dropped = Arc::clone(dropped);
    let three =
        || stream::iter(1..=3).map(|index| Ok::<_, Infallible>(Event::default().data(index.to_string())));
    // Every few milliseconds, so that a server sees that its client is gone.
    let ticks = move || {
        let tick = |index: u64| async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok::<_, Infallible>(Event::default().data(index.to_string())), index + 1))
        };
        Dropped(Box::pin(stream::unfold(0, tick)), Arc::clone(&dropped))
    };
    Router::new()
        .route("/events/past", get(async move || Sse::new(three())))
        .route("/events/stream", get(async move || Sse::new(ticks()).keep_alive(KeepAlive::default())))
        .layer(layer)
}

#[tokio::test]
async fn events_that_end() {
    let (layer, sink) = layer();
    let server = Server::start(events(layer, &Arc::default())).await;
    let (status, text) = server.text(empty("GET", "/events/past")).await;
    assert_eq!((status, text.as_str()), (200, "data: 1\n\ndata: 2\n\ndata: 3\n\n"));
    let record = record(&sink).await;
    assert_eq!(told(&record), ("GetEventsPast", Some("/events/past"), None));
    assert_eq!(record["additionalEventData"]["http.response.body.size"], text.len());
}

#[tokio::test]
async fn events_whose_reader_hangs_up() {
    let (layer, sink) = layer();
    let dropped = Arc::default();
    let server = Server::start(events(layer, &dropped)).await;
    let mut body = server.call(empty("GET", "/events/stream")).await.into_body();
    for _ in 0..3 {
        body.frame().await.unwrap().unwrap();
    }
    assert!(sink.take().is_empty(), "not before it is over");
    drop(body);
    let record = record(&sink).await;
    assert_eq!(told(&record), ("StreamEvents", Some("/events/stream"), Some("ClientClosedRequest")));
    assert_eq!(status(&record), Some(200));
    assert!(dropped.load(Ordering::SeqCst), "the layer does not keep a stream alive");
}

#[tokio::test]
async fn a_range() {
    let (layer, sink) = layer();
    let part = async |headers: HeaderMap| match headers.get(header::RANGE) {
        Some(range) if range == "bytes=2-4" => {
            (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, "bytes 2-4/10")], "234").into_response()
        }
        Some(_) => StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
        None => "0123456789".into_response(),
    };
    let server = Server::start(Router::new().route("/files/{name}", get(part)).layer(layer)).await;
    for (range, expected, error) in [("bytes=2-4", 206, None), ("bytes=99-", 416, Some("BadRequest"))] {
        let mut request = empty("GET", "/files/a");
        request.headers_mut().insert(header::RANGE, range.parse().unwrap());
        assert_eq!(server.text(request).await.0, expected);
        let record = record(&sink).await;
        assert_eq!(told(&record), ("GetFile", Some("/files/{name}"), error));
        assert_eq!(status(&record), Some(u64::from(expected)));
    }
}

#[tokio::test]
async fn a_head_without_its_body() {
    let (layer, sink) = layer();
    let app = Router::new()
        .route("/files/{name}", get(async || "0123456789"))
        .route("/streams/{name}", get(async || Body::from_stream(chunks())))
        .layer(layer);
    let server = Server::start(app).await;
    for (path, name) in [("/files/a", "GetFile"), ("/streams/a", "GetStream")] {
        assert_eq!(server.text(empty("HEAD", path)).await, (200, String::new()));
        let record = record(&sink).await;
        assert_eq!((told(&record).0, told(&record).2, &record["readOnly"]), (name, None, &true.into()));
        assert_eq!(record["additionalEventData"]["http.request.method"], "HEAD");
        assert_eq!(record["additionalEventData"]["http.response.body.size"], 0);
    }
    server.stop().await;
    assert!(sink.take().is_empty());
}
