//! `sidetrail-collector`: reads its configuration, runs, and drains on SIGTERM.
//!
//! Exit codes: 0 after a shutdown, 1 if it could not start, 64 for a configuration that cannot be used, 70 if the spool
//! failed and the process has to be started anew. Those of `explain`: 0 if each event is taken by some trail, 1 if one is
//! taken by none, 64 as above, 65 if the events cannot be read, 74 if the answer cannot be written.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use sidetrail_collector::explain::{ExplainError, Form, explain};
use sidetrail_collector::{Collector, Config, System, chain};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const EXIT_CONFIG: u8 = 64;
const EXIT_EVENTS: u8 = 65;
const EXIT_SPOOL: u8 = 70;
const EXIT_WRITE: u8 = 74;

/// Takes events from applications, makes them durable, and ships them as signed CloudTrail log files.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file, YAML.
    #[arg(long, global = true, env = "SIDETRAIL_CONFIG", default_value = "/etc/sidetrail/collector.yaml")]
    config: PathBuf,
    /// Check the configuration file, and end.
    #[arg(long)]
    validate: bool,
    /// Print the JSON Schema of the configuration file, and end.
    #[arg(long)]
    schema: bool,
    /// What to log: error, warn, info, debug, trace, or a filter such as `info,sidetrail_collector=debug`.
    #[arg(long, env = "SIDETRAIL_LOG", default_value = "info")]
    log: String,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say which trails take an event, and why.
    ///
    /// Exit codes: 0 if each event is taken by some trail, 1 if one is taken by none, 64 for a configuration that cannot
    /// be used, 65 if the events cannot be read, 74 if the answer cannot be written.
    Explain {
        /// A record, several after each other, or a log file; plain or gzip. `-` is standard input.
        #[arg(long)]
        event: PathBuf,
        /// One JSON object a line for each event, as also where the output is no terminal.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.schema {
        println!("{:#}", Config::schema());
        return ExitCode::SUCCESS;
    }
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("sidetrail-collector: {}", chain(&error));
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if let Some(Command::Explain { event, json }) = arguments.command {
        return explained(&config, &event, json);
    }
    if arguments.validate {
        println!("{} is valid", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    if let Err(error) = log_to_stderr(&arguments.log) {
        eprintln!("sidetrail-collector: --log {} is not a filter: {error}", arguments.log);
        return ExitCode::from(EXIT_CONFIG);
    }
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(run(config));
            // A request to a store that does not answer must not hold up the end.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("sidetrail-collector: cannot start threads: {error}");
            ExitCode::FAILURE
        }
    }
}

fn explained(config: &Config, event: &Path, json: bool) -> ExitCode {
    let stdout = std::io::stdout();
    let form = if json || !stdout.is_terminal() { Form::Json } else { Form::Text };
    let mut out = std::io::BufWriter::new(stdout.lock());
    let result = explain(config, event, form, &mut out).and_then(|explained| {
        out.flush()?;
        Ok(explained)
    });
    match result {
        Ok(explained) => ExitCode::from(u8::from(explained.untaken > 0)),
        Err(error) => {
            // What was explained before the fault is worth having.
            let _ = out.flush();
            eprintln!("sidetrail-collector: {}", chain(&error));
            ExitCode::from(match error {
                ExplainError::Config(_) => EXIT_CONFIG,
                ExplainError::Write(_) => EXIT_WRITE,
                _ => EXIT_EVENTS,
            })
        }
    }
}

async fn run(config: Config) -> ExitCode {
    let timeout = config.shutdown_timeout();
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals");
        return ExitCode::FAILURE;
    };
    let collector = match Collector::start(config, Arc::new(System)).await {
        Ok(collector) => collector,
        Err(error) => {
            tracing::error!(error = %chain(&error), "cannot start");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), health = ?collector.health_address(), "ready");
    let failed = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = collector.failed() => true,
    };
    tracing::info!(failed, "shutting down");
    let ended = collector.shutdown(timeout).await;
    tracing::info!(drained = ended.drained, adds_up = ended.adds_up, "ended");
    if failed { ExitCode::from(EXIT_SPOOL) } else { ExitCode::SUCCESS }
}

/// Text for people on a terminal, JSON for everything else.
fn log_to_stderr(filter: &str) -> Result<(), ParseError> {
    let filter: Targets = filter.parse()?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        registry.with(lines).init();
    } else {
        registry.with(lines.json()).init();
    }
    Ok(())
}
