//! Where notifications of deliveries go: topics, by the names that trails call them.

use std::net::IpAddr;
use std::path::PathBuf;

use jiff::SignedDuration;
use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_archive::key::Account;

use super::{ConfigError, SecretSource, count, wrong};

/// Topics of one server.
pub(super) const MAX_TOPICS: usize = 256;
/// Servers of one NATS cluster that are named.
const MAX_SERVERS: usize = 16;
/// How long one attempt may take.
const TIMEOUTS: std::ops::RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_secs(60);

/// A topic: what a trail's `SnsTopicName` names, and where its messages go: a webhook or NATS.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicConfig {
    /// The accounts whose trails may have it; all, if there are none.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub accounts: Vec<Account>,
    /// Messages are posted.
    pub webhook: Option<WebhookConfig>,
    /// Messages are published.
    pub nats: Option<NatsConfig>,
}

/// An HTTP endpoint. What does not answer 2xx is sent again.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// `https://…`, or `http://…` on a loopback address. Nothing of it is logged: it may hold a secret.
    pub url: String,
    /// What messages are signed with, as Standard Webhooks has it: `whsec_` and the base64 of 24 to 64 bytes. Without it
    /// they are not signed.
    pub secret: Option<SecretSource>,
    /// A token for `Authorization: Bearer`.
    pub bearer: Option<SecretSource>,
    /// Certificates of authorities that are believed beside the system's, PEM.
    pub ca: Option<PathBuf>,
    /// How long one attempt may take: `1s` to `60s`.
    #[serde(default = "ten_seconds")]
    #[schemars(with = "String")]
    pub timeout: SignedDuration,
    /// Lets messages go to other hosts without TLS.
    #[serde(default)]
    pub unencrypted_beyond_loopback: bool,
}

/// A subject of NATS.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NatsConfig {
    /// Servers of one cluster: `tls://host:4222`, or `nats://…` on a loopback address.
    #[schemars(length(min = 1, max = 16))]
    pub servers: Vec<String>,
    /// The subject, e.g. `audit.files`.
    pub subject: String,
    /// Whether a JetStream stream takes the subject, and a message counts as sent once that has it. Without, NATS drops
    /// what nobody is subscribed to at that moment.
    #[serde(default = "yes")]
    pub jetstream: bool,
    /// A user, with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<SecretSource>,
    /// A token instead of a user.
    pub token: Option<SecretSource>,
    /// Certificates of authorities that are believed, PEM.
    pub ca: Option<PathBuf>,
    /// A certificate to show, with `key`.
    pub certificate: Option<PathBuf>,
    /// The certificate's key.
    pub key: Option<PathBuf>,
    /// How long one attempt may take: `1s` to `60s`.
    #[serde(default = "ten_seconds")]
    #[schemars(with = "String")]
    pub timeout: SignedDuration,
    /// Lets messages go to other hosts without TLS.
    #[serde(default)]
    pub unencrypted_beyond_loopback: bool,
}

fn ten_seconds() -> SignedDuration {
    SignedDuration::from_secs(10)
}

fn yes() -> bool {
    true
}

impl TopicConfig {
    pub(super) fn check(&self, name: &str) -> Result<(), ConfigError> {
        let at = format!("topics.{name}");
        let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > 256 || !name.bytes().all(word) {
            return wrong(at, "is no name of a topic: 1 to 256 letters, digits, - and _");
        }
        match (&self.webhook, &self.nats) {
            (Some(webhook), None) => webhook.check(&format!("{at}.webhook")),
            (None, Some(nats)) => nats.check(&format!("{at}.nats")),
            _ => wrong(at, "must have either a webhook or nats"),
        }
    }
}

