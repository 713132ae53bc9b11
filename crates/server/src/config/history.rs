//! Event history, in the configuration.

use std::path::PathBuf;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use super::{ConfigError, wrong};

/// How often buckets may be looked at.
const INTERVALS: (SignedDuration, SignedDuration) =
    (SignedDuration::from_millis(100), SignedDuration::from_hours(1));
/// The shortest window.
const MIN_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Event history: what `LookupEvents` answers from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// Directory of the index: some 250 bytes an event. It is a cache, made again from the bucket whenever it is gone.
    /// Without it the index is in a temporary directory, and made at each start.
    pub cache: Option<PathBuf>,
    /// How far back events can be looked up: `90d`, as CloudTrail has it, or longer where old records were imported.
    #[serde(deserialize_with = "in_days")]
    #[schemars(with = "String")]
    pub window: SignedDuration,
    /// How often to look for new log files, e.g. `2s`.
    #[schemars(with = "String")]
    pub interval: SignedDuration,
}

impl Default for History {
    fn default() -> Self {
        Self {
            cache: None,
            window: SignedDuration::from_hours(90 * 24),
            interval: SignedDuration::from_secs(2),
        }
    }
}

/// A duration whose text may have days, which are 24 hours long.
fn in_days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
    let span: Span = String::deserialize(deserializer)?.parse().map_err(de::Error::custom)?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(de::Error::custom)
}

impl History {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.window < MIN_WINDOW {
            return wrong("history.window", format!("is {:#}, the shortest is 1h", self.window));
        }
        let (min, max) = INTERVALS;
        if (min..=max).contains(&self.interval) {
            return Ok(());
        }
        wrong("history.interval", format!("is {:#}, allowed are 100ms to 1h", self.interval))
    }
}
