//! Logs to standard error: text for people on a terminal, JSON for everything else.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::reload::Handle;

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
    change: Box<dyn Fn(EnvFilter)>,
}

impl Logs {
    /// Starts to log.
    pub(crate) fn start(argument: Option<String>, configured: Option<&str>) -> Result<Self, InvalidFilter> {
        let filter = match &argument {
            Some(argument) => parse("--log", argument)?,
            None => parse("log", configured.unwrap_or(DEFAULT))?,
        };
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let change: Box<dyn Fn(EnvFilter)> = if std::io::stderr().is_terminal() {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            changes(handle)
        } else {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            changes(handle)
        };
        Ok(Self { argument, change })
    }

    /// Goes by another configuration.
    pub(crate) fn configure(&self, configured: Option<&str>) {
        if self.argument.is_some() {
            return;
        }
        match parse("log", configured.unwrap_or(DEFAULT)) {
            Ok(filter) => (self.change)(filter),
            Err(error) => tracing::warn!(%error, "logs go on as they are"),
        }
    }
}

/// Whether a configured filter is one.
pub(crate) fn check(configured: Option<&str>) -> Result<(), InvalidFilter> {
    configured.map_or(Ok(()), |filter| parse("log", filter).map(drop))
}

fn parse(origin: &'static str, filter: &str) -> Result<EnvFilter, InvalidFilter> {
    EnvFilter::try_new(filter).map_err(|source| InvalidFilter { origin, filter: filter.to_owned(), source })
}

fn changes<S: 'static>(handle: Handle<EnvFilter, S>) -> Box<dyn Fn(EnvFilter)> {
    Box::new(move |filter| {
        // The subscriber lives as long as the process.
        let _ = handle.reload(filter);
    })
}
