//! What a collector is told of others: the one that it forwards to, and those that forward to it.

use std::path::PathBuf;

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_wire::connect::{Address, ClientTls, InvalidAddress};

use super::{ConfigError, range, wrong};

/// The most collectors that may forward at the same time.
const MAX_FORWARDERS: u32 = 1024;

/// Another collector, for trails whose destination is `gateway`. The others leave to it at shutdown what their bucket
/// does not take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Where it listens: `https://gateway.example.com:4319`, `unix:/run/sidetrail/gateway.sock` or `http://127.0.0.1:4319`.
    pub endpoint: String,
    /// For an `https` endpoint: who the gateway must be, and who this collector is.
    pub tls: Option<GatewayTls>,
    /// Allows an `http` endpoint beyond loopback: what is forwarded can be read, and changed, on its way.
    #[serde(default)]
    pub plaintext: bool,
}

/// PEM files, read anew for each connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayTls {
    /// Certificates of the authorities that may vouch for the gateway.
    pub ca: PathBuf,
    /// This collector's certificate, followed by those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// SPIFFE id that the gateway must have. Without one its certificate must be for the host of the endpoint.
    pub id: Option<String>,
}

/// Other collectors that forward to this one. Where it is left out, none may: whoever forwards can record for every
/// source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
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
    pub(crate) fn endpoint(&self) -> Result<Address, ConfigError> {
        address("gateway.endpoint", "gateway.plaintext", &self.endpoint, self.tls.as_ref(), self.plaintext)
    }
}

/// The address at `field`. What is sent to it cannot be read on the way, unless `plaintext`, which is the key `switch`, says
/// that it may.
pub(super) fn address(
    field: &str,
    switch: &str,
    text: &str,
    tls: Option<&GatewayTls>,
    plaintext: bool,
) -> Result<Address, ConfigError> {
    let tls = tls.map(|GatewayTls { ca, certificate, key, id }| ClientTls {
        ca: ca.clone(),
        certificate: certificate.clone(),
        key: key.clone(),
        id: id.clone(),
    });
    private(field, switch, text, Address::parse(text).and_then(|address| address.with_tls(tls)), plaintext)
}

/// The address at `field`, unless what is sent to it can be read on the way and `plaintext`, which is the key `switch`, does
/// not say that it may.
pub(super) fn private(
    field: &str,
    switch: &str,
    text: &str,
    address: Result<Address, InvalidAddress>,
    plaintext: bool,
) -> Result<Address, ConfigError> {
    match address {
        Ok(address) if plaintext || address.is_private() => Ok(address),
        Ok(_) => wrong(
            field,
            format!(
                "{text:?} is not on this machine, and the protocol is plaintext there; use https, or say \
                 {switch}: true to have it so"
            ),
        ),
        Err(problem) => wrong(field, problem.to_string()),
    }
}

impl Forwarders {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        range("forwarders.max", self.max, 1, MAX_FORWARDERS)?;
        range("forwarders.parcels", self.parcels, ByteSize::mib(64), ByteSize::tib(1))
    }
}
