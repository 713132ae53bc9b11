//! What the API server believes the webhooks by: a certificate of the injector's own authority, or files.

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{ConfigError, range, wrong};

/// What the API server believes the webhooks by.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Certificates {
    /// An authority of the injector's own, kept in a Secret; the webhook configurations get its certificate.
    #[serde(rename = "self")]
    SelfManaged(SelfManaged),
    /// Files, of cert-manager or whoever. They are read again when they have changed.
    Files(Files),
}

impl Default for Certificates {
    fn default() -> Self {
        Self::SelfManaged(SelfManaged::default())
    }
}

/// An authority of the injector's own.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SelfManaged {
    /// Service of the webhooks: the certificate is for `SERVICE.NAMESPACE.svc`.
    pub service: String,
    /// Secret that holds authority and certificate. Made if it is not there.
    pub secret: String,
    /// Lease by which replicas agree on who renews them.
    pub lease: String,
    /// Webhook configurations whose `caBundle` is kept.
    pub webhooks: Webhooks,
    /// How long what is made is good for.
    pub validity: Validity,
}

impl Default for SelfManaged {
    fn default() -> Self {
        Self {
            service: "sidetrail-injector".to_owned(),
            secret: "sidetrail-injector-certificates".to_owned(),
            lease: "sidetrail-injector".to_owned(),
            webhooks: Webhooks::default(),
            validity: Validity::default(),
        }
    }
}

/// Webhook configurations whose `caBundle` is kept.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// MutatingWebhookConfiguration.
    pub mutating: Option<String>,
    /// ValidatingWebhookConfiguration, if there is one.
    pub validating: Option<String>,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self { mutating: Some("sidetrail-injector".to_owned()), validating: None }
    }
}

/// How long authority and certificate are good for. Each is renewed when two thirds of that are over.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Validity {
    /// The authority. From `1h` to `87600h`.
    #[schemars(with = "String")]
    pub authority: SignedDuration,
    /// The certificate of the webhooks. From `15m` to `authority`.
    #[schemars(with = "String")]
    pub serving: SignedDuration,
    /// How long two authorities are believed when one follows the other, before and after the certificate is of the new
    /// one: what every API server and every replica needs to hear of it. From `10s` to `1h`, and a sixth of `serving`
    /// at most.
    #[schemars(with = "String")]
    pub overlap: SignedDuration,
}

impl Default for Validity {
    fn default() -> Self {
        Self {
            authority: SignedDuration::from_hours(8760),
            serving: SignedDuration::from_hours(720),
            overlap: SignedDuration::from_mins(5),
        }
    }
}

impl Validity {
    /// How long two authorities are believed.
    #[must_use]
    pub fn overlap(&self) -> Duration {
        self.overlap.unsigned_abs()
    }
}

/// Files of somebody else's authority.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The certificate, followed by those between it and the authority. PEM.
    pub certificate: PathBuf,
    /// Its private key. PEM: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// Lease by which replicas agree on who looks for unaudited pods.
    #[serde(default = "default_lease")]
    pub lease: String,
}

fn default_lease() -> String {
    "sidetrail-injector".to_owned()
}

impl Certificates {
    /// The Lease.
    #[must_use]
    pub fn lease(&self) -> &str {
        match self {
            Self::SelfManaged(own) => &own.lease,
            Self::Files(files) => &files.lease,
        }
    }

    pub(super) fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        let mut name = |field: &str, value: &str| {
            if let Err(problem) = object_name(value) {
                problems.extend(wrong::<()>(&format!("certificates.{field}"), problem).err());
            }
        };
        name("lease", self.lease());
        let Self::SelfManaged(own) = self else { return problems };
        name("service", &own.service);
        name("secret", &own.secret);
        for (field, value) in
            [("webhooks.mutating", &own.webhooks.mutating), ("webhooks.validating", &own.webhooks.validating)]
        {
            if let Some(value) = value {
                name(field, value);
            }
        }
        let Validity { authority, serving, overlap } = own.validity;
        let ranges = [
            range(
                "certificates.validity.authority",
                authority,
                SignedDuration::from_hours(1),
                SignedDuration::from_hours(87_600),
            ),
            range("certificates.validity.serving", serving, SignedDuration::from_mins(15), authority),
            range(
                "certificates.validity.overlap",
                overlap,
                SignedDuration::from_secs(10),
                SignedDuration::from_hours(1).min(serving / 6),
            ),
        ];
        problems.extend(ranges.into_iter().filter_map(Result::err));
        problems
    }
}

/// What the API server takes as the name of an object: it becomes a part of a path.
fn object_name(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    if !name.is_empty() && name.len() <= 253 && name.bytes().all(fits) {
        return Ok(());
    }
    Err(format!("is {name:?}, which is no name of an object: 1 to 253 of a-z, 0-9, '-' and '.'"))
}
