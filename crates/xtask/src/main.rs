//! The repository's own tooling, run as `cargo xtask <command>`.
//!
//! A new command is one module here, one variant of [`Command`] and one arm in [`execute`].

#![cfg_attr(
    not(feature = "rules"),
    expect(dead_code, reason = "the demo needs little of what is known about the workspace")
)]

mod bench;
#[cfg(feature = "rules")]
mod codegen;
mod demo;
#[cfg(feature = "rules")]
mod deps;
#[cfg(feature = "rules")]
mod dist;
mod faults;
mod fuzz;
#[cfg(feature = "rules")]
mod suite;
mod tools;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use workspace::Workspace;

/// Sidetrail's repository tooling.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the example orders service and a collector, send requests, and show what becomes of them
    Demo {
        /// End after the scenario instead of serving on
        #[arg(long)]
        once: bool,
        /// Where everything goes: the archive in `DIR/bucket`, the public keys in `DIR/keys`. Made if it is not there,
        /// and must be empty
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Measure, in a release build; the last line printed is one JSON object
    Bench {
        /// What to measure
        name: bench::Name,
        /// For the bench itself: `cargo xtask bench collector -- --help`
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Look for what is lost or doubled when everything fails: thousands of simulated schedules, then the real collector
    /// and store under a random one. The last line printed is one JSON object
    Faults(faults::Faults),
    /// Look for inputs that break what readers of foreign bytes promise: with libFuzzer, which needs a nightly toolchain,
    /// or without. The last line printed is one JSON object
    Fuzz(fuzz::Fuzz),
    #[cfg(feature = "rules")]
    /// Write the Rust code that belongs to `proto/` into `crates/wire/src/gen`
    Codegen {
        /// Write nothing; fail when the committed code is not what would be written
        #[arg(long)]
        check: bool,
    },
    #[cfg(feature = "rules")]
    /// Check the dependency, manifest and source rules of `crates/ARCHITECTURE.md`
    Deps,
    #[cfg(feature = "rules")]
    /// Build what is published: static binaries, bills of materials, tar files, checksums. The last line printed is one
    /// JSON object
    Dist(dist::Dist),
    #[cfg(feature = "rules")]
    /// Install what the tests use: the pinned S3 server, AWS CLI, boto3, KMS, Helm and linters under the target directory,
    /// SoftHSM from the system's packages
    Tools,
    #[cfg(feature = "rules")]
    /// Run every check and test there is, or with FILTER the tests whose names contain it
    Test {
        /// Part of a test's name
        filter: Option<String>,
    },
}

fn main() -> ExitCode {
    // `cargo demo -- --once` hands the `--` on, which would make the rest positional.
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(2).is_some_and(|argument| argument == "--") {
        arguments.remove(2);
    }
    match execute(Arguments::parse_from(arguments).command) {
        Ok(()) => ExitCode::SUCCESS,
        // Not returned from `main`: with RUST_BACKTRACE set, a broken rule would read like a crash.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    let workspace = Workspace::load()?;
    match command {
        Command::Demo { once, dir } => demo::run_demo(&workspace, once, dir),
        Command::Bench { name, arguments } => bench::run_bench(&workspace, name, &arguments),
        Command::Faults(faults) => faults::run_faults(&workspace, &faults),
        Command::Fuzz(fuzz) => fuzz::run_fuzz(&workspace, &fuzz),
        #[cfg(feature = "rules")]
        Command::Codegen { check: false } => codegen::write(&workspace),
        #[cfg(feature = "rules")]
        Command::Codegen { check: true } => codegen::check(&workspace),
        #[cfg(feature = "rules")]
        Command::Deps => deps::check(&workspace),
        #[cfg(feature = "rules")]
        Command::Dist(dist) => dist::make(&workspace, &dist),
        #[cfg(feature = "rules")]
        Command::Tools => tools::install_all(&workspace),
        #[cfg(feature = "rules")]
        Command::Test { filter } => suite::run_all(&workspace, filter.as_deref()),
    }
}
