//! The webhooks over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode, header};

use crate::admit::{Context, MAX_REVIEW, Question, answer, parse};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::namespaces::Namespaces;

/// What the webhooks answer by.
#[derive(Debug)]
pub struct Webhooks {
    /// The configuration.
    pub config: Config,
    /// The injector's own namespace.
    pub own_namespace: String,
    /// Whether the cluster has native sidecars.
    pub native: AtomicBool,
    /// What is known of namespaces.
    pub namespaces: Arc<Namespaces>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// The routes of the three questions.
pub fn webhooks(state: Arc<Webhooks>) -> Router {
    let mut router = Router::new();
    for question in Question::ALL {
        let handler = move |State(state): State<Arc<Webhooks>>, headers: HeaderMap, body: Bytes| async move {
            state.serve(question, &headers, &body).await
        };
        router = router.route(question.path(), post(handler));
    }
    router.layer(DefaultBodyLimit::max(MAX_REVIEW)).with_state(state)
}

impl Webhooks {
    async fn serve(&self, question: Question, headers: &HeaderMap, body: &[u8]) -> Response {
        let began = Instant::now();
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(|value| value.starts_with("application/json")) {
            self.metrics.reviewed(question, None, began.elapsed());
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body has to be application/json")
                .into_response();
        }
        // Not 200: what to do without an answer is the webhook configuration's `failurePolicy`.
        let failed = |error: &dyn std::fmt::Display| {
            self.metrics.reviewed(question, None, began.elapsed());
            tracing::warn!(path = question.path(), %error, "a review cannot be answered");
            (StatusCode::BAD_REQUEST, error.to_string()).into_response()
        };
        let review = match parse(body) {
            Ok(review) => review,
            Err(error) => return failed(&error),
        };
        let namespace = match &review.request {
            Some(request) if request.creates_pod() => self.namespaces.get(&request.namespace).await,
            _ => None,
        };
        let context = Context {
            config: &self.config,
            own_namespace: &self.own_namespace,
            native: self.native.load(Ordering::Relaxed),
            namespace: namespace.as_deref(),
        };
        match answer(question, &review, context) {
            Ok((body, outcome)) => {
                self.metrics.reviewed(question, Some(outcome), began.elapsed());
                ([(header::CONTENT_TYPE, "application/json")], body).into_response()
            }
            Err(error) => failed(&error),
        }
    }
}
