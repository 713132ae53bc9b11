//! Where collectors keep in touch.

use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_archive::key::{Account, Region};

use sidetrail_wire::peer::PeerPattern;

use super::{ConfigError, Kubernetes, SecretSource, count, wrong};

/// Join tokens of one server, and entries for certificates.
const MAX_ENTRIES: usize = 1024;
/// Patterns of one entry for certificates, and of all.
const MAX_PEERS: usize = 256;

/// Where collectors keep in touch: they tell how they are, and are told which trails to fill.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// Address for collectors, e.g. `127.0.0.1:8422`; gRPC.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// TLS 1.3 there.
    pub tls: Option<ControlTls>,
    /// Lets it be reached from other hosts without TLS, behind a proxy or in a mesh that has it. Tokens, and what
    /// collectors are told, are not encrypted.
    #[serde(default)]
    pub unencrypted_beyond_loopback: bool,
    /// Who may join with a token that is a shared secret.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub join_tokens: Vec<JoinToken>,
    /// Who may join with a certificate of `tls.client_ca`. The first entry that admits it counts.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub join_certificates: Vec<JoinCertificates>,
    /// Which pods may join with the token of their ServiceAccount.
    pub kubernetes: Option<Kubernetes>,
    /// How often collectors tell how they are: `1s` to `5m`.
    #[serde(default = "ten_seconds")]
    #[schemars(with = "String")]
    pub interval: SignedDuration,
}

/// Who this server is, as PEM files. They are read anew every few seconds, and taken when they are valid.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlTls {
    /// Its certificate, followed by those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// Certificates of the authorities that may vouch for collectors, for `join_certificates`.
    pub client_ca: Option<PathBuf>,
}

/// Certificates that let collectors join.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinCertificates {
    /// Which: `spiffe://domain/path`, `spiffe://domain/path/*`, `spiffe://domain/*`, `name.example.com`,
    /// `*.example.com`, or `*` for all of the authorities'.
    #[schemars(with = "Vec<String>", length(min = 1, max = 256))]
    pub peers: Vec<PeerPattern>,
    /// The account that such collectors record for.
    #[schemars(with = "String", regex(pattern = "^[0-9]{12}$"))]
    pub account: Account,
    /// The region, if it is for one only.
    #[schemars(with = "Option<String>")]
    pub region: Option<Region>,
}

/// What lets collectors join, as many as have it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinToken {
    /// Where the token is.
    pub token: SecretSource,
    /// The account that such collectors record for.
    #[schemars(with = "String", regex(pattern = "^[0-9]{12}$"))]
    pub account: Account,
    /// The region, if it is for one only.
    #[schemars(with = "Option<String>")]
    pub region: Option<Region>,
}

fn ten_seconds() -> SignedDuration {
    SignedDuration::from_secs(10)
}

impl ControlConfig {
    pub(super) fn check(&self, regions: &[Region]) -> Result<(), ConfigError> {
        count("control.join_tokens", self.join_tokens.len(), 0, MAX_ENTRIES)?;
        count("control.join_certificates", self.join_certificates.len(), 0, MAX_ENTRIES)?;
        if self.join_tokens.is_empty() && self.join_certificates.is_empty() && self.kubernetes.is_none() {
            return wrong("control", "needs join_tokens, join_certificates or kubernetes: nobody could join");
        }
        self.kubernetes.as_ref().map_or(Ok(()), |kubernetes| kubernetes.check(regions))?;
        self.check_certificates(regions)?;
        let (min, max) = (SignedDuration::from_secs(1), SignedDuration::from_mins(5));
        if !(min..=max).contains(&self.interval) {
            return wrong(
                "control.interval",
                format!("is {:#}, allowed are {min:#} to {max:#}", self.interval),
            );
        }
        for (index, token) in self.join_tokens.iter().enumerate() {
            let at = format!("control.join_tokens[{index}]");
            if token.token.file.is_some() == token.token.env.is_some() {
                return wrong(format!("{at}.token"), "must name either a file or a variable (env)");
            }
            if token.region.as_ref().is_some_and(|region| !regions.contains(region)) {
                return wrong(format!("{at}.region"), "is none of regions");
            }
        }
        if self.tls.is_some() || self.listen.ip().is_loopback() || self.unencrypted_beyond_loopback {
            return Ok(());
        }
        wrong(
            "control.listen",
            format!(
                "{} is not a loopback address, and tokens would not be encrypted: give control.tls a certificate, or put a \
                 proxy with TLS in front and say unencrypted_beyond_loopback",
                self.listen
            ),
        )
    }

    fn check_certificates(&self, regions: &[Region]) -> Result<(), ConfigError> {
        let has_authorities = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if has_authorities == self.join_certificates.is_empty() {
            return wrong(
                "control.join_certificates",
                "and control.tls.client_ca need each other: who vouches, and who may join by that",
            );
        }
        let mut patterns = 0;
        for (index, entry) in self.join_certificates.iter().enumerate() {
            let at = format!("control.join_certificates[{index}]");
            count(&format!("{at}.peers"), entry.peers.len(), 1, MAX_PEERS)?;
            patterns += entry.peers.len();
            if entry.region.as_ref().is_some_and(|region| !regions.contains(region)) {
                return wrong(format!("{at}.region"), "is none of regions");
            }
        }
        count("control.join_certificates, all peers of it,", patterns, 0, MAX_PEERS)
    }
}
