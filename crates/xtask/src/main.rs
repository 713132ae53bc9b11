//! The repository's own tooling, run as `cargo xtask <command>`.
//!
//! A new command is one module here, one variant of [`Command`] and one arm in [`execute`].

mod codegen;
mod deps;
mod suite;
mod tools;
mod workspace;

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
    /// Write the Rust code that belongs to `proto/` into `crates/wire/src/gen`
    Codegen {
        /// Write nothing; fail when the committed code is not what would be written
        #[arg(long)]
        check: bool,
    },
    /// Check the dependency, manifest and source rules of `crates/ARCHITECTURE.md`
    Deps,
    /// Install the pinned S3 server, AWS CLI and boto3 that the tests use, under the target directory
    Tools,
    /// Run every check and test there is, or with FILTER the tests whose names contain it
    Test {
        /// Part of a test's name
        filter: Option<String>,
    },
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
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
        Command::Codegen { check: false } => codegen::write(&workspace),
        Command::Codegen { check: true } => codegen::check(&workspace),
        Command::Deps => deps::check(&workspace),
        Command::Tools => tools::install(&workspace),
        Command::Test { filter } => suite::run_all(&workspace, filter.as_deref()),
    }
}
