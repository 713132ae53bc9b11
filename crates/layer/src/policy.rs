//! The one object that says what is recorded, how it is named and where it goes.

mod action;
mod actions;
mod collision;
mod grpc;
mod guesses;
mod seen;

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, Method, request::Parts};

pub use self::action::Naming;
pub(crate) use self::{
    action::Action,
    actions::Actions,
    collision::collide,
    guesses::Guesses,
    seen::{Decided, Seen},
};
#[cfg(feature = "grpc-messages")]
use crate::capture::Descriptors;
use crate::{
    Delivery, Level, Overflow, Sink, address::Proxies, capture::Plan, identity::Chain, name,
    redact::Redactor, route::Route, rule::Rules,
};

pub(crate) struct Policy {
    pub(crate) service: String,
    pub(crate) level: Level,
    pub(crate) delivery: Delivery,
    pub(crate) overflow: Overflow,
    /// How long a call waits for the sink.
    pub(crate) deadline: Duration,
    pub(crate) body_cap: usize,
    pub(crate) rules: Rules,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) body_hash: bool,
    /// Headers that are recorded.
    pub(crate) headers: Vec<HeaderName>,
    #[cfg(feature = "grpc-messages")]
    pub(crate) descriptors: Option<Descriptors>,
    pub(crate) chain: Chain,
    pub(crate) proxies: Proxies,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) actions: Actions,
    /// What calls do that have no route.
    pub(crate) unrouted: Arc<Action>,
    pub(crate) guesses: Guesses,
}

impl Policy {
    /// What a request on this route does.
    pub(crate) fn action(&self, parts: &Parts, route: &Route, path: &str) -> Arc<Action> {
        if let Some((service, method)) = grpc::method_of(parts, route, path) {
            // Whoever calls chooses the path. It is remembered when the service has answered to it.
            return self.actions.get(&parts.method, path).unwrap_or_else(|| {
                let mut action = self.resolve(&parts.method, path, || method.to_owned());
                action.grpc_service = Some(service.to_owned());
                Arc::new(action)
            });
        }
        let Some(template) = route.known() else {
            return Arc::clone(&self.unrouted);
        };
        if let Some(action) = self.actions.get(&parts.method, template) {
            return action;
        }
        let action =
            Arc::new(self.resolve(&parts.method, template, || name::derive(&parts.method, template)));
        // Whoever calls chooses the method, too: any word.
        if is_usual(&parts.method) || action.is_declared() {
            self.actions.keep(&parts.method, template, &action);
        }
        action
    }

    /// A remembered action has been called for the first time.
    pub(crate) fn first_call(&self, method: &Method, template: &str, action: &Action) {
        collision::warn(&self.actions, method, template, action);
    }

    /// The action of a call by method and template, whether there was one or not.
    pub(crate) fn resolve(&self, method: &Method, template: &str, derive: impl FnOnce() -> String) -> Action {
        match self.rules.of(method, template) {
            Some(rule) => Action::declared(rule, self.level, &self.redactor, derive),
            None => Action::derived(derive(), self.level, &self.redactor),
        }
    }

    /// What is to be known of a request's body.
    pub(crate) fn request_plan(&self, action: &Action) -> Plan {
        self.plan(action.level >= Level::Request, self.hashes(action))
    }

    /// What is to be known of a response's body.
    pub(crate) fn response_plan(&self, action: &Action) -> Plan {
        let is_picked = !action.rule.capture.elements.is_empty();
        self.plan(is_picked || action.level >= Level::RequestResponse, self.hashes(action) && !is_picked)
    }

    fn hashes(&self, action: &Action) -> bool {
        action.rule.capture.body_hash.unwrap_or(self.body_hash)
    }

    fn plan(&self, keep: bool, hash: bool) -> Plan {
        Plan {
            cap: if keep { self.body_cap } else { 0 },
            hash,
            #[cfg(feature = "grpc-messages")]
            messages: self.descriptors.is_some(),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Policy")
            .field("service", &self.service)
            .field("level", &self.level)
            .field("rules", &self.rules)
            .field("identity", &self.chain)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}

fn is_usual(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS
            | Method::CONNECT
            | Method::TRACE
    )
}
