//! One request on its way through the service.

mod texts;

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, request::Parts};

use self::texts::Texts;
use crate::{
    Delivery,
    additions::Additions,
    address::Addresses,
    capture::Tee,
    delivery::{AuditUnavailable, Permit},
    id,
    identity::Heard,
    policy::{Action, Policy},
    route::Route,
    rule::LayeredRule,
};

/// Values of headers that are recorded.
const MAX_HEADERS: usize = 32;

/// What is known of a request when it arrives, and what becomes known while it is served.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) policy: Arc<Policy>,
    pub(crate) method: Method,
    pub(crate) id: [u8; 16],
    pub(crate) started: Instant,
    pub(crate) route: Route,
    /// The action by the builder's rules; `state` has it as rules further in left it.
    pub(crate) base: Arc<Action>,
    pub(crate) texts: Texts,
    pub(crate) caller: Heard,
    pub(crate) addresses: Addresses,
    /// Those that the application wants to see.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) action: Arc<Action>,
    /// The request's body.
    pub(crate) tee: Tee,
    pub(crate) additions: Additions,
    /// The place for the record.
    pub(crate) permit: Permit,
    /// The intent to serve the call was announced.
    pub(crate) intended: bool,
    pub(crate) asked_for_room: bool,
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
        let tee = Tee::new(&parts.headers, policy.request_plan(&action));
        Some(Self {
            id: id::uuid(),
            started: Instant::now(),
            method: parts.method.clone(),
            texts: Texts::of(uri, &parts.headers),
            base: Arc::clone(&action),
            caller: policy.chain.ask(parts),
            addresses: policy.proxies.addresses(parts),
            headers: headers(policy, &parts.headers),
            state: Mutex::new(State {
                action,
                tee,
                additions: Additions::default(),
                permit: Permit::none(),
                intended: false,
                asked_for_room: false,
                finished: false,
            }),
            policy: Arc::clone(policy),
            route,
        })
    }

    /// The handler does not begin.
    pub(crate) fn refuse(&self, unavailable: AuditUnavailable) {
        self.lock().additions.error = Some(("AuditUnavailable".to_owned(), unavailable.reason().to_owned()));
    }

    pub(crate) fn delivery_of(&self, action: &Action) -> Delivery {
        action.rule.delivery.unwrap_or(self.policy.delivery)
    }

    /// What the call does, as it is known so far.
    pub(crate) fn action(&self) -> Arc<Action> {
        Arc::clone(&self.lock().action)
    }

    /// The `requestID`: what the request has as `x-request-id`, else the event's id.
    pub(crate) fn request_id(&self) -> Cow<'_, str> {
        match self.texts.request_id() {
            Some(value) => self.policy.redactor.header(value),
            None => Cow::Owned(id::format(self.id)),
        }
    }

    /// From here on the call goes by this rule, where the rule says anything.
    pub(crate) fn apply(&self, rule: &LayeredRule) {
        let mut state = self.lock();
        if !state.finished {
            state.action = rule.derive(&state.action);
            let plan = self.policy.request_plan(&state.action);
            state.tee.set_plan(plan);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The headers that the application wants to see.
fn headers(policy: &Policy, headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let all =
        policy.headers.iter().flat_map(|name| headers.get_all(name).iter().map(move |value| (name, value)));
    all.take(MAX_HEADERS).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The URI as the client sent it: nested routers cut off what they matched.
fn uri(parts: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = parts.extensions.get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    &parts.uri
}
