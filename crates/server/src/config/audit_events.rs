//! Where events that are brought go.

use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_archive::key::{Account, Region};
use sidetrail_wire::connect::Address;

use super::{ConfigError, wrong};

/// Collectors that take brought events.
pub(super) const MAX_COLLECTORS: usize = 64;

/// The collector that takes the events that `PutAuditEvents` brings for an account in a region.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditEventsConfig {
    /// The account, which must be the collector's own.
    #[schemars(with = "String", regex(pattern = "^[0-9]{12}$"))]
    pub account: Account,
    /// The region, which must be the collector's own.
    #[schemars(with = "String")]
    pub region: Region,
    /// Where it listens: `unix:/run/sidetrail/collector.sock` or `http://127.0.0.1:4319`.
    pub collector: String,
}

impl AuditEventsConfig {
    pub(super) fn check(&self, at: &str, regions: &[Region]) -> Result<(), ConfigError> {
        if !regions.contains(&self.region) {
            return wrong(format!("{at}.region"), "is none of regions");
        }
        self.address(at).map(|_| ())
    }

    pub(crate) fn address(&self, at: &str) -> Result<Address, ConfigError> {
        match Address::parse(&self.collector) {
            Ok(address) if address.is_private() && !address.needs_tls() => Ok(address),
            Ok(_) => wrong(
                format!("{at}.collector"),
                "must be on this machine: a socket, or http on a loopback address",
            ),
            Err(error) => wrong(format!("{at}.collector"), error.to_string()),
        }
    }
}
