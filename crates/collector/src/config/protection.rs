//! What keeps a trail's objects from being deleted and read.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ConfigError, range, wrong};

/// The longest retention: a hundred years, as S3 has it.
const MAX_DAYS: u32 = 36_500;
/// The longest name of a key.
const MAX_KEY: usize = 2048;

/// Object Lock: objects that cannot be deleted for a while. The bucket must have been made with it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectLock {
    /// `governance`: those with a permission for it may shorten it; `compliance`: nobody may.
    pub mode: LockMode,
    /// For how many days from delivery. From 1 to 36500.
    #[schemars(range(min = 1, max = 36500))]
    pub days: u32,
    /// Whether objects are also held until somebody takes the hold off.
    #[serde(default)]
    pub legal_hold: bool,
    /// Whether nothing may be shipped that cannot be locked. Events then wait in the spool; without, they are shipped, the
    /// lock is tried again, and a metric says so.
    #[serde(default)]
    pub require: bool,
}

/// Who may shorten a retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Those with the permission to.
    Governance,
    /// Nobody.
    Compliance,
}

/// Encryption by the store.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    /// `sse-s3`: by keys of the store; `sse-kms`: by a key of its key management.
    #[serde(rename = "type")]
    pub kind: EncryptionKind,
    /// For `sse-kms`: id or ARN of the key. Where it is left out, the store takes its default.
    pub key: Option<String>,
    /// For `sse-kms`: whether the store may use a key of the bucket, which saves requests.
    #[serde(default)]
    pub bucket_key: bool,
}

/// Whose keys encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EncryptionKind {
    /// The store's.
    SseS3,
    /// Those of its key management.
    SseKms,
}

impl ObjectLock {
    pub(super) fn check(&self, at: &str, destination: &str) -> Result<(), ConfigError> {
        range(&format!("{at}.object_lock.days"), self.days, 1, MAX_DAYS)?;
        needs_s3(&format!("{at}.object_lock"), destination)
    }
}

impl Encryption {
    pub(super) fn check(&self, at: &str, destination: &str) -> Result<(), ConfigError> {
        if self.kind == EncryptionKind::SseS3 && (self.key.is_some() || self.bucket_key) {
            return wrong(
                &format!("{at}.encryption"),
                "has a key or bucket_key, which only sse-kms takes".to_owned(),
            );
        }
        let is_key = |key: &String| {
            !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !self.key.as_ref().is_none_or(is_key) {
            return wrong(&format!("{at}.encryption.key"), "is no key id or ARN".to_owned());
        }
        needs_s3(&format!("{at}.encryption"), destination)
    }

    /// What the store's client is told by this variable, instead of by the environment.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let kms = self.kind == EncryptionKind::SseKms;
        match name {
            "AWS_SERVER_SIDE_ENCRYPTION" => Some(if kms { "aws:kms" } else { "AES256" }.to_owned()),
            "AWS_SSE_KMS_KEY_ID" => self.key.clone(),
            "AWS_SSE_BUCKET_KEY_ENABLED" => kms.then(|| self.bucket_key.to_string()),
            _ => None,
        }
    }

    /// How a store calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            EncryptionKind::SseS3 => "AES256",
            EncryptionKind::SseKms => "aws:kms",
        }
    }
}

/// The variables that [`Encryption::variable`] stands in for.
pub(crate) fn is_encryption(name: &str) -> bool {
    matches!(name, "AWS_SERVER_SIDE_ENCRYPTION" | "AWS_SSE_KMS_KEY_ID" | "AWS_SSE_BUCKET_KEY_ENABLED")
}

fn needs_s3(field: &str, destination: &str) -> Result<(), ConfigError> {
    if destination.starts_with("s3://") {
        return Ok(());
    }
    wrong(field, format!("needs a destination s3://bucket, not {destination}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(lock: &str, destination: &str) -> String {
        match serde_norway::from_str::<ObjectLock>(lock) {
            Ok(lock) => {
                lock.check("trails[0]", destination).err().map_or(String::new(), |error| error.to_string())
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn errors_name_the_key() {
        assert_eq!(error("{ mode: compliance, days: 1, legal_hold: true, require: true }", "s3://b"), "");
        for (lock, destination, expected) in [
            ("{ mode: compliance, days: 0 }", "s3://b", "trails[0].object_lock.days is 0"),
            ("{ mode: forever, days: 1 }", "s3://b", "forever"),
            ("{ days: 1 }", "s3://b", "mode"),
            ("{ mode: governance, days: 1 }", "/bucket", "trails[0].object_lock needs a destination s3://"),
        ] {
            let message = error(lock, destination);
            assert!(message.contains(expected), "{message:?} does not say {expected:?}");
        }
        let check = |yaml| serde_norway::from_str::<Encryption>(yaml).unwrap().check("trails[0]", "s3://b");
        assert!(check("{ type: sse-kms, key: 'arn:aws:kms:a:b:key/c', bucket_key: true }").is_ok());
        assert!(check("{ type: sse-s3, key: a }").unwrap_err().to_string().contains("only sse-kms"));
        assert!(check("{ type: sse-kms, key: 'a b' }").unwrap_err().to_string().contains("encryption.key"));
    }
}
