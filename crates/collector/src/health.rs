//! `/livez`, `/readyz`, `/startupz` and `/metrics` over HTTP, and `/flush` for those on this host.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use sidetrail_spool::Committer;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::digests::Notes;
use crate::flush::Announcement;
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
    pub(crate) digests: Notes,
    pub(crate) failed: CancellationToken,
    pub(crate) closing: CancellationToken,
    pub(crate) announcement: Arc<Announcement>,
}

/// One thing that a probe asks, and what is wrong with it.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Check {
    fn new(name: &'static str, fails: bool, reason: &'static str) -> Self {
        Self { name, ok: !fails, reason: fails.then_some(reason) }
    }
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
        // It is served when the collector has started, and not before.
        .route("/startupz", get(livez))
        .route("/metrics", get(metrics))
        .route("/flush", post(flush))
        .with_state(health)
        .into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned()).await
}

/// Binds before anything else starts, so that a taken port is found out at once.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

impl Health {
    fn alive(&self) -> Check {
        Check::new("spool", self.failed.is_cancelled(), "the spool has failed")
    }

    /// Ready is: an event sent now is taken. The bucket may be away.
    fn ready(&self) -> [Check; 3] {
        [
            self.alive(),
            Check::new("intake", self.closing.is_cancelled(), "shutting down"),
            Check::new("room", self.pressure.is_full(), "the spool is full"),
        ]
    }
}

async fn livez(State(health): State<Health>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    answer(&[health.alive()], &[], query.as_deref(), &headers)
}

async fn readyz(State(health): State<Health>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    health.metrics.space(health.space.look(health.committer.usage()));
    let warnings = [health.space.warnings(), health.digests.get()].concat();
    answer(&health.ready(), &warnings, query.as_deref(), &headers)
}

/// `ok` or the reasons, then what fills up, and what is wrong with digests; each check with `?verbose`, as Kubernetes' own servers have it; and JSON for who accepts that.
fn answer(checks: &[Check], warnings: &[String], query: Option<&str>, headers: &HeaderMap) -> Response {
    let ok = checks.iter().all(|check| check.ok);
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/json") {
        let body = serde_json::json!({ "ok": ok, "checks": checks, "warnings": warnings }).to_string();
        return (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    }
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part == "verbose" || part == "verbose=true"));
    let mut text = String::new();
    for check in checks {
        match (check.reason, verbose) {
            (None, true) => text.push_str(&format!("[+]{} ok\n", check.name)),
            (Some(reason), true) => text.push_str(&format!("[-]{} failed: {reason}\n", check.name)),
            (Some(reason), false) => text.push_str(&format!("{reason}\n")),
            (None, false) => {}
        }
    }
    if ok {
        text.push_str("ok\n");
    }
    warnings.iter().for_each(|warning| text.extend([warning, "\n"]));
    (status, text).into_response()
}

/// Announces the end, and says how many applications are connected. Whoever is not on this host, or in this pod, is
/// refused: he could have a log file made every second.
async fn flush(State(health): State<Health>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "only from this host\n").into_response();
    }
    health.announcement.make(Instant::now());
    let body = serde_json::json!({ "streams": health.metrics.open_streams() }).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn metrics(State(health): State<Health>) -> axum::response::Result<impl IntoResponse> {
    health.metrics.space(health.space.look(health.committer.usage()));
    let text = health
        .metrics
        .encode(health.ledger.totals(), health.committer.usage())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(checks: &[Check], query: Option<&str>, accept: &'static str) -> (u16, String) {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        let response = answer(checks, &[], query, &headers);
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn probes_say_why() {
        let checks = [Check::new("spool", false, "-"), Check::new("room", true, "the spool is full")];
        assert_eq!(said(&checks[..1], None, "*/*").await, (200, "ok\n".to_owned()));
        assert_eq!(said(&checks, None, "*/*").await, (503, "the spool is full\n".to_owned()));
        let verbose = "[+]spool ok\n[-]room failed: the spool is full\n".to_owned();
        assert_eq!(said(&checks, Some("verbose"), "*/*").await, (503, verbose));
        let (status, json) = said(&checks, None, "application/json").await;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((status, json["ok"].as_bool()), (503, Some(false)));
        assert_eq!(
            json["checks"][1],
            serde_json::json!({"name": "room", "ok": false, "reason": "the spool is full"})
        );
    }
}
