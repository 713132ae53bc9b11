//! Puts together what is known of each route.

use http::Method;

use super::{Coverage, RedactionDecision, ResourceDecision, RouteCoverage};
use crate::{
    Level, Rule, name,
    policy::{Action, Decided, Naming, Policy, Seen, collide},
};

/// Stands for the method where a rule is about all of them.
const ANY: &str = "ANY";

impl Coverage {
    pub(crate) fn of(policy: &Policy) -> Self {
        let mut routes: Vec<RouteCoverage> = Vec::new();
        for entry in policy.actions.iter() {
            let seen = &entry.action.seen;
            let is_declared = entry.action.is_declared();
            // A route that only ever answered 405 is none.
            if seen.exercised() || is_declared {
                routes.push(row(entry.method.as_str(), &entry.template, &Decided::last(&entry.action), seen));
            }
        }
        for (method, template) in policy.rules.iter() {
            let method_name = method.map_or(ANY, Method::as_str);
            if find(&routes, method_name, template).is_none() {
                // A method that nobody has a rule of its own for stands for all of them.
                let method = method.cloned().or_else(|| Method::from_bytes(ANY.as_bytes()).ok());
                let method = method.unwrap_or_default();
                let action = policy.resolve(&method, template, || name::derive(&method, template));
                routes.push(row(method_name, template, &Decided::by(&action), &Seen::default()));
            }
        }
        routes.extend(policy.guesses.routes().into_iter().map(|guess| {
            let seen = Seen::default();
            let decided = Decided {
                name: Some(guess.name),
                naming: Naming::Guessed,
                level: policy.level,
                rule: std::sync::Arc::default(),
            };
            RouteCoverage { exercised: true, ..row(&guess.method, &guess.template, &decided, &seen) }
        }));
        let is_ruled = |route: &RouteCoverage| {
            policy.rules.iter().any(|(method, template)| {
                method.is_some_and(|method| method.as_str() == route.method) && **template == *route.route
            })
        };
        for route in &mut routes {
            route.incidental = matches!(&*route.method, "HEAD" | "OPTIONS") && !is_ruled(route);
        }
        finish(&mut routes);
        Self {
            service: policy.service.clone(),
            level: policy.level,
            routes,
            unnamed: policy.guesses.unnamed(),
            waivers: Vec::new(),
        }
    }
}

fn row(method: &str, template: &str, decided: &Decided, seen: &Seen) -> RouteCoverage {
    let rule = &*decided.rule;
    RouteCoverage {
        method: method.to_owned(),
        route: template.to_owned(),
        name: decided.name.clone().unwrap_or_default(),
        naming: decided.naming,
        collides_with: Vec::new(),
        recorded: decided.level > Level::None,
        exercised: seen.exercised(),
        identities: seen.sources(),
        anonymous: seen.anonymous(),
        resource: resource(rule, seen),
        resource_problems: rule
            .resources
            .iter()
            .flatten()
            .filter_map(|resource| resource.problem(template))
            .collect(),
        redaction: redaction(method, decided, seen),
        incidental: false,
    }
}

fn resource(rule: &Rule, seen: &Seen) -> ResourceDecision {
    match rule.resources.as_deref() {
        Some([_, ..]) => ResourceDecision::Declared,
        _ if seen.resource() => ResourceDecision::Handler,
        Some([]) => ResourceDecision::NoResource,
        None => ResourceDecision::Undecided,
    }
}

fn redaction(method: &str, decided: &Decided, seen: &Seen) -> RedactionDecision {
    let usually_has_body = matches!(method, "POST" | "PUT" | "PATCH" | ANY);
    let captures = decided.level >= Level::RequestResponse
        || decided.level >= Level::Request && (usually_has_body || seen.body());
    match decided.rule.has_redaction_decision() {
        true => RedactionDecision::Declared,
        false if captures => RedactionDecision::Undecided,
        false => RedactionDecision::NoBody,
    }
}

/// Adds a route that there is to be, unless it is known.
pub(super) fn expect(routes: &mut Vec<RouteCoverage>, method: &Method, template: &str, level: Level) {
    if let Some(known) = find(routes, method.as_str(), template) {
        routes[known].incidental = false;
        return;
    }
    let route = match find(routes, ANY, template) {
        Some(any) => {
            let any = &routes[any];
            let name = match any.naming {
                Naming::Declared => any.name.clone(),
                _ => name::derive(method, template),
            };
            RouteCoverage { method: method.to_string(), name, ..any.clone() }
        }
        None => {
            let action = Action::derived(name::derive(method, template), level, &std::sync::Arc::default());
            row(method.as_str(), template, &Decided::by(&action), &Seen::default())
        }
    };
    routes.push(route);
}

/// Sorts the routes and compares their names.
pub(super) fn finish(routes: &mut Vec<RouteCoverage>) {
    // A rule for any method is told by the methods that are known.
    let known: Vec<String> =
        routes.iter().filter(|route| route.method != ANY).map(|route| route.route.clone()).collect();
    routes.retain(|route| route.method != ANY || !known.contains(&route.route));
    routes.sort_by(|a, b| (&a.route, &a.method).cmp(&(&b.route, &b.method)));
    for index in 0..routes.len() {
        let one = named(&routes[index]);
        let counts = |route: &RouteCoverage| route.recorded && !route.incidental && route.method != ANY;
        let others = routes
            .iter()
            .filter(|other| counts(&routes[index]) && counts(other) && collide(one, named(other)));
        routes[index].collides_with =
            others.map(|other| format!("{} {}", other.method, other.route)).collect();
    }
}

fn named(route: &RouteCoverage) -> (&str, &str, &str, Naming) {
    (&route.method, &route.route, &route.name, route.naming)
}

fn find(routes: &[RouteCoverage], method: &str, template: &str) -> Option<usize> {
    routes.iter().position(|route| route.method == method && route.route == template)
}
