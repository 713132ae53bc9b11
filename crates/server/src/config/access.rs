//! Access keys: who may ask for what.

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_api::Access;
use sidetrail_api::sigv4::Secret;
use sidetrail_archive::key::Account;

use super::{ConfigError, wrong};

/// Characters of a secret.
const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 16..=1024;

/// An access key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    /// What requests call it: 16 to 128 letters, digits and `_`.
    #[schemars(regex(pattern = "^[A-Za-z0-9_]{16,128}$"))]
    pub id: String,
    /// Where its secret is.
    pub secret: SecretSource,
    /// Where the session token is that must come with it, if it is a temporary key.
    pub session_token: Option<SecretSource>,
    /// Until when it is good, e.g. `2026-12-31T00:00:00Z`; for ever without it.
    #[schemars(with = "Option<String>")]
    pub expires: Option<Timestamp>,
    /// The account that it acts in.
    #[schemars(with = "String", regex(pattern = "^[0-9]{12}$"))]
    pub account: Account,
    /// The user that it belongs to, in records and messages: letters, digits and any of `+=,.@_-`.
    #[schemars(regex(pattern = "^[A-Za-z0-9+=,.@_-]{1,64}$"))]
    pub user: String,
    /// What it may do.
    pub role: Role,
}

/// Where a secret is: one of the two. It is never in the configuration itself.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretSource {
    /// A file that holds nothing else; white space at its end is not part of it.
    pub file: Option<PathBuf>,
    /// An environment variable.
    pub env: Option<String>,
}

/// What an access key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// See and change trails, and read events.
    TrailManager,
    /// See trails, and read events.
    Auditor,
    /// Bring events, and nothing else.
    Writer,
}

impl Role {
    /// As the configuration has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::TrailManager => "trail_manager",
            Self::Auditor => "auditor",
            Self::Writer => "writer",
        }
    }

    /// Whether it may do such things.
    #[must_use]
    pub fn may(self, access: Access) -> bool {
        match self {
            Self::Admin => true,
            Self::TrailManager => matches!(access, Access::Read | Access::ReadEvents | Access::Trails),
            Self::Auditor => matches!(access, Access::Read | Access::ReadEvents),
            Self::Writer => access == Access::WriteEvents,
        }
    }
}

impl AccessKey {
    pub(super) fn check(&self, at: &str) -> Result<(), ConfigError> {
        let word = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
        if !(16..=128).contains(&self.id.len()) || !self.id.bytes().all(word) {
            return wrong(format!("{at}.id"), "is no access key id: 16 to 128 letters, digits and _");
        }
        for (member, source) in
            [("secret", Some(&self.secret)), ("session_token", self.session_token.as_ref())]
        {
            if source.is_some_and(|source| source.file.is_some() == source.env.is_some()) {
                return wrong(format!("{at}.{member}"), "must name either a file or a variable (env)");
            }
        }
        let name = |it: u8| it.is_ascii_alphanumeric() || b"+=,.@_-".contains(&it);
        if !(1..=64).contains(&self.user.len()) || !self.user.bytes().all(name) {
            return wrong(format!("{at}.user"), "is no user: 1 to 64 letters, digits and any of +=,.@_-");
        }
        Ok(())
    }
}

impl SecretSource {
    /// Reads it. Errors name the place and never what is there.
    ///
    /// # Errors
    /// If it is not there, or has not 16 to 1024 characters.
    pub fn read(&self, at: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, ConfigError> {
        let (place, text) = match (&self.file, &self.env) {
            (Some(path), None) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
                (path.display().to_string(), text.trim_end().to_owned())
            }
            (None, Some(name)) => match env(name) {
                Some(text) => (name.clone(), text),
                None => return wrong(at, format!("names the variable {name}, which is not set")),
            },
            _ => return wrong(at, "must name either a file or a variable (env)"),
        };
        if !SECRET_LENGTH.contains(&text.chars().count()) || !text.bytes().all(|it| it.is_ascii_graphic()) {
            let (min, max) = (SECRET_LENGTH.start(), SECRET_LENGTH.end());
            return wrong(
                at,
                format!("in {place} must have {min} to {max} printable ASCII characters, no spaces"),
            );
        }
        Ok(Secret::new(text))
    }
}
