//! How much is taken at a time.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_api::{Operation, Rate};

use super::{ConfigError, wrong};

/// How much is taken at a time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests that are under way at once; one more is told to come again.
    #[schemars(range(min = 1, max = 65536))]
    pub requests: usize,
    /// How often an account may ask for an operation in a region.
    pub throttling: Throttling,
    /// What differs from that, by operation: `LookupEvents: { requests: 20, seconds: 1 }`.
    pub rates: BTreeMap<String, RateLimit>,
}

/// How often an account may ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Throttling {
    /// As CloudTrail has it: reads ten times a second, changes once, `LookupEvents` twice.
    #[default]
    Cloudtrail,
    /// As often as it likes.
    Off,
}

/// So many requests in so many seconds.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// 1 to 100,000.
    #[schemars(range(min = 1, max = 100_000))]
    pub requests: u32,
    /// 1 to 3600.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 3600))]
    pub seconds: u32,
}

fn one() -> u32 {
    1
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests: 256, throttling: Throttling::default(), rates: BTreeMap::new() }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(1..=65536).contains(&self.requests) {
            return wrong("limits.requests", format!("is {}, allowed are 1 to 65536", self.requests));
        }
        for (name, rate) in &self.rates {
            let at = format!("limits.rates.{name}");
            if !Operation::ALL.iter().any(|operation| operation.name() == name) {
                return wrong(at, "is no operation of the API");
            }
            if !(1..=100_000).contains(&rate.requests) || !(1..=3600).contains(&rate.seconds) {
                return wrong(at, "must have 1 to 100000 requests in 1 to 3600 seconds");
            }
        }
        Ok(())
    }

    /// How often an account may ask for it.
    #[must_use]
    pub fn rate(&self, operation: Operation) -> Option<Rate> {
        match (self.rates.get(operation.name()), self.throttling) {
            (Some(RateLimit { requests, seconds }), _) => {
                Some(Rate { requests: *requests, seconds: *seconds })
            }
            (None, Throttling::Cloudtrail) => Some(operation.rate()),
            (None, Throttling::Off) => None,
        }
    }
}
