//! What of a route's calls is recorded, and what of it is hidden.

use std::sync::Arc;

use crate::{Rule, capture::Pointer, redact::Redactor};

/// Values of one response that are recorded.
const MAX_ELEMENTS: usize = 32;

/// What a [`Rule`] says about bodies and secrets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Capture {
    pub(crate) body_hash: Option<bool>,
    pub(crate) elements: Vec<Pointer>,
    names: Vec<Name>,
    is_default: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Name {
    Deny(String),
    Allow(String),
    Only(Vec<String>),
}

impl Capture {
    /// These rules, and where they leave something open, `outer`.
    pub(crate) fn over(&self, outer: &Self) -> Self {
        Self {
            body_hash: self.body_hash.or(outer.body_hash),
            elements: if self.elements.is_empty() { &outer.elements } else { &self.elements }.clone(),
            names: outer.names.iter().chain(&self.names).cloned().collect(),
            is_default: self.is_default || outer.is_default,
        }
    }

    /// Puts these rules on top of others.
    pub(crate) fn redactor(&self, outer: &Arc<Redactor>) -> Arc<Redactor> {
        if self.names.is_empty() {
            return Arc::clone(outer);
        }
        let mut redactor = Redactor::clone(outer);
        for name in &self.names {
            match name {
                Name::Deny(name) => redactor.deny(name),
                Name::Allow(name) => redactor.allow(name),
                Name::Only(names) => redactor.only(names.iter().map(String::as_str)),
            }
        }
        Arc::new(redactor)
    }
}

impl Rule {
    /// Hides values under one more name, on this route only: see [`Builder::redact`](crate::Builder::redact).
    #[must_use]
    pub fn deny(mut self, name: impl Into<String>) -> Self {
        self.capture.names.push(Name::Deny(name.into()));
        self
    }

    /// Shows values under this name on this route, though another rule would hide them: `sessionId` where sessions are
    /// conference talks. Values that look like credentials stay hidden.
    #[must_use]
    pub fn allow(mut self, name: impl Into<String>) -> Self {
        self.capture.names.push(Name::Allow(name.into()));
        self
    }

    /// Of what a caller sends to this route, shows only the values of these parameters: of path and query, and the
    /// members of the body. The rest is hidden, name by name. A body that is no object counts as the parameter `body`.
    ///
    /// What is in a parameter that is shown still goes by the rules for names. What handlers add is not on the list and
    /// need not be. Called again, it shows more.
    #[must_use]
    pub fn only<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.capture.names.push(Name::Only(names.into_iter().map(Into::into).collect()));
        self
    }

    /// Says that somebody looked at this route and found the rules for all routes to be right. It changes nothing but
    /// what reports on coverage say.
    #[must_use]
    pub fn default_redaction(mut self) -> Self {
        self.capture.is_default = true;
        self
    }

    /// Records these values of a JSON response, by pointer (RFC 6901): ids of what was made, say. At any level but
    /// [`Level::None`](crate::Level::None), and nothing else of the response at any. Each goes under its last name:
    /// `/items/0/sku` under `sku`; where that is taken, under the whole pointer.
    ///
    /// ```
    /// use sidetrail::Rule;
    ///
    /// let rule = Rule::new().response_elements(["/id", "/items/0/sku"]);
    /// # let _ = rule;
    /// ```
    #[must_use]
    pub fn response_elements<P: AsRef<str>>(mut self, pointers: impl IntoIterator<Item = P>) -> Self {
        let pointers = pointers.into_iter().map(|pointer| Pointer::new(pointer.as_ref()));
        self.capture.elements = pointers.take(MAX_ELEMENTS).collect();
        self
    }

    /// Whether bodies that are not in the record are hashed: see [`Builder::body_hash`](crate::Builder::body_hash).
    #[must_use]
    pub fn body_hash(mut self, hash: bool) -> Self {
        self.capture.body_hash = Some(hash);
        self
    }

    /// Whether somebody has decided what to hide here.
    pub(crate) fn has_redaction_decision(&self) -> bool {
        self.capture.is_default || !self.capture.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_tells_whether_somebody_decided() {
        assert!(!Rule::new().name("A").body_hash(false).has_redaction_decision());
        for rule in [
            Rule::new().default_redaction(),
            Rule::new().deny("a"),
            Rule::new().allow("a"),
            Rule::new().only(["a"]),
        ] {
            assert!(rule.has_redaction_decision());
        }
    }

    #[test]
    fn routes_have_rules_of_their_own() {
        let mut all = Redactor::default();
        all.deny("taxNumber");
        let all = Arc::new(all);
        let redactor = Rule::new().allow("tax_number").deny("note").capture.redactor(&all);
        assert!(!redactor.denies("taxNumber") && redactor.denies("note") && !all.denies("note"));
    }
}
