//! The routers under test, and the calls they get.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query};
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_tracing_opentelemetry::middleware::OtelAxumLayer;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sidetrail::{AuditLayer, Delivery, JwtClaims};
use sidetrail_tests::{START, STOP, wait_for};
use tower::ServiceExt;
use tower_http::trace::{DefaultMakeSpan, DefaultOnRequest, DefaultOnResponse, TraceLayer};
use tracing::Level;
use tracing_appender::non_blocking::WorkerGuard;

use crate::collector::Server;
use crate::sink::Queue;

/// The log file is written anew from here on: the disk is not what is measured.
const LOG_FILE: u64 = 32 << 20;

/// What is around the routes.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Middleware {
    None,
    /// The layer, and a sink that does what the sender does on the calling thread: encoding's conversion, a lock, a push.
    Queue,
    /// The layer and its sender, connected to a collector's socket.
    Sender,
    /// And answers wait until their records are acked.
    Durable,
    /// `TraceLayer` with the request's headers in the span and a line when it is answered, as JSON, on a non-blocking
    /// writer.
    Trace,
    /// And a line when it comes.
    TraceBoth,
    /// `axum-tracing-opentelemetry`, with a tracer that exports nothing.
    Otel,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Path and query.
    Get,
    /// 1 KB of JSON with secrets in it.
    Post,
}

#[derive(Debug)]
pub(crate) struct App {
    router: Router,
    background: Background,
    get: Request<()>,
    post: Request<()>,
    body: Bytes,
    sent: AtomicU64,
}

#[derive(Debug)]
enum Background {
    None,
    Queue(Arc<Queue>),
    Sender(AuditLayer, Server),
    /// And how many lines there are for a request.
    Trace(Arc<Log>, u64),
}

impl App {
    pub(crate) fn start(middleware: Middleware, log: &Arc<Log>) -> Result<Self> {
        let routes = Router::new().route("/orders/{id}", get(read)).route("/orders", post(create));
        let (router, background) = match middleware {
            Middleware::None => (routes, Background::None),
            Middleware::Queue => {
                let queue = Queue::start();
                let layer = AuditLayer::builder("orders.example.com").sink(Arc::clone(&queue)).build()?;
                (routes.layer(layer), Background::Queue(queue))
            }
            Middleware::Sender | Middleware::Durable => {
                let server = Server::start()?;
                let waits = middleware == Middleware::Durable;
                let layer = AuditLayer::builder("orders.example.com")
                    .delivery(if waits { Delivery::Durable } else { Delivery::Buffered })
                    .collector(server.address())
                    .build()?;
                wait_for("the sender's connection", START, || Ok(layer.stats().connected.then_some(())))?;
                (routes.layer(layer.clone()), Background::Sender(layer, server))
            }
            Middleware::Trace | Middleware::TraceBoth => {
                let lines = if middleware == Middleware::Trace { 1 } else { 2 };
                let level = if middleware == Middleware::Trace { Level::DEBUG } else { Level::INFO };
                let layer = TraceLayer::new_for_http()
                    .make_span_with(DefaultMakeSpan::new().level(Level::INFO).include_headers(true))
                    .on_request(DefaultOnRequest::new().level(level))
                    .on_response(DefaultOnResponse::new().level(Level::INFO));
                (routes.layer(layer), Background::Trace(Arc::clone(log), lines))
            }
            Middleware::Otel => (routes.layer(OtelAxumLayer::default()), Background::None),
        };
        let body = body()?;
        let post = Request::post("/orders").header(header::CONTENT_TYPE, "application/json");
        let post = post.header(header::CONTENT_LENGTH, body.len());
        let get = Request::get("/orders/48213?expand=lines&currency=EUR");
        Ok(Self { router, background, get: usual(get)?, post: usual(post)?, body, sent: AtomicU64::new(0) })
    }

