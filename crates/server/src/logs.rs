//! Logs to standard error: text for people on a terminal, JSON for everything else.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts to log.
pub(crate) fn start(filter: Option<&str>) -> Result<(), String> {
    let registry = tracing_subscriber::registry().with(check(filter.unwrap_or("info"))?);
    let lines = fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        registry.with(lines).init();
    } else {
        registry.with(lines.json()).init();
    }
    Ok(())
}

/// The filter that a text stands for.
pub(crate) fn check(filter: &str) -> Result<Targets, String> {
    filter.parse().map_err(|error| format!("{filter:?} is no filter of logs: {error}"))
}
