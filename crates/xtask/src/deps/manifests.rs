//! What `cargo metadata` cannot tell: whether a manifest inherits its lints and versions, or has its own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut findings = root(&read(&workspace.root.join("Cargo.toml"))?);
    for member in &workspace.members {
        let manifest = read(&member.manifest_path)?;
        let place = workspace.relative(&member.manifest_path).display().to_string();
        findings.extend(inherits(&manifest).into_iter().map(|finding| format!("{place}: {finding}")));
    }
    Ok(findings)
}

fn read(path: &Path) -> Result<Table> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().with_context(|| format!("{} is not TOML", path.display()))
}

/// In the root table default features are off: a crate names what it uses, and unification holds no surprise.
fn root(manifest: &Table) -> Vec<String> {
    let shared = manifest.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let shared = shared.and_then(Value::as_table);
    shared
        .into_iter()
        .flatten()
        .filter(|(_, value)| value.get("default-features").and_then(Value::as_bool) != Some(false))
        .map(|(name, _)| format!("Cargo.toml: `{name}` in the shared table needs `default-features = false`"))
        .collect()
}

fn inherits(manifest: &Table) -> Vec<String> {
    let mut findings = Vec::new();
    if !is_inherited(manifest.get("lints")) {
        findings.push("needs `[lints] workspace = true`".to_owned());
    }
    let targets = manifest.get("target").and_then(Value::as_table);
    let per_target = targets.into_iter().flatten().filter_map(|(_, target)| target.as_table());
    for table in std::iter::once(manifest).chain(per_target) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let own = table.get(kind).and_then(Value::as_table).into_iter().flatten();
            let own = own.filter(|(_, value)| !is_inherited(Some(*value)));
            findings.extend(own.map(|(name, _)| {
                format!("`{name}` in [{kind}] needs `workspace = true`; versions live in the root table")
            }));
        }
    }
    findings
}

fn is_inherited(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_versions_and_missing_lints_are_found() {
        let manifest = "[dependencies]\na.workspace = true\nb = \"1\"\n\
                        [target.'cfg(unix)'.dev-dependencies]\nc = { version = \"1\" }\n";
        let findings = inherits(&manifest.parse().unwrap());
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[0].contains("[lints]"));
        assert!(findings[1].starts_with("`b` in [dependencies]"));
        assert!(findings[2].starts_with("`c` in [dev-dependencies]"));
    }

    #[test]
    fn an_inheriting_manifest_passes() {
        let manifest =
            "[dependencies]\na = { workspace = true, features = [\"x\"] }\n[lints]\nworkspace = true\n";
        assert_eq!(inherits(&manifest.parse().unwrap()), Vec::<String>::new());
    }

    #[test]
    fn shared_default_features_are_found() {
        let manifest =
            "[workspace.dependencies]\na = \"1\"\nb = { version = \"1\", default-features = false }\n";
        let findings = root(&manifest.parse().unwrap());
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("`a`"));
    }
}
