//! `cargo xtask test`: everything that has to hold before a change goes in, cheapest first.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::workspace::{Workspace, describe, run};
use crate::{codegen, deps, faults, fuzz, tools};

pub(crate) fn run_all(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    let mut stages = Stages::default();
    // A filter asks about a few tests; the rules can wait for the full run, the tests' needs cannot.
    if filter.is_none() {
        stages.run("codegen --check", || codegen::check(workspace))?;
        stages.run("deps", || deps::check(workspace))?;
    }
    stages.run("tools", || tools::install_all(workspace))?;
    // `cargo test` builds no binary for another package's tests to start. The selection is that of the tests, so that
    // features are unified alike and nothing is compiled twice.
    let mut build = workspace.cargo(["build", "--workspace", "--all-features", "--bins", "--examples"]);
    stages.run(&describe(&build), || run(&mut build))?;
    // Plain `cargo test`, since it is on every machine that can build us, and runs the doctests too. It ends with a list
    // of everything that failed, not with the first.
    let mut test = workspace.cargo(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    test.args(filter).env("SIDETRAIL_SEEDS", faults::SEEDS.to_string());
    test.env("SIDETRAIL_FUZZ_INPUTS", fuzz::INPUTS.to_string());
    stages.run(&describe(&test), || run(&mut test))?;
    stages.summary();
    Ok(())
}

/// Runs and times stages; the first that fails ends the run.
#[derive(Debug, Default)]
struct Stages {
    done: Vec<(String, Duration)>,
}

impl Stages {
    fn run(&mut self, name: &str, stage: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("── {name}");
        let began = Instant::now();
        stage().with_context(|| format!("failed: {name}"))?;
        self.done.push((name.to_owned(), began.elapsed()));
        Ok(())
    }

    fn summary(&self) {
        let each = self.done.iter().map(|(name, time)| format!("{name} {:.1} s", time.as_secs_f64()));
        println!("── passed: {}", each.collect::<Vec<_>>().join(" · "));
    }
}
