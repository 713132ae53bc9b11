//! What the layer knows of each route, and what is missing.

mod check;
mod report;
mod table;

use http::Method;
use serde::Serialize;

pub use self::check::{Aspect, Gap, Gaps};
use crate::{Level, policy::Naming};

/// What the layer knows of each route: how its calls are named, who makes them, what they touch, and whether somebody
/// thought about what their bodies may show. [`AuditLayer::coverage`](crate::AuditLayer::coverage) makes it.
///
/// It is meant for a test that sends a request to every route and fails when one is forgotten:
///
/// ```
/// use http::Method;
/// use sidetrail::{AuditLayer, MemorySink, Rule};
///
/// const ROUTES: [(Method, &str); 2] = [(Method::GET, "/orders"), (Method::DELETE, "/orders/{id}")];
///
/// let layer = AuditLayer::builder("orders.example.com").sink(MemorySink::default()).build()?;
/// // … send the requests …
/// let coverage = layer.coverage().expect(ROUTES);
/// let gaps = coverage.check().unwrap_err();
/// assert!(gaps.to_string().contains("DELETE /orders/{id}"), "{gaps}");
/// # Ok::<(), sidetrail::BuildError>(())
/// ```
///
/// [`Display`](std::fmt::Display) is a table for people, [`Serialize`] is for machines. The guide
/// [`coverage`](crate::guide::coverage) has more.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    service: String,
    routes: Vec<RouteCoverage>,
    unnamed: u64,
    /// That of routes that no rule is about.
    #[serde(skip)]
    level: Level,
    #[serde(skip)]
    waivers: Vec<check::Waiver>,
}

/// What is known of one method on one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RouteCoverage {
    /// `GET`; `ANY` for a rule that is about every method, of which none was seen.
    pub method: String,
    /// The template.
    pub route: String,
    /// The `eventName`.
    pub name: String,
    /// Where the name comes from.
    pub naming: Naming,
    /// Other routes of the same name, as `GET /v2/orders`.
    pub collides_with: Vec<String>,
    /// Whether there are records at all: not at [`Level::None`](crate::Level::None).
    pub recorded: bool,
    /// Whether a request was seen.
    pub exercised: bool,
    /// The `identitySource`s seen.
    pub identities: Vec<String>,
    /// Whether an anonymous caller was seen.
    pub anonymous: bool,
    /// What is said of the things that calls touch.
    pub resource: ResourceDecision,
    /// What is wrong with the rule's resource templates.
    pub resource_problems: Vec<String>,
    /// What is said of secrets in bodies.
    pub redaction: RedactionDecision,
    /// Its method is HEAD or OPTIONS, which clients and browsers send by themselves, and nobody said anything of it.
    #[serde(skip)]
    incidental: bool,
}

/// Whether somebody said what calls of a route touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ResourceDecision {
    /// Nobody did.
    Undecided,
    /// [`Rule::resource`](crate::Rule::resource).
    Declared,
    /// A handler did: [`Audit::add_resource`](crate::Audit::add_resource).
    Handler,
    /// Nothing that has a name: [`Rule::no_resource`](crate::Rule::no_resource).
    NoResource,
}

/// Whether somebody said how secrets in a route's bodies are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum RedactionDecision {
    /// No body is recorded.
    NoBody,
    /// Nobody did.
    Undecided,
    /// A rule did, be it with [`Rule::default_redaction`](crate::Rule::default_redaction).
    Declared,
}

impl Coverage {
    /// Routes that the service has. Those of which nothing is known yet are added as never exercised.
    #[must_use]
    pub fn expect<T: AsRef<str>>(mut self, routes: impl IntoIterator<Item = (Method, T)>) -> Self {
        for (method, template) in routes {
            report::expect(&mut self.routes, &method, template.as_ref(), self.level);
        }
        report::finish(&mut self.routes);
        self
    }

    /// One aspect is not asked for, on any route.
    #[must_use]
    pub fn waive(mut self, aspect: Aspect) -> Self {
        self.waivers.push(check::Waiver { aspect, route: None });
        self
    }

    /// One aspect is not asked for on one route: the identity of those who log in, say.
    #[must_use]
    pub fn waive_for(mut self, method: &Method, template: &str, aspect: Aspect) -> Self {
        let route = Some((method.to_string(), template.to_owned()));
        self.waivers.push(check::Waiver { aspect, route });
        self
    }

    /// An error with all that is missing, if anything is.
    pub fn check(&self) -> Result<(), Gaps> {
        check::check(&self.service, &self.routes, &self.waivers)
    }

    /// Every route, in the order of their templates.
    #[must_use]
    pub fn routes(&self) -> &[RouteCoverage] {
        &self.routes
    }

    /// Requests for which there was no route, and no answer but 404 or 405.
    #[must_use]
    pub fn unnamed(&self) -> u64 {
        self.unnamed
    }
}
