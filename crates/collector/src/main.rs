//! `sidetrail-collector`: reads its configuration, runs, takes it over when it changes, and drains on SIGTERM.
//!
//! Exit codes: 0 after a shutdown, 1 if it could not start or was told twice to end, 64 for a configuration that cannot be
//! used, 70 if the spool failed and the process has to be started anew. Those of `explain`: 0 if each event is taken by
//! some trail, 1 if one is taken by none, 64 as above, 65 if the events cannot be read, 74 if the answer cannot be written.
//! Those of `probe`: 0 if applications can connect, 1 if not, 64 as above.
//! Those of `flush`: 0 if the collector was told, 64 as above, 69 if none answers.

mod ask;
mod logs;
mod operate;
mod probe;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use jiff::SignedDuration;
use sidetrail_collector::explain::{ExplainError, Form, explain};
use sidetrail_collector::{Collector, Config, System, Watch, chain, check_files};

use logs::Logs;

const EXIT_CONFIG: u8 = 64;
const EXIT_EVENTS: u8 = 65;
const EXIT_UNAVAILABLE: u8 = 69;
const EXIT_SPOOL: u8 = 70;
const EXIT_WRITE: u8 = 74;

/// Takes events from applications, makes them durable, and ships them as signed CloudTrail log files.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file, YAML. Read again on SIGHUP, and when it has changed. `env:NAME` is no file but the environment
    /// variable NAME.
    #[arg(long, global = true, env = "SIDETRAIL_CONFIG", default_value = "/etc/sidetrail/collector.yaml")]
    config: PathBuf,
    /// Check the configuration file and the files for TLS that it names, print all that is wrong, and end.
    #[arg(long)]
    validate: bool,
    /// Print the JSON Schema of the configuration file, and end.
    #[arg(long)]
    schema: bool,
    /// What to log: error, warn, info, debug, trace, or a filter such as `info,sidetrail_collector=debug`. By default
    /// what the configuration says, else info.
    #[arg(long, env = "SIDETRAIL_LOG")]
    log: Option<String>,
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
    /// Say whether applications can connect to the collector that runs with this configuration. For probes and hooks.
    ///
    /// Exit codes: 0 if they can, 1 if not, 64 for a configuration that cannot be used.
    Probe {
        /// Try for so long until they can, e.g. `60s`.
        #[arg(long, default_value = "0s", value_parser = waiting)]
        wait: Duration,
    },
    /// Announce the end to the collector that runs with this configuration: it ships at once, takes events as ever, and
    /// counts `shutdown_timeout` from now on. For preStop hooks.
    ///
    /// Exit codes: 0 if it was told, 64 for a configuration that cannot be used, 69 if no collector answers.
    Flush {
        /// Wait until no application is connected, at most so long, e.g. `15s`.
        #[arg(long, default_value = "0s", value_parser = waiting)]
        wait: Duration,
    },
}

fn waiting(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    duration.try_into().map_err(|_| "must not be negative".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.schema {
        println!("{:#}", Config::schema());
        return ExitCode::SUCCESS;
    }
    let config = match read(&arguments) {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("sidetrail-collector: {problem}");
            }
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match arguments.command {
        Some(Command::Explain { event, json }) => return explained(&config, &event, json),
        Some(Command::Probe { wait }) => return probed(&config, wait),
        Some(Command::Flush { wait }) => return flush(&config, wait),
        None => {}
    }
    if arguments.validate {
        println!("{} is valid", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    let logs = match Logs::start(arguments.log.clone(), config.log.as_deref()) {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("sidetrail-collector: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(run(config, &arguments.config, &logs));
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

fn probed(config: &Config, wait: Duration) -> ExitCode {
    match probe::probe(&config.listen, wait) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sidetrail-collector: no application can connect: {error}");
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

fn flush(config: &Config, wait: Duration) -> ExitCode {
    let Some(address) = config.listen.health else {
        eprintln!("sidetrail-collector: there is no listen.health, by which the collector could be told");
        return ExitCode::from(EXIT_CONFIG);
    };
    match ask::flush(address, wait) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sidetrail-collector: cannot tell the collector at {address}: {error}");
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

/// The configuration, or everything that is found to be wrong with it.
fn read(arguments: &Arguments) -> Result<Config, Vec<String>> {
    let config = Config::parse(&arguments.config).map_err(|error| vec![chain(&error)])?;
    let mut problems: Vec<_> = config.problems().iter().map(|problem| chain(problem)).collect();
    if let Err(error) = logs::check(config.log.as_deref()) {
        problems.push(error.to_string());
    }
    // A start finds out by itself.
    if arguments.validate
        && let Err(error) = check_files(&config)
    {
        problems.push(format!("configuration: {}", chain(&error)));
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

async fn run(config: Config, file: &std::path::Path, logs: &Logs) -> ExitCode {
    let mut signals = match operate::Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "cannot listen for signals");
            return ExitCode::FAILURE;
        }
    };
    // Before the start, which may take its time.
    let watch = Watch::new(file, &config);
    let started = tokio::select! {
        started = Collector::start(config, Arc::new(System)) => started,
        // It may wait for a server.
        () = signals.end() => return ExitCode::SUCCESS,
    };
    let collector = match started {
        Ok(collector) => collector,
        Err(error) => {
            tracing::error!(error = %chain(&error), "cannot start");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), health = ?collector.health_address(), "ready");
    match operate::run(collector, (file, watch), logs, &mut signals).await {
        operate::End::Asked => ExitCode::SUCCESS,
        operate::End::AskedTwice => ExitCode::FAILURE,
        operate::End::SpoolFailed => ExitCode::from(EXIT_SPOOL),
    }
}
