//! Messages by HTTP POST, as SNS sends them, signed as Standard Webhooks are.
//!
//! ```text
//! webhook-id         the message's id
//! webhook-timestamp  seconds since 1970, of this attempt
//! webhook-signature  v1,BASE64(HMAC-SHA256(secret, webhook-id "." webhook-timestamp "." body))
//! ```

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url, redirect};
use sha2::Sha256;
use sidetrail_api::sigv4::Secret;

use super::failure::Failure;
use super::message::Message;
use crate::config::{ConfigError, WebhookConfig, wrong};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// Bytes of a secret.
const SECRET: std::ops::RangeInclusive<usize> = 24..=64;

/// An HTTP endpoint.
pub(super) struct Webhook {
    client: Client,
    url: Url,
    key: Option<Vec<u8>>,
    bearer: Option<Secret>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may be a secret, too.
        f.debug_struct("Webhook").field("signs", &self.key.is_some()).finish_non_exhaustive()
    }
}

impl Webhook {
    pub(super) fn new(
        config: &WebhookConfig,
        at: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let Ok(url) = Url::parse(&config.url) else { return wrong(format!("{at}.url"), "is no URL") };
        let secret_at = format!("{at}.secret");
        let secret = config.secret.as_ref().map(|it| it.read(&secret_at, env)).transpose()?;
        let key =
            secret.map(|secret| key(&secret)).transpose().or_else(|problem| wrong(secret_at, problem))?;
        let bearer = config.bearer.as_ref().map(|it| it.read(&format!("{at}.bearer"), env)).transpose()?;
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(config.timeout.unsigned_abs())
            .user_agent(concat!("sidetrail-server/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &config.ca {
            let pem =
                std::fs::read(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem);
            for certificate in certificates.or_else(|_| wrong(format!("{at}.ca"), "holds no certificates"))? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder
            .build()
            .or_else(|error| wrong(at, format!("cannot be used: {}", crate::chain(&error))))?;
        Ok(Self { client, url, key, bearer })
    }

    pub(super) async fn send(&self, message: &Message, now: Timestamp) -> Result<(), Failure> {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("x-amz-sns-message-type", "Notification")
            .header("x-amz-sns-message-id", &message.id)
            .header("x-amz-sns-topic-arn", &message.topic)
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", now.as_second());
        if let Some(key) = &self.key {
            request = request.header("webhook-signature", signature(key, &message.id, now, &message.body));
        }
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer.expose());
        }
        let sent = request.body(message.body.clone()).send().await;
        // What it answers beside its status is not read: the connection goes with it.
        match sent.map(|response| response.status()) {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(Failure::Status(status.as_u16())),
            Err(error) => Err(Failure::Unreachable(crate::chain(&error.without_url()))),
        }
    }
}

fn key(secret: &Secret) -> Result<Vec<u8>, &'static str> {
    let key = secret.expose().strip_prefix("whsec_").and_then(|text| BASE64_STANDARD.decode(text).ok());
    key.filter(|key| SECRET.contains(&key.len())).ok_or("must be whsec_ and the base64 of 24 to 64 bytes")
}

fn signature(key: &[u8], id: &str, now: Timestamp, body: &str) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    let mac = mac.chain_update(format!("{id}.{}.", now.as_second())).chain_update(body);
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's libraries.
    #[test]
    fn the_signature_is_the_standards() {
        let key = key(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())).unwrap();
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", now, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_has_the_standards_form() {
        for text in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_no base64"] {
            assert!(key(&Secret::new(text.to_owned())).is_err(), "{text}");
        }
    }
}
