//! Who may bring events as OpenTelemetry's logs.

use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_archive::key::{Account, Region};

use super::{AuditEventsConfig, ConfigError, SecretSource, count, wrong};

/// Tokens of one server.
const MAX_TOKENS: usize = 1024;

/// Events of OpenTelemetry's SDKs and collectors are taken, OTLP over HTTP at `/v1/logs` of the API's address.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtlpConfig {
    /// Who may bring them: `OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20TOKEN"`.
    #[schemars(length(min = 1, max = 1024))]
    pub tokens: Vec<OtlpToken>,
}

/// What lets somebody bring events.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtlpToken {
    /// Where the token is.
    pub token: SecretSource,
    /// The account that the events are recorded for.
    #[schemars(with = "String", regex(pattern = "^[0-9]{12}$"))]
    pub account: Account,
    /// And the region: `audit_events` must have a collector for both.
    #[schemars(with = "String")]
    pub region: Region,
    /// Who that is, in records of the server's own calls: letters, digits and any of `+=,.@_-`.
    #[schemars(regex(pattern = "^[A-Za-z0-9+=,.@_-]{1,64}$"))]
    pub user: String,
}

impl OtlpConfig {
    pub(super) fn check(&self, takers: &[AuditEventsConfig]) -> Result<(), ConfigError> {
        count("otlp.tokens", self.tokens.len(), 1, MAX_TOKENS)?;
        for (index, token) in self.tokens.iter().enumerate() {
            let at = format!("otlp.tokens[{index}]");
            if token.token.file.is_some() == token.token.env.is_some() {
                return wrong(format!("{at}.token"), "must name either a file or a variable (env)");
            }
            let takes = |it: &AuditEventsConfig| (&it.account, &it.region) == (&token.account, &token.region);
            if !takers.iter().any(takes) {
                return wrong(at, "is for an account and region that audit_events has no collector for");
            }
            let name = |it: u8| it.is_ascii_alphanumeric() || b"+=,.@_-".contains(&it);
            if !(1..=64).contains(&token.user.len()) || !token.user.bytes().all(name) {
                return wrong(format!("{at}.user"), "is no user: 1 to 64 letters, digits and any of +=,.@_-");
            }
        }
        Ok(())
    }
}
