//! One request on its way through the service.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};

use crate::{
    Draft, Identity, Level, address,
    capture::{BodyKind, Tee},
    handle::Additions,
    id,
    outcome::End,
    policy::{Action, Policy},
    route::Route,
    rule::LayeredRule,
};

/// What is known of a request when it arrives, and what becomes known while it is served.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) policy: Arc<Policy>,
    pub(crate) method: Method,
    pub(crate) id: [u8; 16],
    pub(crate) started: Instant,
    pub(crate) route: Route,
    /// The action by the builder's rules; `state` has it as rules further in left it.
    base: Arc<Action>,
    pub(crate) uri: Uri,
    pub(crate) caller: Option<(Identity, Arc<str>)>,
    pub(crate) client: Option<IpAddr>,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) request_id: Option<HeaderValue>,
    pub(crate) trace: Option<HeaderValue>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) action: Arc<Action>,
    /// The request's body.
    pub(crate) tee: Tee,
    pub(crate) additions: Additions,
    /// The record is made; nothing that comes now can change it.
    pub(crate) finished: bool,
}

/// What is known of the response.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: Option<StatusCode>,
    pub(crate) grpc: Option<u16>,
    pub(crate) tee: Tee,
}

impl Exchange {
    /// Takes note of a request. `None` if such requests are not recorded.
    pub(crate) fn begin(policy: &Arc<Policy>, parts: &Parts) -> Option<Self> {
        let uri = uri(parts);
        let route = Route::of(parts, uri.path(), &policy.rules);
        let action = policy.action(parts, &route, uri.path());
        if action.is_off() {
            return None;
        }
        let header = |name: HeaderName| parts.headers.get(name).cloned();
        let tee = Tee::new(BodyKind::of(&parts.headers), policy.request_cap(action.level));
        Some(Self {
            id: id::uuid(),
            started: Instant::now(),
            method: parts.method.clone(),
            uri: uri.clone(),
            base: Arc::clone(&action),
            caller: policy.chain.identify(parts),
            client: address::client(parts),
            user_agent: header(header::USER_AGENT),
            request_id: header(HeaderName::from_static("x-request-id")),
            trace: header(HeaderName::from_static("traceparent")),
            state: Mutex::new(State { action, tee, additions: Additions::default(), finished: false }),
            policy: Arc::clone(policy),
            route,
        })
    }

    /// Ends the request and hands over what its record is made of. The caller sees to it that this happens once.
    pub(crate) fn finish(self: Arc<Self>, end: End, answer: Answer) {
        let mut state = self.lock();
        state.finished = true;
        let additions = std::mem::take(&mut state.additions);
        let tee = std::mem::take(&mut state.tee);
        let action = Arc::clone(&state.action);
        drop(state);
        self.take_note(&action, &answer, &additions, &tee);
        if action.level == Level::None {
            return;
        }
        let policy = Arc::clone(&self.policy);
        policy.sink.accept(Draft::new(self, action, end, answer, additions, tee));
    }

    /// From here on the call goes by this rule, where the rule says anything.
    pub(crate) fn apply(&self, rule: &LayeredRule) {
        let mut state = self.lock();
        if !state.finished {
            state.action = rule.derive(&state.action);
            let cap = self.policy.request_cap(state.action.level);
            state.tee.set_cap(cap);
        }
    }

    /// Takes note of what coverage tells.
    fn take_note(&self, action: &Arc<Action>, answer: &Answer, additions: &Additions, tee: &Tee) {
        // The service knows the gRPC method, then: a path that it does not know is nobody's route.
        const UNIMPLEMENTED: u16 = 12;
        let knows_method = || answer.grpc.is_some_and(|code| code != UNIMPLEMENTED);
        if action.grpc_service.is_some() && !action.seen.is_kept() && knows_method() {
            self.policy.actions.keep(&self.method, self.uri.path(), &self.base);
        }
        let template = match action.grpc_service {
            Some(_) => Some(self.uri.path()),
            None => self.route.known(),
        };
        let Some(template) = template.filter(|_| action.seen.is_kept()) else { return };
        // A router that knows the path but not the method has no such route.
        if answer.status == Some(StatusCode::METHOD_NOT_ALLOWED) {
            return;
        }
        let source = match (&additions.identity, &self.caller) {
            (Some(_), _) => Some("handler"),
            (None, caller) => caller.as_ref().map(|(_, source)| &**source),
        };
        let has_body = tee.seen > 0 && action.level >= Level::Request;
        if action.seen.note(source, !additions.resources.is_empty(), has_body) {
            self.policy.first_call(&self.method, template, action);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty copy of the response's body.
    pub(crate) fn response_tee(&self, headers: &HeaderMap) -> Tee {
        let cap = self.policy.response_cap(self.lock().action.level);
        Tee::new(BodyKind::of(headers), cap)
    }
}

/// The URI as the client sent it: nested routers cut off what they matched.
fn uri(parts: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = parts.extensions.get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    &parts.uri
}
