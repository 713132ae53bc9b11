//! The report as people read it.

use std::fmt;

use super::{Coverage, RedactionDecision, ResourceDecision, RouteCoverage};
use crate::policy::Naming;

const COLUMNS: usize = 8;

const HEAD: [&str; COLUMNS] =
    ["METHOD", "ROUTE", "NAME", "NAMED BY", "IDENTITY", "RESOURCE", "REDACTION", "EXERCISED"];

impl fmt::Display for Coverage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![HEAD.map(str::to_owned)];
        rows.extend(self.routes.iter().map(cells));
        let mut widths = [0; COLUMNS];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                line += &format!("{cell:width$}  ");
            }
            writeln!(formatter, "{}", line.trim_end())?;
        }
        for route in &self.routes {
            let RouteCoverage { method, route: template, name, .. } = route;
            let itself = format!("{method} {template}");
            // Each pair once.
            for other in route.collides_with.iter().filter(|other| **other > itself) {
                writeln!(formatter, "collision: {itself} and {other} are both {name}")?;
            }
            for problem in &route.resource_problems {
                writeln!(formatter, "resource left out: {itself}: {problem}")?;
            }
        }
        if self.unnamed > 0 {
            writeln!(formatter, "unnamed: {} requests had no route and no answer", self.unnamed)?;
        }
        Ok(())
    }
}

fn cells(route: &RouteCoverage) -> [String; COLUMNS] {
    let [method, template] = [&route.method, &route.route].map(String::clone);
    let exercised = if route.exercised { "yes" } else { "no" };
    if !route.recorded {
        let [a, b, c, d, e, f] = ["not recorded", "", "", "", "", ""].map(str::to_owned);
        return [method, template, a, b, c, d, e, f];
    }
    let naming = match route.naming {
        Naming::Declared => "rule",
        Naming::Derived => "route",
        Naming::Guessed => "guess",
    };
    let mut identity = route.identities.join(",");
    if route.anonymous {
        identity += if identity.is_empty() { "anonymous" } else { ",anonymous" };
    }
    let resource = match route.resource {
        _ if !route.resource_problems.is_empty() => "left out",
        ResourceDecision::Undecided => "undecided",
        ResourceDecision::Declared => "rule",
        ResourceDecision::Handler => "handler",
        ResourceDecision::NoResource => "none",
    };
    let redaction = match route.redaction {
        RedactionDecision::NoBody => "no body",
        RedactionDecision::Undecided => "undecided",
        RedactionDecision::Declared => "rule",
    };
    [
        method,
        template,
        route.name.clone(),
        naming.to_owned(),
        identity,
        resource.to_owned(),
        redaction.to_owned(),
        exercised.to_owned(),
    ]
}
