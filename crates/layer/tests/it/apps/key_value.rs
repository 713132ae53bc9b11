//! A key-value store: raw bodies that stream, compression, limits, and admin routes behind a bearer token.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::Write,
    sync::{Arc, RwLock},
    time::Duration,
};

use axum::{
    BoxError, Router,
    body::{Body, Bytes},
    error_handling::HandleErrorLayer,
    extract::{DefaultBodyLimit, Path, Request, State},
    handler::Handler,
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use flate2::{Compression, write::GzEncoder};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::ServiceBuilder;
use tower_http::{limit::RequestBodyLimitLayer, trace::TraceLayer};

use super::{complete, layer};
use crate::loopback::{Server, empty, json, record};

const MAX_VALUE: usize = 5 * 1024 * 1024;
const CHUNK: usize = 64 * 1024;

type Db = Arc<RwLock<BTreeMap<String, Bytes>>>;

async fn kv_get(Path(key): Path<String>, State(db): State<Db>) -> Result<Response, StatusCode> {
    let value = db.read().unwrap().get(&key).cloned().ok_or(StatusCode::NOT_FOUND)?;
    let chunks: Vec<_> =
        value.chunks(CHUNK).map(|chunk| Ok::<_, Infallible>(value.slice_ref(chunk))).collect();
    Ok(Body::from_stream(stream::iter(chunks)).into_response())
}

async fn kv_set(Path(key): Path<String>, State(db): State<Db>, value: Bytes) {
    db.write().unwrap().insert(key, value);
}

async fn list_keys(State(db): State<Db>) -> String {
    db.read().unwrap().keys().cloned().collect::<Vec<_>>().join("\n")
}

async fn delete_all_keys(State(db): State<Db>) {
    db.write().unwrap().clear();
}

async fn remove_key(Path(key): Path<String>, State(db): State<Db>) {
    db.write().unwrap().remove(&key);
}

async fn require_token(request: Request, next: Next) -> Response {
    match request.headers().get(header::AUTHORIZATION) {
        Some(value) if value == "Bearer secret-token" => next.run(request).await,
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn compress(request: Request, next: Next) -> Response {
    let wanted = request.headers().get(header::ACCEPT_ENCODING).is_some_and(|value| value == "gzip");
    let response = next.run(request).await;
    if !wanted || !response.status().is_success() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MAX_VALUE).await.unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&body).unwrap();
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, encoder.finish().unwrap().into())
}

fn admin_routes() -> Router<Db> {
    Router::new()
        .route("/keys", delete(delete_all_keys))
        .route("/key/{key}", delete(remove_key))
        .layer(middleware::from_fn(require_token))
}

fn app() -> Router {
    let db = Db::default();
    let limits = (DefaultBodyLimit::disable(), RequestBodyLimitLayer::new(MAX_VALUE));
    Router::new()
        .route(
            "/{key}",
            get(kv_get.layer(middleware::from_fn(compress)))
                .post_service(kv_set.layer(limits).with_state(Arc::clone(&db))),
        )
        .route("/keys", get(list_keys))
        .nest("/admin", admin_routes())
        .layer(
            ServiceBuilder::new()
                .layer(HandleErrorLayer::new(async |_: BoxError| StatusCode::SERVICE_UNAVAILABLE))
                .load_shed()
                .concurrency_limit(1024)
                .timeout(Duration::from_secs(10))
                .layer(TraceLayer::new_for_http()),
        )
        .with_state(db)
}

#[tokio::test]
async fn every_call_is_named_and_complete() {
    let (layer, sink) = layer(|builder| builder);
    let server = Server::start(app().layer(layer.clone())).await;
    let mut put = empty("POST", "/tea");
    *put.body_mut() = "green password=hunter2".repeat(10_000).into();
    let size = "green password=hunter2".len() * 10_000;
    assert_eq!(server.text(put).await.0, 200);
    let put = record(&sink).await;
    complete(&put, "UpdateKey", "/{key}", 200);
    assert_eq!(
        put["requestParameters"],
        json!({ "key": "tea", "body": { "reason": "body is not JSON", "omitted": true, "originalSize": size } })
    );

    let (status, text) = server.text(empty("GET", "/tea")).await;
    assert_eq!((status, text.len()), (200, size));
    let got = record(&sink).await;
    complete(&got, "GetKey", "/{key}", 200);
    assert_eq!(got["additionalEventData"]["http.response.body.size"], size);

    let mut gzip = empty("GET", "/tea");
    gzip.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let response = server.call(gzip).await;
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    let sent = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes().len();
    let got = record(&sink).await;
    complete(&got, "GetKey", "/{key}", 200);
    assert_eq!(got["additionalEventData"]["http.response.body.size"], sent);

    // The head alone: the answer does not wait for the rest, and a client that sends it might not see the answer.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST /huge HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", MAX_VALUE + 1);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 13];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413 ");
    drop(stream);
    let refused = record(&sink).await;
    complete(&refused, "UpdateKey", "/{key}", 413);
    assert_eq!(refused["errorCode"], "RequestTooLarge");

    for (method, path, token, status, name, route) in [
        ("GET", "/nothing", false, 404, "GetKey", "/{key}"),
        ("GET", "/keys", false, 200, "ListKeys", "/keys"),
        ("DELETE", "/admin/keys", false, 401, "DeleteAdminKeys", "/admin/keys"),
        ("DELETE", "/admin/key/tea", true, 200, "DeleteAdminKey", "/admin/key/{key}"),
        ("DELETE", "/admin/keys", true, 200, "DeleteAdminKeys", "/admin/keys"),
    ] {
        let mut request = json(method, path, &Value::Null);
        if token {
            let value = HeaderValue::from_static("Bearer secret-token");
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        assert_eq!(server.text(request).await.0, status, "{method} {path}");
        let record = record(&sink).await;
        complete(&record, name, route, status);
        assert!(!record.to_string().contains("secret-token"), "{record:#}");
    }
    server.stop().await;
    assert!(sink.take().is_empty(), "exactly one each");
    assert!(!layer.coverage().to_string().contains("collision"), "{}", layer.coverage());
}
