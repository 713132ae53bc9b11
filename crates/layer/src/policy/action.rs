//! What a call does, by its route.

use std::{borrow::Cow, sync::Arc};

use http::Method;
use serde::Serialize;

use super::Seen;
use crate::{Level, Rule, name, redact::Redactor};

/// Where a name comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Naming {
    /// [`Rule::name`].
    Declared,
    /// The router's template, or the gRPC method.
    Derived,
    /// The path alone: nobody said which route it is.
    Guessed,
}

/// What calls of one method and route do. Rules around handlers make others of it.
#[derive(Debug)]
pub(crate) struct Action {
    /// `None` where it follows from the path of each call.
    name: Option<String>,
    pub(crate) naming: Naming,
    pub(crate) level: Level,
    /// The full name of the gRPC service, for a gRPC call.
    pub(crate) grpc_service: Option<String>,
    pub(crate) rule: Arc<Rule>,
    pub(crate) redactor: Arc<Redactor>,
    /// What was seen of such calls; shared by all that was made of this one.
    pub(crate) seen: Arc<Seen>,
}

impl Action {
    /// Of calls without a route.
    pub(crate) fn unrouted(level: Level, redactor: &Arc<Redactor>) -> Self {
        let seen = Seen::default();
        // There is one only, for ever.
        seen.keep();
        Self {
            name: None,
            naming: Naming::Guessed,
            seen: Arc::new(seen),
            ..Self::derived(String::new(), level, redactor)
        }
    }

    /// Without a rule.
    pub(crate) fn derived(name: String, level: Level, redactor: &Arc<Redactor>) -> Self {
        Self {
            name: Some(name),
            naming: Naming::Derived,
            level,
            grpc_service: None,
            rule: Arc::default(),
            redactor: Arc::clone(redactor),
            seen: Arc::default(),
        }
    }

    /// By a rule of the builder's.
    pub(crate) fn declared(
        rule: Rule,
        level: Level,
        redactor: &Arc<Redactor>,
        derive: impl FnOnce() -> String,
    ) -> Self {
        let redactor = rule.capture.redactor(redactor);
        let naming = if rule.name.is_some() { Naming::Declared } else { Naming::Derived };
        let name = rule.name.clone().unwrap_or_else(derive);
        let level = rule.level.unwrap_or(level);
        Self { naming, rule: Arc::new(rule), ..Self::derived(name, level, &redactor) }
    }

    /// As a rule further in has it.
    pub(crate) fn with(&self, rule: &Rule) -> Self {
        Self {
            name: rule.name.as_ref().or(self.name.as_ref()).cloned(),
            naming: if rule.name.is_some() { Naming::Declared } else { self.naming },
            level: rule.level.unwrap_or(self.level),
            grpc_service: self.grpc_service.clone(),
            rule: Arc::new(rule.over(&self.rule)),
            redactor: rule.capture.redactor(&self.redactor),
            seen: Arc::clone(&self.seen),
        }
    }

    /// Whether a rule has a say in it.
    pub(crate) fn is_declared(&self) -> bool {
        *self.rule != Rule::default()
    }

    /// The name of a call, which may follow from its template.
    pub(crate) fn name(&self, method: &Method, template: &str) -> Cow<'_, str> {
        self.fixed_name().map_or_else(|| Cow::Owned(name::derive(method, template)), Cow::Borrowed)
    }

    /// The name that all calls have.
    pub(crate) fn fixed_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether a call changes nothing.
    pub(crate) fn read_only(&self, method: &Method) -> bool {
        let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        self.rule.read_only.unwrap_or(is_safe)
    }

    /// Whether calls of it are certain to have no record, whatever a rule further in says.
    pub(crate) fn is_off(&self) -> bool {
        self.rule.level == Some(Level::None)
    }
}
