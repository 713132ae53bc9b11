//! Who may bring events with a token, where nothing can be signed.

use jiff::Timestamp;
use sidetrail_api::sigv4::Secret;

use super::Caller;
use crate::config::{Config, ConfigError, OtlpToken, Role};

/// Somebody who may.
#[derive(Debug)]
pub(crate) struct Bringer {
    secret: Secret,
    token: OtlpToken,
}

/// Reads the tokens of a configuration.
pub(crate) fn read_bringers(
    config: &Config,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Bringer>, ConfigError> {
    let tokens = config.otlp.iter().flat_map(|otlp| &otlp.tokens).enumerate().map(|(index, token)| {
        let secret = token.token.read(&format!("otlp.tokens[{index}].token"), env)?;
        Ok(Bringer { secret, token: token.clone() })
    });
    tokens.collect()
}

impl Bringer {
    /// Whether a token is his.
    pub(crate) fn is(&self, token: &str) -> bool {
        self.secret.is(token)
    }

    /// As who he acts.
    pub(crate) fn caller(&self, now: Timestamp) -> Caller {
        let OtlpToken { account, region, user, .. } = &self.token;
        Caller {
            account: account.clone(),
            region: region.clone(),
            access_key: user.clone(),
            user: user.clone(),
            role: Role::Writer,
            at: now,
        }
    }
}
