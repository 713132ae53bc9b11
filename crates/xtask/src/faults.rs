//! `cargo xtask faults`: the simulation with its seeds, then the soak with its rounds. Both print how to repeat what fails.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Map, Value};

use crate::tools;
use crate::workspace::{Workspace, describe, run};

/// Seeds of the simulation that a change has to stand before it goes in.
pub(crate) const SEEDS: u64 = 2_000;

/// How much of it.
#[derive(Debug, Args)]
pub(crate) struct Faults {
    /// Faults that the real collector and the real store go through, one after the other
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// The schedule of the rounds, to repeat one; of the clock where it is left out
    #[arg(long)]
    seed: Option<u64>,
    /// Seeds of the simulation, from 1 on
    #[arg(long, default_value_t = SEEDS)]
    seeds: u64,
}

pub(crate) fn run_faults(workspace: &Workspace, faults: &Faults) -> Result<()> {
    tools::install(workspace)?;
    // All is selected as in `cargo xtask test`: the same features, so that nothing is compiled twice.
    if faults.seeds > 0 {
        let simulation = ["--lib", "--", "simulation::", "--nocapture"];
        let mut simulate = workspace.cargo(["test", "--workspace", "--all-features"]);
        simulate.args(simulation).env("SIDETRAIL_SEEDS", faults.seeds.to_string());
        run(&mut simulate)?;
    }
    run(&mut workspace.cargo(["build", "--workspace", "--all-features", "--bins"]))?;
    let mut soak = workspace.cargo(["test", "--workspace", "--all-features", "--test", "faults", "--"]);
    soak.args(["--rounds", &faults.rounds.to_string()]);
    if let Some(seed) = faults.seed {
        soak.args(["--seed", &seed.to_string()]);
    }
    let output = soak.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {}", describe(&soak)))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.lines().last().and_then(|line| serde_json::from_str::<Map<String, Value>>(line).ok());
    if let Some(mut figures) = figures {
        figures.insert("seeds".to_owned(), faults.seeds.into());
        println!("{}", Value::Object(figures));
    }
    ensure!(output.status.success(), "{} ended with {}", describe(&soak), output.status);
    Ok(())
}
