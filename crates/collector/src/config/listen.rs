//! Where a collector is reached.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ConfigError, wrong};

/// The longest path a Unix socket can have on Linux, without its terminating zero.
const MAX_SOCKET_PATH: usize = 107;

/// Where applications and probes reach the collector.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Unix socket for applications, e.g. `/run/sidetrail/collector.sock`.
    pub socket: Option<PathBuf>,
    /// TCP address for applications, e.g. `127.0.0.1:4319`. Loopback only: the protocol is plaintext there.
    #[schemars(with = "Option<String>")]
    pub tcp: Option<SocketAddr>,
    /// HTTP address of `/livez`, `/readyz` and `/metrics`, e.g. `127.0.0.1:9464`.
    #[schemars(with = "Option<String>")]
    pub health: Option<SocketAddr>,
}

impl Listen {
    /// Checks what the types cannot.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.socket.is_none() && self.tcp.is_none() {
            return wrong(
                "listen",
                "needs socket or tcp, or no application can reach the collector".to_owned(),
            );
        }
        if let Some(socket) = &self.socket
            && socket.as_os_str().len() > MAX_SOCKET_PATH
        {
            return wrong(
                "listen.socket",
                format!("is longer than {MAX_SOCKET_PATH} bytes: {}", socket.display()),
            );
        }
        match self.tcp {
            Some(address) if !address.ip().is_loopback() => wrong(
                "listen.tcp",
                format!("{address} is not a loopback address, and the protocol is plaintext there"),
            ),
            _ => Ok(()),
        }
    }
}
