//! Probes, metrics, and the page of unaudited pods.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use tokio_util::sync::CancellationToken;

use super::tls::Presented;
use crate::metrics::Metrics;
use crate::namespaces::Namespaces;
use crate::unaudited::{Board, html};

/// What the pages show.
#[derive(Clone, Debug)]
pub struct Pages {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The certificate.
    pub presented: Arc<Presented>,
    /// What is known of namespaces.
    pub namespaces: Arc<Namespaces>,
    /// What is unaudited.
    pub board: Arc<Board>,
    /// Whether it is known if the cluster has native sidecars: an older one drops what makes them stay, in silence.
    pub version_known: Arc<AtomicBool>,
    /// The process is told to end.
    pub ending: CancellationToken,
}

/// Their routes.
pub fn pages(pages: Pages) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/unaudited", get(unaudited))
        .route("/unaudited.json", get(unaudited_json))
        .with_state(pages)
}

async fn readyz(State(pages): State<Pages>) -> (StatusCode, String) {
    let mut reasons = Vec::new();
    if !pages.presented.is_there() {
        reasons.push("there is no certificate yet");
    }
    if !pages.namespaces.is_complete() {
        reasons.push("namespaces are not known yet");
    }
    if !pages.version_known.load(Ordering::Relaxed) {
        reasons.push("the cluster's version is not known yet");
    }
    if pages.ending.is_cancelled() {
        reasons.push("shutting down");
    }
    if reasons.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
}

async fn metrics(State(pages): State<Pages>) -> Response {
    match pages.metrics.encode() {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
                .into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// For people a page, for programs JSON.
async fn unaudited(pages: State<Pages>, query: RawQuery, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if !accepts.contains("text/html") {
        return unaudited_json(pages, query).await;
    }
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy)];
    (headers, html(&pages.board.read(), namespace(query.0.as_deref()))).into_response()
}

async fn unaudited_json(State(pages): State<Pages>, RawQuery(query): RawQuery) -> Response {
    let report = pages.board.read();
    match serde_json::to_vec(&report.of(namespace(query.as_deref()))) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// `?namespace=NAME`. Names of namespaces need no escape.
fn namespace(query: Option<&str>) -> Option<&str> {
    let namespace = query?.split('&').find_map(|part| part.strip_prefix("namespace="));
    namespace.filter(|namespace| !namespace.is_empty())
}
