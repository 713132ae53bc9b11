//! `cargo xtask faults`: the real collector and the real store under a random schedule of faults, with load that never
//! stops.
//!
//! Each round draws one fault and applies it; what a round leaves behind, the next one finds: that is what a soak is. Every
//! random choice comes from `--seed`, which is printed, so that the same schedule can be run again; what the machine makes
//! of its timing is its own. At the end the faults end, everything drains, and the bucket is read back: every acked record
//! is there exactly once, the verifier finds no gap, and the collector's accounting adds up. The last line on standard
//! output is one JSON object.

mod disk;
mod fault;
mod load;
mod reckoning;
mod soak;

use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use clap::Parser;
use serde_json::json;

use soak::Soak;

/// What the seconds before a change goes in are enough for.
const FEW_ROUNDS: u64 = 10;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask faults")]
struct Arguments {
    /// Faults, one after the other
    #[arg(long, default_value_t = FEW_ROUNDS)]
    rounds: u64,
    /// The schedule; of the clock where it is left out
    #[arg(long)]
    seed: Option<u64>,
    /// As a part of `cargo test`: runs if this is part of `faults`
    #[arg(hide = true)]
    filter: Vec<String>,
    /// As a part of `cargo test`, without effect
    #[arg(long, short, hide = true)]
    quiet: bool,
    /// As a part of `cargo test`, without effect
    #[arg(long, hide = true)]
    nocapture: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if !arguments.filter.is_empty() && !arguments.filter.iter().any(|filter| "faults".contains(filter)) {
        return Ok(());
    }
    // In a mount namespace of its own the suite can have a small disk, which goes with it whatever happens.
    disk::enter_namespace()?;
    let began = Instant::now();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = arguments.seed.unwrap_or(since.as_secs());
    eprintln!("{} rounds of seed {seed}; `--seed {seed}` runs the same schedule again", arguments.rounds);

    let mut soak = Soak::start(seed)?;
    for round in 1..=arguments.rounds {
        let told = soak.round()?;
        eprintln!("{round:>4}/{} {told}", arguments.rounds);
    }
    let ended = soak.finish()?;
    let reckoning = &ended.reckoning;
    let figures = json!({
        "rounds": arguments.rounds,
        "seed": seed,
        "lost": reckoning.lost,
        "duplicated": reckoning.duplicated,
        "verified": reckoning.verified,
        "adds_up": reckoning.adds_up,
        "acked": reckoning.acked,
        "records": reckoning.records,
        "log_files": reckoning.log_files,
        "sources": reckoning.sources,
        "collector_starts": ended.collector_starts,
        "requests_struck": ended.requests_struck,
        "disk": ended.disk,
        "faults": ended.faults,
        "seconds": began.elapsed().as_secs(),
    });
    println!("{figures}");
    ensure!(
        reckoning.is_good(),
        "seed {seed}: {}; `cargo xtask faults --rounds {} --seed {seed}` runs the same schedule again",
        reckoning.complaint,
        arguments.rounds
    );
    Ok(())
}
