//! Where collectors keep in touch.

use std::net::SocketAddr;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_archive::key::{Account, Region};

use super::{ConfigError, SecretSource, count, wrong};

/// Join tokens of one server.
const MAX_TOKENS: usize = 1024;

/// Where collectors keep in touch: they tell how they are, and are told which trails to fill.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// Address for collectors, e.g. `127.0.0.1:8422`; gRPC.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Lets it be reached from other hosts without TLS, behind a proxy or in a mesh that has it. Join tokens, and what
    /// collectors are told, are not encrypted.
    #[serde(default)]
    pub unencrypted_beyond_loopback: bool,
    /// Who may join.
    #[schemars(length(min = 1, max = 1024))]
    pub join_tokens: Vec<JoinToken>,
    /// How often collectors tell how they are: `1s` to `5m`.
    #[serde(default = "ten_seconds")]
    #[schemars(with = "String")]
    pub interval: SignedDuration,
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
        count("control.join_tokens", self.join_tokens.len(), 1, MAX_TOKENS)?;
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
        if self.listen.ip().is_loopback() || self.unencrypted_beyond_loopback {
            return Ok(());
        }
        wrong(
            "control.listen",
            format!(
                "{} is not a loopback address, and the protocol is not encrypted: put a proxy with TLS in front, and say \
                 unencrypted_beyond_loopback",
                self.listen
            ),
        )
    }
}
