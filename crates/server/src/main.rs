//! `sidetrail-server`: reads the configuration, starts a server, ends it on a signal.

mod logs;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sidetrail_server::development::{ACCESS_KEY, development};
use sidetrail_server::{Config, Server, chain};
use tokio::signal::unix::{SignalKind, signal};

/// The configuration cannot be used: `EX_USAGE`.
const EXIT_CONFIG: u8 = 64;

/// CloudTrail's API for the AWS CLI, boto3 and the AWS SDKs.
#[derive(Debug, Parser)]
#[command(name = "sidetrail-server", version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, env = "SIDETRAIL_SERVER_CONFIG", default_value = "/etc/sidetrail/server.yaml")]
    config: PathBuf,
    /// Run without a configuration file: all that is needed is in this directory, and made if it is not there.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "validate"])]
    development: Option<PathBuf>,
    /// Check the configuration file, print all that is wrong, and end.
    #[arg(long)]
    validate: bool,
    /// Print the JSON Schema of the configuration file, and end.
    #[arg(long)]
    schema: bool,
    /// What to log: error, warn, info, debug, trace, or a filter such as `info,sidetrail_server=debug`. By default what
    /// the configuration says, else info.
    #[arg(long, env = "SIDETRAIL_LOG")]
    log: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.schema {
        println!("{:#}", Config::schema());
        return ExitCode::SUCCESS;
    }
    let config = match read(&arguments) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems),
    };
    if arguments.validate {
        println!("{} is valid", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    if let Err(error) = logs::start(arguments.log.as_deref().or(config.log.as_deref())) {
        return refuse(&[error]);
    }
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(run(config));
            // A request to a store that does not answer must not hold up the end.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("sidetrail-server: cannot start threads: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(problems: &[String]) -> ExitCode {
    for problem in problems {
        eprintln!("sidetrail-server: {problem}");
    }
    ExitCode::from(EXIT_CONFIG)
}

/// The configuration, or everything that is found to be wrong with it.
fn read(arguments: &Arguments) -> Result<Config, Vec<String>> {
    if let Some(directory) = &arguments.development {
        let made = development(directory).map_err(|error| vec![chain(&error)])?;
        if let Some(secret) = made.new_secret {
            println!("access key {ACCESS_KEY}, secret {secret}, kept in {}", made.secret_file.display());
        }
        return Ok(made.config);
    }
    let config = Config::parse(&arguments.config).map_err(|error| vec![chain(&error)])?;
    let mut problems: Vec<_> = config.problems().iter().map(|problem| chain(problem)).collect();
    problems.extend(config.log.as_deref().and_then(|filter| logs::check(filter).err()));
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

async fn run(config: Config) -> ExitCode {
    let signals = signal(SignalKind::terminate()).and_then(|it| Ok((it, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = match signals {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "cannot listen for signals");
            return ExitCode::FAILURE;
        }
    };
    let timeout = config.shutdown_timeout();
    let server = match Server::start(config, |name| std::env::var(name).ok()).await {
        Ok(server) => server,
        Err(error) => {
            tracing::error!(error = %chain(&error), "cannot start");
            return ExitCode::FAILURE;
        }
    };
    let (version, api, health) = (env!("CARGO_PKG_VERSION"), server.api_address(), server.health_address());
    tracing::info!(version, %api, control = ?server.control_address(), ?health, "ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(timeout_ms = timeout.as_millis(), "shutting down");
    tokio::select! {
        complete = server.shutdown(timeout) => {
            tracing::info!(complete, "ended");
            ExitCode::SUCCESS
        }
        _ = terminate.recv() => ExitCode::FAILURE,
        _ = interrupt.recv() => ExitCode::FAILURE,
    }
}
