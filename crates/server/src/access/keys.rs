//! The access keys of a configuration.

use std::collections::HashMap;

use jiff::Timestamp;
use sidetrail_api::sigv4::{Claim, Expected, Request, SKEW, Secret};
use sidetrail_api::{Code, Error, Operation, quoted};
use sidetrail_archive::key::Region;

use super::Caller;
use crate::config::{AccessKey, Config, ConfigError};

/// All access keys and their secrets.
#[derive(Debug)]
pub(crate) struct Keys {
    keys: HashMap<String, Key>,
    regions: Vec<Region>,
}

#[derive(Debug)]
struct Key {
    key: AccessKey,
    secret: Secret,
    session_token: Option<Secret>,
}

impl Keys {
    /// Reads the secrets.
    pub(crate) fn read(config: &Config, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut keys = HashMap::new();
        for (index, key) in config.access_keys.iter().enumerate() {
            let at = |member| format!("access_keys[{index}].{member}");
            let secret = key.secret.read(&at("secret"), env)?;
            let token = key.session_token.as_ref().map(|token| token.read(&at("session_token"), env));
            let key = Key { key: key.clone(), secret, session_token: token.transpose()? };
            keys.insert(key.key.id.clone(), key);
        }
        Ok(Self { keys, regions: config.regions.clone() })
    }

    /// Who signed a request for an operation.
    pub(crate) fn authenticate(
        &self,
        request: &Request<'_>,
        operation: Operation,
        now: Timestamp,
    ) -> Result<Caller, Error> {
        let claim = Claim::of(request)?;
        let unknown =
            || Error::new(Code::UnrecognizedClient, "The security token included in the request is invalid.");
        let Key { key, secret, session_token } = self.keys.get(&claim.access_key).ok_or_else(unknown)?;
        let expected = Expected { now, service: operation.service().signing_name(), skew: SKEW };
        claim.verify(request, secret, expected)?;
        match (session_token, &claim.session_token) {
            (None, None) => {}
            (Some(token), Some(sent)) if token.is(sent) => {}
            _ => return Err(unknown()),
        }
        if key.expires.is_some_and(|expires| expires <= now) {
            let message = "The security token included in the request is expired";
            return Err(Error::new(Code::ExpiredToken, message));
        }
        let Some(region) = self.regions.iter().find(|region| region.as_str() == claim.region) else {
            let region = quoted(&claim.region);
            return Err(Error::new(
                Code::InvalidSignature,
                format!("Credential should be scoped to a valid region, and {region} is not served here."),
            ));
        };
        Ok(Caller {
            account: key.account.clone(),
            region: region.clone(),
            access_key: key.id.clone(),
            user: key.user.clone(),
            role: key.role,
            at: now,
        })
    }
}
