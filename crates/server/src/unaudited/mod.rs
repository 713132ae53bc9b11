//! Pods that are not audited: what the injector reports of a cluster, and what this server knows beside that: which of their
//! collectors are not in touch.
//!
//! ```text
//! [prefix "/"] "Sidetrail-State/unaudited.json"
//! ```
//!
//! The last report, written over by whichever server it came to, so that all of them show it. It is what is shown and
//! nothing more. What is not there is said: the page has the age of the report, and calls it old when it is.

mod join;
mod page;
mod report;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, body};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;
use sidetrail_archive::store::Store;
use tokio::sync::Mutex;

use crate::Context;
use crate::control::Joins;
use join::Shown;
use report::{Kept, Report};

/// Where the injector posts to, at the address for collectors.
const REPORT_PATH: &str = "/sidetrail/v1/unaudited";
/// Bytes of a report, and of what is kept of it.
const MAX_REPORT: usize = 8 << 20;
/// How long what is shown is not made again: whoever asks for the page decides how often.
const SHOWN_FOR: Duration = Duration::from_secs(5);
/// A report in memory that is younger is not looked for in the bucket.
const FRESH: i64 = 60;

/// The last report.
#[derive(Debug)]
pub(crate) struct Unaudited {
    store: Arc<Store>,
    last: RwLock<Option<Arc<Kept>>>,
    shown: Mutex<Option<(Instant, Arc<Shown>)>>,
}

/// It cannot be shown.
#[derive(Debug, thiserror::Error)]
enum UnauditedError {
    #[error("the last report cannot be read")]
    Read(#[from] sidetrail_archive::store::StoreError),
    #[error("the collectors cannot be read")]
    Collectors(#[from] crate::control::RegisterError),
}

impl Unaudited {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, last: RwLock::default(), shown: Mutex::default() }
    }

    fn key(&self) -> String {
        let prefix = self.store.prefix().map_or_else(String::new, |prefix| format!("{prefix}/"));
        format!("{prefix}Sidetrail-State/unaudited.json")
    }

    /// A report has come.
    async fn keep(&self, kept: Kept) {
        let kept = Arc::new(kept);
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&kept));
        if let Err(error) = self.put(&kept).await {
            let error = crate::chain(&*error);
            tracing::warn!(error, "the report of unaudited pods is not kept; only this server shows it");
        }
    }

    async fn put(&self, kept: &Kept) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let bytes = serde_json::to_vec(kept)?;
        Ok(self.store.replace(&self.key(), bytes.into()).await?)
    }

    /// The newest report, of this server or another.
    async fn last(&self, now: Timestamp) -> Result<Option<Arc<Kept>>, UnauditedError> {
        let here = self.last.read().unwrap_or_else(PoisonError::into_inner).clone();
        if here.as_ref().is_some_and(|kept| now.duration_since(kept.received).as_secs() < FRESH) {
            return Ok(here);
        }
        let there = match self.store.get(&self.key(), MAX_REPORT).await {
            // What is none is not shown.
            Ok(bytes) => serde_json::from_slice::<Kept>(&bytes).ok().map(Arc::new),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        Ok([here, there].into_iter().flatten().max_by_key(|kept| kept.received))
    }
}

/// What lets the injector report.
#[derive(Clone, Debug)]
struct Desk {
    context: Arc<Context>,
    joins: Arc<Joins>,
}

/// Where the injector posts its reports to.
pub(crate) fn reports(context: Arc<Context>, joins: Arc<Joins>) -> Router {
    Router::new()
        .route(REPORT_PATH, post(report))
        .layer(DefaultBodyLimit::max(MAX_REPORT))
        .with_state(Desk { context, joins })
}

/// Takes the report of who is the injector by the word of Kubernetes.
async fn report(State(desk): State<Desk>, headers: HeaderMap, body: body::Bytes) -> Response {
    let from = match desk.joins.injector(&headers).await {
        Ok(from) => from,
        Err((code, problem)) => {
            tracing::info!(code = code.as_u16(), problem, "a report of unaudited pods is refused");
            return (code, axum::Json(serde_json::json!({ "message": problem }))).into_response();
        }
    };
    let checked = serde_json::from_slice::<Report>(&body).map_err(|error| error.to_string());
    match checked.and_then(Report::checked) {
        Ok(report) => {
            let received = Timestamp::now();
            desk.context.unaudited.keep(Kept { received, from: from.pod, report }).await;
            axum::Json(serde_json::json!({})).into_response()
        }
        Err(problem) => {
            let message = format!("the report cannot be used: {problem}");
            (StatusCode::BAD_REQUEST, axum::Json(serde_json::json!({ "message": message }))).into_response()
        }
    }
}

/// The page, where the server's probes are.
pub(crate) fn pages(context: Arc<Context>) -> Router {
    Router::new()
        .route("/unaudited", get(unaudited))
        .route("/unaudited.json", get(unaudited_json))
        .with_state(context)
}

/// `?namespace=NAME`.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    namespace: String,
}

/// For people a page, for programs JSON.
async fn unaudited(context: State<Arc<Context>>, asked: Query<Asked>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if !accepts.contains("text/html") {
        return unaudited_json(context, asked).await;
    }
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy)];
    match shown(&context).await {
        Ok(shown) => (headers, page::html(&shown, &asked.namespace, Timestamp::now())).into_response(),
        Err(response) => response,
    }
}

async fn unaudited_json(State(context): State<Arc<Context>>, Query(asked): Query<Asked>) -> Response {
    match shown(&context).await {
        Ok(shown) => axum::Json(shown.json(&asked.namespace, Timestamp::now())).into_response(),
        Err(response) => response,
    }
}

async fn shown(context: &Context) -> Result<Arc<Shown>, Response> {
    let kubernetes = context.config.control.as_ref().and_then(|control| control.kubernetes.as_ref());
    let Some(kubernetes) = kubernetes.filter(|kubernetes| kubernetes.injector.is_some()) else {
        let nothing = "control.kubernetes.injector is not configured: nobody reports unaudited pods\n";
        return Err((StatusCode::NOT_FOUND, nothing).into_response());
    };
    // Whoever comes meanwhile waits, and sees the same.
    let mut last = context.unaudited.shown.lock().await;
    if let Some((_, shown)) = last.as_ref().filter(|(at, _)| at.elapsed() < SHOWN_FOR) {
        return Ok(Arc::clone(shown));
    }
    let now = Timestamp::now();
    let made = async {
        let kept = context.unaudited.last(now).await?;
        let mut accounts: Vec<_> = kubernetes.workloads.iter().map(|entry| entry.account.as_str()).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let mut collectors = Vec::new();
        for account in accounts {
            collectors.extend(context.register.of(account, now).await?);
        }
        Ok::<_, UnauditedError>(Arc::new(Shown::new(kept.as_deref(), &collectors)))
    };
    match made.await {
        Ok(shown) => {
            *last = Some((Instant::now(), Arc::clone(&shown)));
            Ok(shown)
        }
        Err(error) => {
            tracing::warn!(error = %crate::chain(&error), "unaudited pods cannot be shown");
            Err((StatusCode::SERVICE_UNAVAILABLE, "the state cannot be read\n").into_response())
        }
    }
}
