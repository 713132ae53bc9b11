//! `sidetrail-injector`: reads its configuration, runs, and ends on SIGTERM.
//!
//! Exit codes: 0 after a shutdown, 1 if it could not start, 64 for a configuration that cannot be used.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sidetrail_injector::chain;
use sidetrail_injector::config::Config;
use sidetrail_injector::kube::Client;
use sidetrail_injector::run::{Identity, Injector};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const EXIT_CONFIG: u8 = 64;
/// Where Kubernetes tells a pod its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Puts Sidetrail's collector into the pods of namespaces that are labelled sidetrail.dev/inject=enabled.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file, YAML.
    #[arg(long, env = "SIDETRAIL_INJECTOR_CONFIG", default_value = "/etc/sidetrail/injector.yaml")]
    config: PathBuf,
    /// Check the configuration file, print all that is wrong, and end.
    #[arg(long)]
    validate: bool,
    /// Print the JSON Schema of the configuration file, and end.
    #[arg(long)]
    schema: bool,
    /// What to log: error, warn, info, debug, trace, or a filter. By default what the configuration says, else info.
    #[arg(long, env = "SIDETRAIL_LOG")]
    log: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.schema {
        println!("{:#}", Config::schema());
        return ExitCode::SUCCESS;
    }
    let (config, filter) = match read(&arguments) {
        Ok(read) => read,
        Err(problems) => {
            for problem in problems {
                eprintln!("sidetrail-injector: {problem}");
            }
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if arguments.validate {
        println!("{} is valid", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        registry.with(lines).init();
    } else {
        registry.with(lines.json()).init();
    }
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(run(config)),
        Err(error) => {
            eprintln!("sidetrail-injector: cannot start threads: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The configuration and what is logged, or everything that is found to be wrong.
fn read(arguments: &Arguments) -> Result<(Config, Targets), Vec<String>> {
    let config = Config::parse(&arguments.config).map_err(|error| vec![chain(&error)])?;
    let mut problems: Vec<_> = config.problems().iter().map(|problem| chain(problem)).collect();
    let filter = arguments.log.as_ref().or(config.log.as_ref()).map_or("info", String::as_str);
    match filter.parse::<Targets>() {
        Ok(filter) if problems.is_empty() => return Ok((config, filter)),
        Ok(_) => {}
        Err(error) => problems.push(format!("log {filter:?} is no filter of logs: {error}")),
    }
    Err(problems)
}

async fn run(config: Config) -> ExitCode {
    let delay = config.shutdown_delay();
    let signals =
        signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = match signals {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "cannot listen for signals");
            return ExitCode::FAILURE;
        }
    };
    let started = async {
        let client = Client::in_cluster().map_err(|error| chain(&error))?;
        if !config.collector.image.contains("@sha256:") {
            tracing::warn!(image = config.collector.image, "the collector's image is not given by digest");
        }
        Injector::start(config, client, identity()?).await.map_err(|error| chain(&error))
    };
    let injector = match started.await {
        Ok(injector) => injector,
        Err(error) => {
            tracing::error!(error, "cannot start");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), webhooks = %injector.address, health = %injector.health, "ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(delay_ms = delay.as_millis(), "shutting down");
    tokio::select! {
        () = injector.shutdown(delay) => ExitCode::SUCCESS,
        _ = terminate.recv() => ExitCode::FAILURE,
        _ = interrupt.recv() => ExitCode::FAILURE,
    }
}

fn identity() -> Result<Identity, String> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let namespace = variable("POD_NAMESPACE")
        .or_else(|| std::fs::read_to_string(NAMESPACE_FILE).ok())
        .map(|namespace| namespace.trim().to_owned())
        .ok_or("POD_NAMESPACE is not set, and the pod's namespace is not known otherwise")?;
    let pod = variable("POD_NAME")
        .or_else(|| variable("HOSTNAME"))
        .unwrap_or_else(|| "sidetrail-injector".to_owned());
    Ok(Identity { pod, namespace })
}