impl WebhookConfig {
    fn check(&self, at: &str) -> Result<(), ConfigError> {
        check_timeout(at, self.timeout)?;
        let url = Url::parse(&self.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url else { return wrong(format!("{at}.url"), "is no http:// or https:// URL") };
        if !url.username().is_empty() || url.password().is_some() {
            return wrong(format!("{at}.url"), "must not hold a user or a password: use bearer");
        }
        check_encrypted(&format!("{at}.url"), &url, url.scheme() == "https", self.unencrypted_beyond_loopback)
    }
}

impl NatsConfig {
    fn check(&self, at: &str) -> Result<(), ConfigError> {
        check_timeout(at, self.timeout)?;
        count(&format!("{at}.servers"), self.servers.len(), 1, MAX_SERVERS)?;
        for (index, server) in self.servers.iter().enumerate() {
            let at = format!("{at}.servers[{index}]");
            let url = Url::parse(server).ok().filter(|url| matches!(url.scheme(), "nats" | "tls"));
            let Some(url) = url else {
                return wrong(at, "is not of the form nats://host:4222 or tls://host:4222");
            };
            if !url.username().is_empty() || url.password().is_some() {
                return wrong(at, "must not hold a user or a password: use user, password or token");
            }
            check_encrypted(&at, &url, url.scheme() == "tls", self.unencrypted_beyond_loopback)?;
        }
        let token = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic());
        if self.subject.len() > 256
            || !self.subject.split('.').all(token)
            || self.subject.contains(['*', '>'])
        {
            return wrong(
                format!("{at}.subject"),
                "is no subject to publish to: at most 256 printable characters without spaces, * and >, in parts that \
                 are not empty",
            );
        }
        if self.user.is_some() != self.password.is_some() || (self.user.is_some() && self.token.is_some()) {
            return wrong(at, "must have user and password, or token, or neither");
        }
        if self.certificate.is_some() != self.key.is_some() {
            return wrong(at, "must have both certificate and key, or neither");
        }
        Ok(())
    }

    /// Whether TLS is asked for.
    pub(crate) fn has_tls(&self) -> bool {
        self.servers.iter().any(|server| server.starts_with("tls://"))
    }
}

fn check_timeout(at: &str, timeout: SignedDuration) -> Result<(), ConfigError> {
    if TIMEOUTS.contains(&timeout) {
        return Ok(());
    }
    wrong(format!("{at}.timeout"), format!("is {timeout:#}, allowed are 1s to 60s"))
}

fn check_encrypted(at: &str, url: &Url, encrypted: bool, agreed: bool) -> Result<(), ConfigError> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
    if host.is_empty() {
        return wrong(at, "names no host");
    }
    if encrypted || agreed || loopback {
        return Ok(());
    }
    wrong(at, "is not a loopback address, and without TLS: use it, or say unencrypted_beyond_loopback")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Option<String> {
        let topic: TopicConfig = serde_norway::from_str(text).unwrap();
        topic.check("files").err().map(|error| error.to_string())
    }

    #[test]
    fn endpoints_that_can_work_are_taken() {
        for text in [
            "webhook: { url: 'https://hooks.example.com/a?b=c' }",
            "webhook: { url: 'http://[::1]:8080/', timeout: 60s }",
            "webhook: { url: 'http://hooks.local/', unencrypted_beyond_loopback: true }",
            "nats: { servers: ['tls://n.example.com:4222'], subject: audit.files, user: a, password: { env: P } }",
            "nats: { servers: ['nats://127.0.0.1:4222'], subject: audit, jetstream: false }",
        ] {
            assert_eq!(problem(text), None, "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_named() {
        for (text, says) in [
            ("{}", "either a webhook or nats"),
            ("webhook: { url: 'ftp://a/' }", "webhook.url is no http"),
            ("webhook: { url: 'http://hooks.example.com/' }", "without TLS"),
            ("webhook: { url: 'https://a:b@hooks.example.com/' }", "must not hold a user"),
            ("webhook: { url: 'https://hooks.example.com/', timeout: 2m }", "allowed are 1s to 60s"),
            ("nats: { servers: [], subject: a }", "servers has 0 entries"),
            ("nats: { servers: ['nats://n.example.com'], subject: a }", "without TLS"),
            ("nats: { servers: ['nats://127.0.0.1'], subject: 'audit.*' }", "no subject to publish to"),
            ("nats: { servers: ['nats://127.0.0.1'], subject: a, user: b }", "user and password"),
            ("nats: { servers: ['nats://127.0.0.1'], subject: a, key: b }", "certificate and key"),
        ] {
            let found = problem(text);
            assert!(found.as_ref().is_some_and(|it| it.contains(says)), "{text}: {found:?}");
        }
    }
}
