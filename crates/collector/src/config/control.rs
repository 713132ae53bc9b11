//! The server that a collector keeps in touch with.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_wire::connect::{Address, ClientTls, InvalidAddress, ServerTls};

use super::gateway::private;
use super::{ConfigError, ObjectLock, Rotate, wrong};

/// A server, which is told how the collector is and says which trails it fills. Nothing waits for it: what it said last is
/// kept in the spool directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Where it listens for collectors: `https://sidetrail.example.com:8422` or `http://127.0.0.1:8422`.
    pub server: String,
    /// For an `https` server: who it must be, and who this collector is.
    pub tls: Option<ControlTls>,
    /// Allows an `http` server beyond loopback: what goes to and fro can be read, and changed, on its way.
    #[serde(default)]
    pub plaintext: bool,
    /// File with the token by which the server lets this collector join, if not by a certificate.
    pub join_token: Option<PathBuf>,
    /// In a pod, instead of that: file with the token of its ServiceAccount, a projected volume's, for the audience that the
    /// server wants. It is read anew for each stream, since the kubelet renews it, and the server asks for a new stream
    /// before a token is over.
    pub token_file: Option<PathBuf>,
    /// Whether the server's trails are filled, beside those of this file.
    #[serde(default = "yes")]
    pub trails: bool,
    /// When log files of the server's trails are finished.
    #[serde(default)]
    pub rotate: Rotate,
    /// Locks every object that the server's trails store.
    pub object_lock: Option<ObjectLock>,
}

/// PEM files, read anew for each connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlTls {
    /// Certificates of the authorities that may vouch for the server.
    pub ca: PathBuf,
    /// This collector's certificate, followed by those between it and the authority. Who joins with a token needs none.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// SPIFFE id that the server must have. Without one its certificate must be for the host of `server`.
    pub id: Option<String>,
}

impl ControlTls {
    fn of(&self, address: Address) -> Result<Address, InvalidAddress> {
        let Self { ca, certificate, key, id } = self.clone();
        match certificate.zip(key) {
            Some((certificate, key)) => address.with_tls(Some(ClientTls { ca, certificate, key, id })),
            None => address.with_server_tls(ServerTls { ca, id }),
        }
    }
}

fn yes() -> bool {
    true
}

impl Control {
    /// Checks what the types cannot, and gives the address.
    pub(crate) fn address(&self) -> Result<Address, ConfigError> {
        let address = Address::parse(&self.server).and_then(|address| match &self.tls {
            Some(tls) => tls.of(address),
            None => address.with_tls(None),
        });
        private("control.server", "control.plaintext", &self.server, address, self.plaintext)
    }

    /// The file with the token that is shown to the server.
    pub(crate) fn token(&self) -> Option<&PathBuf> {
        self.token_file.as_ref().or(self.join_token.as_ref())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.rotate.check("control")?;
        if self.token_file.is_some() && self.join_token.is_some() {
            return wrong(
                "control.token_file",
                "cannot be beside join_token: one of them is shown".to_owned(),
            );
        }
        if self.tls.as_ref().is_some_and(|tls| tls.certificate.is_some() != tls.key.is_some()) {
            return wrong("control.tls", "has one of certificate and key, and needs both or none".to_owned());
        }
        self.address().map(|_| ())
    }
}
