//! `cargo xtask bench NAME`: builds what the bench starts, then runs it. Both in release, or the figures are of no use.

use std::ffi::OsString;

use anyhow::Result;
use clap::ValueEnum;

use crate::tools;
use crate::workspace::{Workspace, run};

/// The benches of `tests/benches`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Name {
    /// What the layer adds to a request, beside tower-http's `TraceLayer`
    Layer,
    /// What the collector makes of events, from the socket to signed files in an S3 server
    Collector,
    /// How long `sidetrail verify` takes, beside `aws cloudtrail validate-logs` on the same buckets
    Verify,
}

pub(crate) fn run_bench(workspace: &Workspace, name: Name, arguments: &[OsString]) -> Result<()> {
    let bench = match name {
        Name::Layer => {
            let example = ["--package", "sidetrail", "--features", "axum", "--example", "orders"];
            run(workspace.cargo(["build", "--release"]).args(example))?;
            "layer"
        }
        Name::Collector => {
            tools::install(workspace)?;
            // By itself: built together with the tests it would have their features.
            run(&mut workspace.cargo(["build", "--release", "--package", "sidetrail-collector", "--bins"]))?;
            "collector"
        }
        Name::Verify => {
            tools::install(workspace)?;
            run(&mut workspace.cargo(["build", "--release", "--package", "sidetrail-cli", "--bins"]))?;
            "verify"
        }
    };
    let mut cargo = workspace.cargo(["bench", "--package", "sidetrail-tests", "--bench", bench, "--"]);
    run(cargo.args(arguments))
}
