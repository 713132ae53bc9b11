//! Messages to a subject of NATS.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, HeaderMap, header};
use sidetrail_api::sigv4::Secret;
use tokio::sync::Mutex;

use super::failure::Failure;
use super::message::Message;
use crate::config::{ConfigError, NatsConfig};

/// What this server is called there.
const NAME: &str = "sidetrail-server";

/// A subject of NATS. Connected with the first message; the client then stays with it, whichever servers come and go.
#[derive(Debug)]
pub(super) struct Nats {
    config: NatsConfig,
    user: Option<(String, Secret)>,
    token: Option<Secret>,
    client: Mutex<Option<Client>>,
}

impl Nats {
    pub(super) fn new(
        config: &NatsConfig,
        at: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let read =
            |source: &crate::config::SecretSource, member: &str| source.read(&format!("{at}.{member}"), env);
        let password = config.password.as_ref().map(|it| read(it, "password")).transpose()?;
        let token = config.token.as_ref().map(|it| read(it, "token")).transpose()?;
        let files: [&Option<PathBuf>; 3] = [&config.ca, &config.certificate, &config.key];
        for path in files.into_iter().flatten() {
            std::fs::metadata(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        }
        let user = config.user.clone().zip(password);
        Ok(Self { config: config.clone(), user, token, client: Mutex::default() })
    }

    fn timeout(&self) -> Duration {
        self.config.timeout.unsigned_abs()
    }

    async fn connect(&self) -> Result<Client, Failure> {
        let config = &self.config;
        let mut options = ConnectOptions::new().name(NAME).connection_timeout(self.timeout());
        if let Some((user, password)) = &self.user {
            options = options.user_and_password(user.clone(), password.expose().to_owned());
        }
        if let Some(token) = &self.token {
            options = options.token(token.expose().to_owned());
        }
        if let Some(path) = &config.ca {
            options = options.add_root_certificates(path.clone());
        }
        if let (Some(certificate), Some(key)) = (&config.certificate, &config.key) {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        options = options.require_tls(config.has_tls());
        let connected =
            tokio::time::timeout(self.timeout(), options.connect(config.servers.as_slice())).await;
        match connected {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(match error.kind() {
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    Failure::Denied(crate::chain(&error))
                }
                _ => Failure::Unreachable(crate::chain(&error)),
            }),
            Err(_) => Err(Failure::Unreachable("no server answered in time".to_owned())),
        }
    }

    async fn client(&self) -> Result<Client, Failure> {
        let mut kept = self.client.lock().await;
        let client = match &*kept {
            Some(client) => client.clone(),
            None => kept.insert(self.connect().await?).clone(),
        };
        // What is published meanwhile would wait in the client, and be there twice later.
        match client.connection_state() {
            State::Connected => Ok(client),
            State::Pending | State::Disconnected => {
                Err(Failure::Unreachable("the connection is being made again".to_owned()))
            }
        }
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), Failure> {
        let client = self.client().await?;
        let (subject, payload) = (self.config.subject.clone(), message.body.clone().into());
        if self.config.jetstream {
            let mut context = jetstream::new(client);
            context.set_timeout(self.timeout());
            // A stream knows what it has by this id, for as long as its window of duplicates is.
            let publish = PublishMessage::build().payload(payload).message_id(&message.id);
            let published = match context.send_publish(subject, publish).await {
                Ok(ack) => ack.await,
                Err(error) => Err(error),
            };
            return published.map(drop).map_err(|error| match error.kind() {
                PublishErrorKind::StreamNotFound => {
                    Failure::Missing("no JetStream stream takes the subject".to_owned())
                }
                _ => Failure::Unreachable(crate::chain(&error)),
            });
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, message.id.as_str());
        let unreachable =
            |error: &(dyn std::error::Error + 'static)| Failure::Unreachable(crate::chain(error));
        client.publish_with_headers(subject, headers, payload).await.map_err(|error| unreachable(&error))?;
        let flushed = tokio::time::timeout(self.timeout(), client.flush()).await;
        flushed.map_err(|error| unreachable(&error))?.map_err(|error| unreachable(&error))
    }
}
