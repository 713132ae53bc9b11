//! The one object that says what is recorded, how it is named and where it goes.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use http::{HeaderName, Method, header, request::Parts};

#[cfg(feature = "grpc-messages")]
use crate::capture::Descriptors;
use crate::{
    Level, Rule, Sink,
    capture::{Plan, Pointer},
    identity::Chain,
    name,
    redact::Redactor,
    route::Route,
};

/// Routes whose names are remembered. Beyond it names are derived anew each time.
const MAX_ROUTES: usize = 1024;

/// What a request does, by its route.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) name: String,
    pub(crate) read_only: bool,
    pub(crate) level: Level,
    /// The full name of the gRPC service, for a gRPC call.
    pub(crate) grpc_service: Option<String>,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) body_hash: bool,
    /// What of the response is recorded, if not all or nothing.
    pub(crate) elements: Vec<Pointer>,
}

/// Actions of known routes, by template. One template has few methods.
type Actions = HashMap<Arc<str>, Vec<(Method, Arc<Action>)>>;

pub(crate) struct Policy {
    pub(crate) service: String,
    pub(crate) level: Level,
    pub(crate) body_cap: usize,
    pub(crate) rules: HashMap<(Method, String), Rule>,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) body_hash: bool,
    /// Headers that are recorded.
    pub(crate) headers: Vec<HeaderName>,
    #[cfg(feature = "grpc-messages")]
    pub(crate) descriptors: Option<Descriptors>,
    pub(crate) chain: Chain,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) actions: RwLock<Actions>,
}

impl Policy {
    /// What a request on this route does.
    pub(crate) fn action(&self, parts: &Parts, route: &Route) -> Arc<Action> {
        if is_grpc(parts)
            && let Some((service, method)) = grpc_method(parts.uri.path())
        {
            return Arc::new(self.resolve(&parts.method, parts.uri.path(), method.to_owned(), Some(service)));
        }
        let Route::Known(template) = route else {
            // Whoever calls chooses the path: names that follow from it are not kept.
            return Arc::new(self.derive(&parts.method, route.template()));
        };
        if let Some(action) = self.remembered(&parts.method, template) {
            return action;
        }
        let action = Arc::new(self.derive(&parts.method, template));
        let mut actions = self.actions.write().unwrap_or_else(PoisonError::into_inner);
        // A method can be any word, so the bound is on both together.
        if actions.values().map(Vec::len).sum::<usize>() < MAX_ROUTES {
            actions
                .entry(Arc::clone(template))
                .or_default()
                .push((parts.method.clone(), Arc::clone(&action)));
        }
        action
    }

    fn remembered(&self, method: &Method, template: &str) -> Option<Arc<Action>> {
        let actions = self.actions.read().unwrap_or_else(PoisonError::into_inner);
        let (_, action) = actions.get(template)?.iter().find(|(known, _)| known == method)?;
        Some(Arc::clone(action))
    }

    fn derive(&self, method: &Method, template: &str) -> Action {
        self.resolve(method, template, name::derive(method, template), None)
    }

    fn resolve(&self, method: &Method, template: &str, name: String, grpc_service: Option<&str>) -> Action {
        let rule = self.rules.get(&(method.clone(), template.to_owned())).cloned().unwrap_or_default();
        let read_only = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        Action {
            name: rule.name.unwrap_or(name),
            read_only: rule.read_only.unwrap_or(read_only),
            level: rule.level.unwrap_or(self.level),
            grpc_service: grpc_service.map(str::to_owned),
            redactor: rule.capture.redactor.unwrap_or_else(|| Arc::clone(&self.redactor)),
            body_hash: rule.capture.body_hash.unwrap_or(self.body_hash),
            elements: rule.capture.elements,
        }
    }

    /// What is to be known of a request's body.
    pub(crate) fn request_plan(&self, action: &Action) -> Plan {
        self.plan(action.level >= Level::Request, action.body_hash)
    }

    /// What is to be known of a response's body.
    pub(crate) fn response_plan(&self, action: &Action) -> Plan {
        let is_picked = !action.elements.is_empty();
        self.plan(is_picked || action.level >= Level::RequestResponse, action.body_hash && !is_picked)
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
            .finish_non_exhaustive()
    }
}

fn is_grpc(parts: &Parts) -> bool {
    parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// `/shop.v1.Orders/Refund` is `("shop.v1.Orders", "Refund")`.
fn grpc_method(path: &str) -> Option<(&str, &str)> {
    const MAX_NAME: usize = 128;
    let is_name = |text: &str| {
        (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
    };
    path.strip_prefix('/')?.split_once('/').filter(|(service, method)| is_name(service) && is_name(method))
}

#[cfg(test)]
mod tests {
    use super::grpc_method;

    #[test]
    fn grpc_paths_have_two_names() {
        assert_eq!(grpc_method("/shop.v1.Orders/Refund"), Some(("shop.v1.Orders", "Refund")));
        for path in ["", "/", "/a", "/a/b/c", "/a//", "//b", "/a/b%20", "a/b"] {
            assert_eq!(grpc_method(path), None, "{path}");
        }
    }
}
