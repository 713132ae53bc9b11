//! What a collector is told of others: the one that it forwards to, and those that forward to it.

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{ConfigError, range, wrong};
use crate::gateway::Endpoint;

/// The most collectors that may forward at the same time.
const MAX_FORWARDERS: u32 = 1024;

/// Another collector, for trails whose destination is `gateway`. The others leave to it at shutdown what their bucket
/// does not take.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Where it listens: `unix:/run/sidetrail/gateway.sock` or `http://127.0.0.1:4319`.
    pub endpoint: String,
    /// Allows an `http` endpoint beyond loopback: what is forwarded can be read, and changed, on its way.
    #[serde(default)]
    pub plaintext: bool,
}

/// Other collectors that forward to this one. Where it is left out, none may: whoever forwards can record for every
/// source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Forwarders {
    /// How many may forward at the same time. From 1 to 1024.
    pub max: u32,
    /// Disk space for finished batches that other collectors handed over and that wait for the bucket, e.g. `1GiB`.
    /// From `64MiB` to `1TiB`.
    #[schemars(with = "String")]
    pub parcels: ByteSize,
}

impl Default for Forwarders {
    fn default() -> Self {
        Self { max: 256, parcels: ByteSize::gib(1) }
    }
}

impl Gateway {
    /// Checks what the types cannot, and gives the endpoint.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, ConfigError> {
        let problem = match Endpoint::parse(&self.endpoint) {
            Ok(endpoint) if self.plaintext || endpoint.is_local() => return Ok(endpoint),
            Ok(_) => {
                "is not on this machine, and the protocol is plaintext there; say gateway.plaintext: true to \
                 have it so"
                    .to_owned()
            }
            Err(problem) => problem,
        };
        wrong("gateway.endpoint", format!("{:?} {problem}", self.endpoint))
    }
}

impl Forwarders {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        range("forwarders.max", self.max, 1, MAX_FORWARDERS)?;
        range("forwarders.parcels", self.parcels, ByteSize::mib(64), ByteSize::tib(1))
    }
}
