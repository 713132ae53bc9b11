//! `/livez`, `/readyz` and `/startupz` over HTTP, and what is for operators: the page of unaudited pods.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Context, unaudited};

#[derive(Clone, Debug)]
struct Health {
    context: Arc<Context>,
    closing: CancellationToken,
}

/// Serves the probes until `end`.
pub(crate) async fn serve(
    listener: TcpListener,
    context: Arc<Context>,
    closing: CancellationToken,
    end: CancellationToken,
) {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        // It is served when the server has started, and not before.
        .route("/startupz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Health { context: Arc::clone(&context), closing })
        .merge(unaudited::pages(context));
    let served = axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "cannot serve probes");
    }
}

/// Ready is: the state can be read, and the server is not about to end.
async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    if health.closing.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".to_owned());
    }
    let first = health.context.state.accounts().next();
    match first {
        Some((_, versions)) => match versions.read().await {
            Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), "the state cannot be read");
                (StatusCode::SERVICE_UNAVAILABLE, "the state cannot be read\n".to_owned())
            }
        },
        None => (StatusCode::OK, "ok\n".to_owned()),
    }
}
