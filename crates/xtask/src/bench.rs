//! `cargo xtask bench NAME`: builds what the bench starts, then runs it. Both in release, or the figures are of no use.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::workspace::{Workspace, run};
use crate::{dist, tools};

/// The benches of `tests/benches`, and of the server's and the injector's own.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Name {
    /// What the layer adds to a request, beside tower-http's `TraceLayer`
    Layer,
    /// What the collector makes of events, from the socket to signed files in an S3 server
    Collector,
    /// How long `sidetrail verify` takes, beside `aws cloudtrail validate-logs` on the same buckets
    Verify,
    /// The newest events of millions by each attribute of `LookupEvents`, beside DuckDB on the same log files
    Lookup,
    /// What the injector's webhook answers on one core, beside a bare server that echoes
    Injector,
}

pub(crate) fn run_bench(workspace: &Workspace, name: Name, arguments: &[OsString]) -> Result<()> {
    let bench = match name {
        Name::Lookup => {
            let python = tools::install_duckdb(workspace)?;
            // Of the server's own: all it needs is history, and that takes a third of the time to build.
            let mut bench = bench_of(workspace, "sidetrail-server", "lookup");
            return run(bench.arg("--python").arg(python).args(arguments));
        }
        Name::Layer => {
            let example = ["--package", "sidetrail", "--features", "axum", "--example", "orders"];
            run(workspace.cargo(["build", "--release"]).args(example))?;
            "layer"
        }
        Name::Collector => {
            tools::install(workspace)?;
            let binaries = published(workspace, "sidetrail-collector")?;
            let mut bench = bench_of(workspace, "sidetrail-tests", "collector");
            return run(bench.args(arguments).env("SIDETRAIL_BINARIES", binaries));
        }
        Name::Injector => {
            // Of its own package: it needs nothing of what the others are built with.
            return run(bench_of(workspace, "sidetrail-injector", "injector").args(arguments));
        }
        Name::Verify => {
            tools::install(workspace)?;
            run(&mut workspace.cargo(["build", "--release", "--package", "sidetrail-cli", "--bins"]))?;
            "verify"
        }
    };
    run(bench_of(workspace, "sidetrail-tests", bench).args(arguments))
}

/// Builds a package as it is published, static where this machine can do that, and says where that is. By itself: built
/// together with the tests it would have their features.
fn published(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    let mut build = workspace.cargo(["build", "--release", "--package", package, "--bins"]);
    match dist::host_target()? {
        Some(target) => {
            run(build.args(["--target", target]))?;
            Ok(workspace.target.join(target).join("release"))
        }
        None => {
            eprintln!("no target for static binaries is installed: this is not what is published");
            run(&mut build)?;
            Ok(workspace.target.join("release"))
        }
    }
}

fn bench_of(workspace: &Workspace, package: &str, bench: &str) -> Command {
    workspace.cargo(["bench", "--package", package, "--bench", bench, "--"])
}
