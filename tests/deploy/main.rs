//! What is in `deploy/`, looked at by the tools that will read it: Helm, Kubernetes' published schemas, PromQL, a linter for
//! Containerfiles, and the schemas of our own binaries for the configurations in it.
//!
//! `cargo xtask tools` installs them; without one a test fails and says so.

mod chart;
mod containers;
mod monitoring;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sidetrail_tests::tools;

/// `deploy/` of the repository.
fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(path: &str) -> Result<String> {
    let path = deploy().join(path);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The documents of a YAML text.
fn documents(text: &str) -> Result<Vec<Value>> {
    let documents = serde_norway::Deserializer::from_str(text);
    let documents = documents.map(|document| Ok(serde::Deserialize::deserialize(document)?));
    let documents = documents.collect::<Result<Vec<Value>>>()?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Runs a script of this directory with `input`; what it printed.
fn script(name: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut python = tools::python()?;
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).args(arguments);
    fed(python, input)
}

fn fed(mut command: Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let mut stdin = child.stdin.take().context("a pipe")?;
    // Inputs are larger than a pipe holds, and so are answers.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        child.wait_with_output()
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Checks a configuration against what the binary that reads it says of its form.
fn is_configuration_of(binary: &str, text: &str) -> Result<()> {
    let mut command = Command::new(tools::binary(binary)?);
    command.arg("--schema");
    let schema = tempfile::NamedTempFile::new()?;
    std::fs::write(schema.path(), tools::run(command)?.success()?)?;
    let path = schema.path().to_str().context("a path in UTF-8")?;
    script("schema.py", &[path], text).with_context(|| format!("{binary} would refuse {text}")).map(drop)
}
