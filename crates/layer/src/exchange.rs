//! One request on its way through the service.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};

use crate::{
    Draft, Identity, Level, address,
    capture::Tee,
    handle::Additions,
    id,
    outcome::End,
    policy::{Action, Policy},
    route::Route,
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
    pub(crate) uri: Uri,
    pub(crate) caller: Option<(Identity, Arc<str>)>,
    pub(crate) client: Option<IpAddr>,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) request_id: Option<HeaderValue>,
    pub(crate) trace: Option<HeaderValue>,
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
        let route = Route::of(parts);
        let action = policy.action(parts, &route);
        if action.level == Level::None {
            return None;
        }
        let header = |name: HeaderName| parts.headers.get(name).cloned();
        let tee = Tee::new(&parts.headers, policy.request_plan(&action));
        Some(Self {
            id: id::uuid(),
            started: Instant::now(),
            method: parts.method.clone(),
            uri: uri(parts).clone(),
            caller: policy.chain.identify(parts),
            client: address::client(parts),
            user_agent: header(header::USER_AGENT),
            request_id: header(HeaderName::from_static("x-request-id")),
            trace: header(HeaderName::from_static("traceparent")),
            headers: headers(policy, &parts.headers),
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
        let policy = Arc::clone(&self.policy);
        policy.sink.accept(Draft::new(self, action, end, answer, additions, tee));
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty copy of the response's body.
    pub(crate) fn response_tee(&self, headers: &HeaderMap) -> Tee {
        let plan = self.policy.response_plan(&self.lock().action);
        Tee::new(headers, plan)
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
