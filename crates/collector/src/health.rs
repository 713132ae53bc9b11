//! `/livez`, `/readyz` and `/metrics` over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::{StatusCode, header};
use sidetrail_spool::Committer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::ledger::SharedLedger;
use crate::metrics::Metrics;
use crate::pressure::Pressure;
use crate::space::Space;

/// What the probes look at.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) committer: Committer<SharedLedger>,
    pub(crate) ledger: SharedLedger,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) space: Arc<Space>,
    pub(crate) failed: CancellationToken,
    pub(crate) closing: CancellationToken,
}

/// Serves the probes until `end`.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Health,
    end: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health);
    axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned()).await
}

/// Binds before anything else starts, so that a taken port is found out at once.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn livez(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.failed.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the spool has failed\n");
    }
    (StatusCode::OK, "ok\n")
}

/// Ready is: an event sent now is taken. The bucket may be away. The body's first line says why not, the others what fills
/// up.
async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    let (status, why) = if health.failed.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "the spool has failed\n")
    } else if health.closing.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    } else if health.pressure.is_full() {
        (StatusCode::SERVICE_UNAVAILABLE, "the spool is full\n")
    } else {
        (StatusCode::OK, "ok\n")
    };
    health.metrics.space(health.space.look(health.committer.usage()));
    (status, format!("{why}{}", health.space.warnings()))
}

async fn metrics(State(health): State<Health>) -> axum::response::Result<impl axum::response::IntoResponse> {
    health.metrics.space(health.space.look(health.committer.usage()));
    let text = health
        .metrics
        .encode(health.ledger.totals(), health.committer.usage())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
