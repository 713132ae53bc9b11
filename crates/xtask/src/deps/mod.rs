//! `cargo xtask deps`: the rules of `crates/ARCHITECTURE.md` that a machine can check.

mod edges;
mod manifests;
mod sources;

use anyhow::{Result, bail};

use crate::workspace::{Workspace, output};

/// What the bare layer promises its users never to compile.
const NOT_IN_THE_BARE_LAYER: [&str; 4] = ["tokio", "hyper", "tonic", "rustls"];

pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut findings = edges::check(&workspace.members);
    findings.extend(manifests::check(workspace)?);
    findings.extend(sources::check(&workspace.root)?);
    findings.extend(bare_layer(workspace)?);
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{} broken rule(s), see crates/ARCHITECTURE.md\n  {}", findings.len(), findings.join("\n  "));
}

fn bare_layer(workspace: &Workspace) -> Result<Vec<String>> {
    let mut tree = workspace.cargo(["tree", "--package", "sidetrail", "--no-default-features"]);
    tree.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let tree = output(&mut tree)?;
    let mut names: Vec<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| NOT_IN_THE_BARE_LAYER.contains(name));
    Ok(names
        .iter()
        .map(|name| {
            format!(
                "crates/layer: `{name}` is compiled without features (see `cargo tree -p sidetrail \
                 --no-default-features -e normal -i {name}`); it may come with a feature only"
            )
        })
        .collect())
}
