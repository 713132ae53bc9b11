//! Logs to standard error: text for people on a terminal, JSON for everything else.

use std::io::IsTerminal;

use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

const DEFAULT: &str = "info";

/// A filter of logs that is none.
#[derive(Debug, thiserror::Error)]
#[error("{origin} {filter:?} is no filter of logs: {source}")]
pub(crate) struct InvalidFilter {
    origin: &'static str,
    filter: String,
    source: ParseError,
}

/// What is logged, and how that is changed.
pub(crate) struct Logs {
    /// The command line's word is final.
    argument: Option<String>,
    filter: reload::Handle<Targets, Registry>,
}

impl Logs {
    /// Starts to log.
    pub(crate) fn start(argument: Option<String>, configured: Option<&str>) -> Result<Self, InvalidFilter> {
        let filter = match &argument {
            Some(argument) => parse("--log", argument)?,
            None => parse("log", configured.unwrap_or(DEFAULT))?,
        };
        let (layer, filter) = reload::Layer::new(filter);
        let registry = tracing_subscriber::registry().with(layer);
        let lines = fmt::layer().with_writer(std::io::stderr);
        if std::io::stderr().is_terminal() {
            registry.with(lines).init();
        } else {
            registry.with(lines.json()).init();
        }
        Ok(Self { argument, filter })
    }

    /// Goes by another configuration.
    pub(crate) fn configure(&self, configured: Option<&str>) {
        if self.argument.is_some() {
            return;
        }
        match parse("log", configured.unwrap_or(DEFAULT)) {
            // The subscriber lives as long as the process.
            Ok(filter) => drop(self.filter.reload(filter)),
            Err(error) => tracing::warn!(%error, "logs go on as they are"),
        }
    }
}

/// Whether a configured filter is one.
pub(crate) fn check(configured: Option<&str>) -> Result<(), InvalidFilter> {
    configured.map_or(Ok(()), |filter| parse("log", filter).map(drop))
}

fn parse(origin: &'static str, filter: &str) -> Result<Targets, InvalidFilter> {
    filter.parse().map_err(|source| InvalidFilter { origin, filter: filter.to_owned(), source })
}
