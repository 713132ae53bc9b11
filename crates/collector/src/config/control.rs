//! The server that a collector keeps in touch with.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_wire::connect::Address;

use super::gateway::address;
use super::{ConfigError, GatewayTls, ObjectLock, Rotate};

/// A server, which is told how the collector is and says which trails it fills. Nothing waits for it: what it said last is
/// kept in the spool directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Where it listens for collectors: `https://sidetrail.example.com:8422` or `http://127.0.0.1:8422`.
    pub server: String,
    /// For an `https` server: who it must be, and who this collector is.
    pub tls: Option<GatewayTls>,
    /// Allows an `http` server beyond loopback: what goes to and fro can be read, and changed, on its way.
    #[serde(default)]
    pub plaintext: bool,
    /// File with the token by which the server lets this collector join, if not by a certificate.
    pub join_token: Option<PathBuf>,
    /// Whether the server's trails are filled, beside those of this file.
    #[serde(default = "yes")]
    pub trails: bool,
    /// When log files of the server's trails are finished.
    #[serde(default)]
    pub rotate: Rotate,
    /// Locks every object that the server's trails store.
    pub object_lock: Option<ObjectLock>,
}

fn yes() -> bool {
    true
}

impl Control {
    /// Checks what the types cannot, and gives the address.
    pub(crate) fn address(&self) -> Result<Address, ConfigError> {
        address("control.server", "control.plaintext", &self.server, self.tls.as_ref(), self.plaintext)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.rotate.check("control")?;
        self.address().map(|_| ())
    }
}