    /// Calls as a server does: a clone of the router for each, and the answer read to its end.
    pub(crate) async fn call(&self, call: Call, count: u64) -> Result<()> {
        for _ in 0..count {
            let request = match call {
                Call::Get => self.get.clone().map(|()| Body::empty()),
                Call::Post => self.post.clone().map(|()| Body::from(self.body.clone())),
            };
            let response = self.router.clone().oneshot(request).await?;
            ensure!(response.status().is_success(), "answered {}", response.status());
            response.into_body().collect().await?;
        }
        self.sent.fetch_add(count, Ordering::Relaxed);
        if let Background::Trace(log, lines) = &self.background {
            log.due.fetch_add(count * lines, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Waits until the background has dealt with everything, all of it.
    pub(crate) fn catch_up(&self) -> Result<()> {
        let sent = self.sent.load(Ordering::Relaxed);
        let is_idle = || match &self.background {
            Background::None => true,
            Background::Queue(queue) => queue.taken() == sent,
            Background::Sender(layer, _) => layer.stats().acked == sent,
            Background::Trace(log, _) => {
                log.written.load(Ordering::Acquire) == log.due.load(Ordering::Relaxed)
            }
        };
        wait_for("the background", STOP, || Ok(is_idle().then_some(())))
    }

    /// Ends the background.
    pub(crate) fn finish(self) -> Result<()> {
        match self.background {
            Background::Sender(layer, server) => {
                layer.shutdown_blocking(STOP)?;
                drop(server);
            }
            Background::Queue(queue) => queue.stop(),
            Background::Trace(..) | Background::None => {}
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Order {
    id: u64,
    expand: String,
}

#[derive(Deserialize)]
struct Expand {
    expand: String,
}

async fn read(Path(id): Path<u64>, Query(Expand { expand }): Query<Expand>) -> Json<Order> {
    Json(Order { id, expand })
}

async fn create(body: Bytes) -> StatusCode {
    if body.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::CREATED }
}

/// What a request through a proxy has, and what a server and an authenticating middleware add to it.
fn usual(request: http::request::Builder) -> Result<Request<()>> {
    let claims = json!({"iss": "https://id.example.com", "sub": "u-48213", "preferred_username": "ann"});
    Ok(request
        .header(header::HOST, "orders.example.com")
        .header(header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0")
        .header(header::ACCEPT, "application/json")
        .header(header::ACCEPT_ENCODING, "gzip, deflate, br, zstd")
        .header(header::AUTHORIZATION, format!("Bearer {}", "eyJhbGciOiJFZERTQSJ9".repeat(12)))
        .header("x-request-id", "8f2b6c1e-4f0a-4f52-9c26-5f0f6a3a7f10")
        .header("x-forwarded-for", "192.0.2.17")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 17], 50_312))))
        .extension(JwtClaims::new(&claims).context("claims")?)
        .body(())?)
}

/// 1 KB, of the kind that a shop gets.
fn body() -> Result<Bytes> {
    let mut order = json!({
        "customer": {"name": "Ann Example", "email": "ann@example.com", "phone": "+49 30 1234567"},
        "shipping": {"street": "Hauptstrasse 17", "city": "Berlin", "postcode": "10115", "country": "DE"},
        "payment": {"method": "card", "cardNumber": "4111111111111111", "cvv": "123", "holder": "Ann Example"},
        "account": {"password": "correct horse battery staple", "newsletter": true},
        "lines": (1..=7).map(|line| json!({
            "sku": format!("SKU-{:05}", line * 7919), "quantity": line, "price": f64::from(line) * 4.25,
        })).collect::<Vec<_>>(),
        "note": "",
    });
    let padding = 1024_usize.checked_sub(order.to_string().len()).context("the order is over 1 KB")?;
    order["note"] = "please ring twice ".chars().cycle().take(padding).collect::<String>().into();
    Ok(order.to_string().into())
}

/// JSON lines on a thread of their own, as services have it.
#[derive(Debug)]
pub(crate) struct Log {
    due: AtomicU64,
    written: Arc<AtomicU64>,
    _guard: WorkerGuard,
}

impl Log {
    /// For the whole process.
    pub(crate) fn start() -> Result<Arc<Self>> {
        let written = Arc::<AtomicU64>::default();
        let file = LogFile { file: tempfile::tempfile()?, size: 0, lines: Arc::clone(&written) };
        let (writer, guard) = tracing_appender::non_blocking(file);
        let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::INFO).with_writer(writer);
        subscriber.try_init().map_err(|error| anyhow!(error))?;
        Ok(Arc::new(Self { due: AtomicU64::new(0), written, _guard: guard }))
    }
}

struct LogFile {
    file: File,
    size: u64,
    lines: Arc<AtomicU64>,
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    /// The appender hands over one line at a time.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size > LOG_FILE {
            self.file.rewind()?;
            self.size = 0;
        }
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        self.lines.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
