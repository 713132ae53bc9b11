//! Who may depend on whom: siblings by a table, foreign crates by fences.

use crate::workspace::{Dependency, Member};

/// How a package may have a dependency.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grant {
    Always,
    /// Behind a feature only.
    Optional,
}
use Grant::{Always, Optional};

/// Packages, and how each may be had or may have.
type Grants = [(&'static str, Grant)];

/// Normal and build dependencies between members. A member that is not listed has none.
const SIBLINGS: &[(&str, &Grants)] = &[
    ("sidetrail-archive", &[("sidetrail-record", Always)]),
    ("sidetrail-selectors", &[("sidetrail-record", Always)]),
    ("sidetrail-api", &[("sidetrail-selectors", Always)]),
    ("sidetrail-wire", &[("sidetrail-record", Always)]),
    ("sidetrail", &[("sidetrail-record", Always), ("sidetrail-wire", Optional)]),
    (
        "sidetrail-collector",
        &[
            ("sidetrail-record", Always),
            ("sidetrail-wire", Always),
            ("sidetrail-spool", Always),
            ("sidetrail-archive", Always),
            ("sidetrail-selectors", Always),
        ],
    ),
    (
        "sidetrail-server",
        &[
            ("sidetrail-record", Always),
            ("sidetrail-selectors", Always),
            ("sidetrail-archive", Always),
            ("sidetrail-api", Always),
            // Only to keep in touch with collectors.
            ("sidetrail-wire", Always),
            // Only to record its own calls, by the public API.
            ("sidetrail", Always),
        ],
    ),
    (
        "sidetrail-cli",
        &[
            ("sidetrail-record", Always),
            ("sidetrail-wire", Always),
            ("sidetrail-archive", Always),
            ("sidetrail-api", Always),
        ],
    ),
    (
        "sidetrail-tests",
        &[
            ("sidetrail", Always),
            ("sidetrail-record", Always),
            ("sidetrail-wire", Always),
            ("sidetrail-spool", Always),
            ("sidetrail-archive", Always),
            ("sidetrail-selectors", Always),
            ("sidetrail-collector", Always),
            ("sidetrail-api", Always),
            ("sidetrail-server", Always),
            ("sidetrail-cli", Always),
            ("sidetrail-injector", Always),
        ],
    ),
];

/// Members at the top: no member depends on them, not even for its tests.
const TOPS: [&str; 2] = ["sidetrail-xtask", "sidetrail-tests"];

/// Foreign crates and the members that may name them.
const FENCES: &[(&[&str], &Grants)] = &[
    (
        &["object_store"],
        &[
            ("sidetrail-archive", Optional),
            ("sidetrail-collector", Always),
            ("sidetrail-server", Always),
            ("sidetrail-cli", Always),
            ("sidetrail-tests", Always),
        ],
    ),
    (
        &["tonic", "tonic-prost"],
        &[
            ("sidetrail-wire", Always),
            ("sidetrail", Optional),
            ("sidetrail-collector", Always),
            ("sidetrail-server", Always),
            ("sidetrail-cli", Always),
            ("sidetrail-tests", Always),
        ],
    ),
    (
        &["rustls", "rustls-webpki", "tokio-rustls"],
        &[
            ("sidetrail-wire", Optional),
            ("sidetrail-collector", Always),
            ("sidetrail-injector", Always),
            ("sidetrail-server", Always),
            ("sidetrail-tests", Always),
        ],
    ),
    (
        &["axum"],
        &[
            ("sidetrail", Optional),
            ("sidetrail-collector", Always),
            ("sidetrail-injector", Always),
            ("sidetrail-server", Always),
            ("sidetrail-tests", Always),
        ],
    ),
    // Nothing else knows Kubernetes. The server asks its API one question, with the HTTP client of its store.
    (
        &["k8s-openapi", "kube", "hyper-rustls", "rcgen"],
        &[("sidetrail-injector", Always), ("sidetrail-tests", Always)],
    ),
    // What brings events to the server.
    (&["opentelemetry-proto"], &[("sidetrail-server", Always)]),
    // What the server tells of deliveries.
    (&["async-nats"], &[("sidetrail-server", Always), ("sidetrail-tests", Always)]),
    (&["cryptoki"], &[("sidetrail-archive", Optional)]),
    (&["datafusion"], &[]),
];

pub(super) fn check(members: &[Member]) -> Vec<String> {
    members
        .iter()
        .flat_map(|member| member.dependencies.iter().map(move |dependency| (member, dependency)))
        .filter_map(|(member, dependency)| {
            let complaint = judge(member, dependency, members)?;
            Some(format!("{}: depends on `{}`, {complaint}", member.name, dependency.name))
        })
        .collect()
}

fn judge(member: &Member, dependency: &Dependency, members: &[Member]) -> Option<String> {
    let name = dependency.name.as_str();
    if TOPS.contains(&name) {
        return Some("which nobody may use, not even in tests".to_owned());
    }
    if dependency.is_dev() {
        return None;
    }
    let grants = if members.iter().any(|sibling| sibling.name == name) {
        SIBLINGS.iter().find(|(package, _)| *package == member.name).map_or(&[][..], |(_, grants)| *grants)
    } else {
        let (_, users) = FENCES.iter().find(|(crates, _)| crates.contains(&name))?;
        return match users.iter().find(|(user, _)| *user == member.name) {
            None => Some(format!("which is fenced to {}", list(users))),
            Some((_, grant)) => too_firm(*grant, dependency),
        };
    };
    match grants.iter().find(|(sibling, _)| *sibling == name) {
        None if grants.is_empty() => Some("and may depend on no sibling".to_owned()),
        None => Some(format!("but of its siblings may use only {}", list(grants))),
        Some((_, grant)) => too_firm(*grant, dependency),
    }
}

fn too_firm(grant: Grant, dependency: &Dependency) -> Option<String> {
    (grant == Optional && !dependency.optional).then(|| "which must be `optional = true` here".to_owned())
}

fn list(grants: &Grants) -> String {
    if grants.is_empty() {
        return "nobody yet".to_owned();
    }
    grants.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks one dependency, written as `from -> [dev|build|optional] to`.
    fn complaints(edge: &str) -> Vec<String> {
        let (from, to) = edge.split_once(" -> ").unwrap();
        let (how, to) = to.split_once(' ').unwrap_or(("", to));
        let member = |name: &str, dependencies| Member {
            name: name.to_owned(),
            manifest_path: "Cargo.toml".into(),
            dependencies,
        };
        let dependency = Dependency {
            name: to.to_owned(),
            kind: matches!(how, "dev" | "build").then(|| how.to_owned()),
            optional: how == "optional",
        };
        let siblings = ["sidetrail-record", "sidetrail-spool", "sidetrail-wire", "sidetrail-xtask"];
        let mut members: Vec<_> = siblings.map(|name| member(name, Vec::new())).into();
        members.push(member(from, vec![dependency]));
        check(&members)
    }

    #[test]
    fn granted_edges_pass() {
        for edge in [
            "sidetrail-archive -> sidetrail-record",
            "sidetrail-archive -> optional object_store",
            "sidetrail-archive -> dev sidetrail-spool",
            "sidetrail -> optional sidetrail-wire",
            "sidetrail-collector -> tonic",
            "sidetrail-record -> serde",
        ] {
            assert_eq!(complaints(edge), Vec::<String>::new(), "{edge}");
        }
    }

    #[test]
    fn other_edges_are_named() {
        for (edge, reason) in [
            ("sidetrail-spool -> sidetrail-record", "may depend on no sibling"),
            ("sidetrail-archive -> build sidetrail-wire", "may use only sidetrail-record"),
            ("sidetrail -> sidetrail-wire", "must be `optional = true`"),
            ("sidetrail-archive -> object_store", "must be `optional = true`"),
            ("sidetrail-record -> tonic", "fenced to sidetrail-wire"),
            ("sidetrail-collector -> datafusion", "fenced to nobody yet"),
            ("sidetrail-record -> dev sidetrail-xtask", "not even in tests"),
        ] {
            let complaints = complaints(edge);
            assert_eq!(complaints.len(), 1, "{edge}");
            assert!(complaints[0].contains(reason), "{}", complaints[0]);
        }
    }
}
