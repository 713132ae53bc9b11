//! A rule around one handler.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::Rule;
use crate::{Audit, ResponseBody, ResponseFuture, guard::Guard, policy::Action};

/// Actions that a rule remembers what it made of. Around a handler it meets one for each method, around a service many.
const MAX_DERIVED: usize = 64;

/// Made by a [`Rule`] as a layer: what it wraps is recorded by the rule.
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

impl<S, B, R> Service<Request<B>> for RuleService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data: From<Bytes>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Request<B>, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The layer outside makes the record; all that is done here is to wait, where the rule says so.
        let guard = Guard::new(None);
        let audit = request.extensions().get::<Audit>();
        match audit.and_then(|audit| audit.apply(&self.rule)) {
            None => ResponseFuture::calling(self.inner.call(request), guard),
            Some(admission) => {
                let next = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, next);
                ResponseFuture::admitting(admission, ready, request, guard)
            }
        }
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
