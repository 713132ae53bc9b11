//! What is missing, and what to do about it.

use std::fmt;

use serde::Serialize;

use super::{RedactionDecision, ResourceDecision, RouteCoverage};
use crate::policy::Naming;

/// What [`Coverage::check`](super::Coverage::check) asks of every route that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Aspect {
    /// A request was sent to it.
    Exercised,
    /// It has a name of its own, by its template or a rule.
    Name,
    /// A caller was seen that is not anonymous.
    Identity,
    /// Somebody said what its calls touch, or that they touch nothing.
    Resource,
    /// Somebody said how secrets in its bodies are found, if bodies are recorded.
    Redaction,
}

impl fmt::Display for Aspect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Exercised => "exercised",
            Self::Name => "name",
            Self::Identity => "identity",
            Self::Resource => "resource",
            Self::Redaction => "redaction",
        })
    }
}

/// Something that a route lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Gap {
    /// `GET`.
    pub method: String,
    /// The template.
    pub route: String,
    /// The `eventName`.
    pub name: String,
    /// What is missing.
    pub aspect: Aspect,
    /// What is wrong and how to mend it, in one line.
    pub advice: String,
}

/// All that is missing. Its [`Debug`](fmt::Debug) is as readable as its [`Display`](fmt::Display), since that is what a
/// failing test shows.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Gaps {
    service: String,
    gaps: Vec<Gap>,
}

impl Gaps {
    /// One for each route and aspect.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, gaps } = self;
        let plural = if gaps.len() == 1 { "gap" } else { "gaps" };
        write!(formatter, "{} {plural} in the audit coverage of {service}", gaps.len())?;
        gaps.iter().try_for_each(|Gap { method, route, name, aspect, advice }| {
            write!(formatter, "\n  {method} {route} ({name}): {aspect}: {advice}")
        })
    }
}

impl fmt::Debug for Gaps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl std::error::Error for Gaps {}

/// An aspect that is not asked for, on one route or on all.
#[derive(Clone, Debug)]
pub(super) struct Waiver {
    pub(super) aspect: Aspect,
    pub(super) route: Option<(String, String)>,
}

impl Waiver {
    fn covers(&self, route: &RouteCoverage, aspect: Aspect) -> bool {
        let here = self
            .route
            .as_ref()
            .is_none_or(|(method, template)| *method == route.method && *template == route.route);
        here && self.aspect == aspect
    }
}

pub(super) fn check(service: &str, routes: &[RouteCoverage], waivers: &[Waiver]) -> Result<(), Gaps> {
    let mut gaps = Vec::new();
    for route in routes.iter().filter(|route| route.recorded && !route.incidental) {
        for (aspect, advice) in missing(route) {
            if !waivers.iter().any(|waiver| waiver.covers(route, aspect)) {
                let RouteCoverage { method, route, name, .. } = route.clone();
                gaps.push(Gap { method, route, name, aspect, advice });
            }
        }
    }
    if gaps.is_empty() { Ok(()) } else { Err(Gaps { service: service.to_owned(), gaps }) }
}

fn missing(route: &RouteCoverage) -> Vec<(Aspect, String)> {
    let mut missing = Vec::new();
    let mut lacks = |aspect, advice: &str| missing.push((aspect, advice.to_owned()));
    if route.naming == Naming::Guessed {
        // What else is unknown of it follows from this.
        lacks(
            Aspect::Name,
            "guessed from the path; put the layer around the routes, insert a `RouteTemplate`, or give `Builder::route` \
             the template",
        );
        return missing;
    }
    if !route.exercised {
        lacks(Aspect::Exercised, "no request; send one in the test, or take the route off the list");
    }
    if !route.collides_with.is_empty() {
        let others = route.collides_with.join(", ");
        lacks(Aspect::Name, &format!("also the name of {others}; give it another with `Rule::name`"));
    }
    if route.exercised && route.identities.is_empty() {
        lacks(
            Aspect::Identity,
            "only anonymous callers; send a request with credentials and see that the layer learns of the caller, or \
             waive it for this route",
        );
    }
    match route.resource {
        _ if !route.resource_problems.is_empty() => {
            lacks(Aspect::Resource, &format!("left out: {}", route.resource_problems.join("; ")));
        }
        ResourceDecision::Undecided => {
            lacks(
                Aspect::Resource,
                "undecided; `Rule::resource`, `Audit::add_resource` or `Rule::no_resource`",
            );
        }
        _ => {}
    }
    if route.redaction == RedactionDecision::Undecided {
        lacks(
            Aspect::Redaction,
            "bodies are recorded; say how with a `Rule`, be it `Rule::default_redaction`, or use `Level::Metadata`",
        );
    }
    missing
}
