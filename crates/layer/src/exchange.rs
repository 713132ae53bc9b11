//! One request on its way through the service.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};

use crate::{
    Delivery, Draft, Level, Overflow,
    address::Addresses,
    capture::Tee,
    delivery::{AuditUnavailable, Permit, Receipt},
    draft::{Ended, header_text},
    handle::Additions,
    id,
    identity::Heard,
    outcome::End,
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
    base: Arc<Action>,
    pub(crate) uri: Uri,
    pub(crate) caller: Heard,
    pub(crate) addresses: Addresses,
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
    /// The place for the record.
    pub(crate) permit: Permit,
    /// The intent to serve the call was announced.
    intended: bool,
    asked_for_room: bool,
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
        let tee = Tee::new(&parts.headers, policy.request_plan(&action));
        Some(Self {
            id: id::uuid(),
            started: Instant::now(),
            method: parts.method.clone(),
            uri: uri.clone(),
            base: Arc::clone(&action),
            caller: policy.chain.ask(parts),
            addresses: policy.proxies.addresses(parts),
            user_agent: header(header::USER_AGENT),
            request_id: header(HeaderName::from_static("x-request-id")),
            trace: header(HeaderName::from_static("traceparent")),
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

    /// What the call has to wait for before its handler begins. A rule around the handler asks again.
    pub(crate) fn admission(self: &Arc<Self>) -> Option<Admission> {
        let policy = &self.policy;
        let mut state = self.lock();
        let guarded = self.delivery_of(&state.action) == Delivery::Guarded;
        if state.finished || state.action.level == Level::None {
            return None;
        }
        let wait = if guarded && !state.intended {
            state.intended = true;
            let action = Arc::clone(&state.action);
            drop(state);
            let (permit, receipt) =
                policy.sink.intend(Draft::intent(Arc::clone(self), action), policy.deadline);
            self.lock().permit = permit;
            Wait::Intent(receipt)
        } else if policy.overflow == Overflow::Block && !guarded && !state.asked_for_room {
            state.asked_for_room = true;
            drop(state);
            Wait::Room(policy.sink.reserve(policy.deadline))
        } else {
            return None;
        };
        Some(Admission { wait, exchange: Arc::clone(self) })
    }

    /// The handler does not begin.
    pub(crate) fn refuse(&self, unavailable: AuditUnavailable) {
        self.lock().additions.error = Some(("AuditUnavailable".to_owned(), unavailable.reason().to_owned()));
    }

    /// Ends the request and hands over what its record is made of. The caller sees to it that this happens once. An
    /// answer that is to wait for the record gets a receipt.
    pub(crate) fn finish(self: Arc<Self>, end: End, answer: Answer) -> Option<Receipt> {
        let mut state = self.lock();
        state.finished = true;
        let action = Arc::clone(&state.action);
        let additions = std::mem::take(&mut state.additions);
        let tee = std::mem::take(&mut state.tee);
        let permit = std::mem::take(&mut state.permit);
        drop(state);
        self.take_note(&action, &answer, &additions, &tee);
        if action.level == Level::None {
            return None;
        }
        let policy = Arc::clone(&self.policy);
        let waits = self.delivery_of(&action) == Delivery::Durable && end == End::Answered;
        let draft = Draft::new(self, action, end, Ended { answer, additions, tee, permit });
        if waits {
            return Some(policy.sink.store(draft, policy.deadline));
        }
        policy.sink.accept(draft);
        None
    }

    pub(crate) fn delivery(&self) -> Delivery {
        let action = Arc::clone(&self.lock().action);
        self.delivery_of(&action)
    }

    fn delivery_of(&self, action: &Action) -> Delivery {
        action.rule.delivery.unwrap_or(self.policy.delivery)
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.lock().action.grpc_service.is_some()
    }

    /// The `requestID`: what the request has as `x-request-id`, else the event's id.
    pub(crate) fn request_id(&self) -> String {
        header_text(self.request_id.as_ref(), &self.policy.redactor).unwrap_or_else(|| id::format(self.id))
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
            (None, heard) => self.policy.chain.source(heard),
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
        let plan = self.policy.response_plan(&self.lock().action);
        Tee::new(headers, plan)
    }
}

/// What a call waits for before its handler begins.
#[derive(Debug)]
pub(crate) struct Admission {
    wait: Wait,
    pub(crate) exchange: Arc<Exchange>,
}

#[derive(Debug)]
enum Wait {
    /// Until the intent is on disk.
    Intent(Receipt),
    /// Until there is room for the record.
    Room(Receipt<Permit>),
}

impl Future for Admission {
    type Output = Result<(), AuditUnavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.wait {
            Wait::Intent(receipt) => Pin::new(receipt).poll(cx),
            Wait::Room(receipt) => {
                let room = ready!(Pin::new(receipt).poll(cx));
                Poll::Ready(room.map(|permit| self.exchange.lock().permit = permit))
            }
        }
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
