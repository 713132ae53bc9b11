//! `sidetrail-collector explain`: which trails take an event, and why.

mod read;
mod text;

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use sidetrail_record::Record;
use sidetrail_selectors::{Event, Explanation, Selectors, category};

pub use read::ReadError;

use crate::config::{Config, ConfigError};

/// Why there is no explanation, or not of all events.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The selectors of a trail.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The events.
    #[error("cannot read events from {path}")]
    Read {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: ReadError,
    },
    /// The answer cannot be written.
    #[error("cannot write")]
    Write(#[from] io::Error),
}

/// How to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object a line, for each event.
    Json,
}

/// How many events were explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// All of them.
    pub events: u64,
    /// Those that no trail takes.
    pub untaken: u64,
}

/// What the trails make of one event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfEvent<'a> {
    /// Which in the file, from 1.
    event: u64,
    #[serde(rename = "eventID", skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_name: Option<&'a str>,
    event_category: &'a str,
    taken: bool,
    trails: Vec<OfTrail<'a>>,
}

/// What one trail makes of it.
#[derive(Debug, Serialize)]
struct OfTrail<'a> {
    trail: &'a str,
    taken: bool,
    /// Absent where the trail has no selectors, and so takes everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    selectors: Option<Vec<sidetrail_selectors::SelectorExplanation>>,
}

/// Explains every event of a file: a record, records after each other, or a log file, plain or gzip. `-` is standard
/// input.
///
/// # Errors
/// If the selectors are not valid, or the file is not that. Events before the fault have been explained.
pub fn explain(
    config: &Config,
    file: &Path,
    form: Form,
    out: &mut dyn Write,
) -> Result<Explained, ExplainError> {
    let selectors = config.selectors()?;
    let trails: Vec<_> = config.trails.iter().map(|trail| trail.name.as_str()).zip(&selectors).collect();
    let mut explained = Explained::default();
    let mut broken = Ok(());
    let read = read::records(file, &mut |record| {
        explained.events += 1;
        let event = of_event(explained.events, record, &trails);
        explained.untaken += u64::from(!event.taken);
        broken = match form {
            Form::Text => text::write(&event, out),
            Form::Json => {
                serde_json::to_writer(&mut *out, &event).map_err(io::Error::from).and_then(|()| writeln!(out))
            }
        };
        broken.is_ok()
    });
    broken?;
    read.map_err(|source| ExplainError::Read { path: file.display().to_string(), source })?;
    Ok(explained)
}

fn of_event<'a>(index: u64, record: &'a Record, trails: &[(&'a str, &Option<Selectors>)]) -> OfEvent<'a> {
    let trails: Vec<_> = trails
        .iter()
        .map(|(trail, selectors)| match selectors.as_ref().map(|selectors| selectors.explain(record)) {
            Some(Explanation { taken, selectors }) => OfTrail { trail, taken, selectors: Some(selectors) },
            None => OfTrail { trail, taken: true, selectors: None },
        })
        .collect();
    OfEvent {
        event: index,
        event_id: record.event_id.as_deref(),
        event_source: record.event_source(),
        event_name: record.event_name(),
        event_category: category(record),
        taken: trails.iter().any(|trail| trail.taken),
        trails,
    }
}

#[cfg(test)]
mod tests;
