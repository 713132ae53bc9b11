//! A rule around one handler.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::Rule;
use crate::{Audit, policy::Action};

/// Actions that a rule remembers what it made of. Around a handler it meets one for each method, around a service many.
const MAX_DERIVED: usize = 64;

/// Made by a [`Rule`] as a layer: what it wraps is recorded by the rule. Requests and responses are not touched.
#[derive(Clone, Debug)]
pub struct RuleService<S> {
    inner: S,
    rule: Arc<LayeredRule>,
}

impl<S> Layer<S> for Rule {
    type Service = RuleService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RuleService { inner, rule: Arc::new(LayeredRule::new(self.clone())) }
    }
}

impl<S, B> Service<Request<B>> for RuleService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(audit) = request.extensions().get::<Audit>() {
            audit.apply(&self.rule);
        }
        self.inner.call(request)
    }
}

/// A rule, and what it made of the actions that it met.
#[derive(Debug)]
pub(crate) struct LayeredRule {
    rule: Rule,
    derived: Mutex<Vec<(Arc<Action>, Arc<Action>)>>,
}

impl LayeredRule {
    fn new(rule: Rule) -> Self {
        Self { rule, derived: Mutex::default() }
    }

    /// The action as the rule has it. Those of known routes are made once.
    pub(crate) fn derive(&self, base: &Arc<Action>) -> Arc<Action> {
        if !base.seen.is_kept() {
            return Arc::new(base.with(&self.rule));
        }
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, action)) = derived.iter().find(|(known, _)| Arc::ptr_eq(known, base)) {
            return Arc::clone(action);
        }
        let action = Arc::new(base.with(&self.rule));
        if derived.len() == MAX_DERIVED {
            derived.remove(0);
        }
        derived.push((Arc::clone(base), Arc::clone(&action)));
        base.seen.decided(&action);
        action
    }
}
