//! Keeps the Secret, what is shown, and the `caBundle` of webhook configurations. Every replica shows what is in the Secret;
//! the one that holds the Lease changes it.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::authority::expiry;
use super::stored::{Change, Stored};
use crate::config::SelfManaged;
use crate::kube::{ApiError, Client, Leader};
use crate::metrics::Metrics;
use crate::serve::Presented;

/// How often Secret and webhook configurations are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What goes wrong is tried again.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("{what}: {source}")]
    Api { what: String, source: ApiError },
    #[error(transparent)]
    Certificate(#[from] super::CertificateError),
    #[error(transparent)]
    Secret(#[from] super::InvalidSecret),
    #[error(transparent)]
    Tls(#[from] crate::serve::TlsError),
}

/// Keeps certificates.
#[derive(Debug)]
pub struct Keeper {
    client: Client,
    config: SelfManaged,
    namespace: String,
    leader: Leader,
    presented: Arc<Presented>,
    metrics: Arc<Metrics>,
    shown: Option<String>,
    /// The bundle that every webhook configuration has, and since when that is known.
    believed: Option<(String, Timestamp)>,
}

/// A webhook configuration of either kind, as far as it matters.
#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    webhooks: Vec<Webhook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    name: String,
    #[serde(default)]
    client_config: ClientConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientConfig {
    ca_bundle: Option<ByteString>,
}

impl Keeper {
    /// For the injector in `namespace`.
    #[must_use]
    pub fn new(
        client: Client,
        config: SelfManaged,
        namespace: &str,
        leader: Leader,
        presented: Arc<Presented>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let namespace = namespace.to_owned();
        Self { client, config, namespace, leader, presented, metrics, shown: None, believed: None }
    }

    /// The names that the API server may call the webhooks by.
    fn names(&self) -> Vec<String> {
        let (service, namespace) = (&self.config.service, &self.namespace);
        vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("{service}.{namespace}"),
        ]
    }

    /// Keeps them, until the future is dropped.
    pub async fn run(mut self) {
        // Often enough that every replica shows a new certificate well within the overlap.
        let every = LOOK_EVERY.min(self.config.validity.overlap() / 4);
        loop {
            let pause =
                if self.look(Timestamp::now()).await { every } else { Duration::from_secs(1).min(every) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks once. Whether everything is as it should be.
    pub async fn look(&mut self, now: Timestamp) -> bool {
        match self.keep(now).await {
            Ok(()) => self.shown.is_some(),
            Err(error) => {
                self.metrics.certificates_failed();
                tracing::error!(error = %crate::chain(&error), "certificates cannot be kept");
                false
            }
        }
    }

    async fn keep(&mut self, now: Timestamp) -> Result<(), KeepError> {
        let path = format!("/api/v1/namespaces/{}/secrets/{}", self.namespace, self.config.secret);
        let found = match self.client.get::<Secret>(&path).await {
            Ok(secret) => Some(secret),
            Err(error) if error.is(StatusCode::NOT_FOUND) => None,
            Err(source) => return Err(api("reading the Secret", source)),
        };
        let Some(mut secret) = found else { return self.make(now).await };
        let stored = match Stored::from_secret(&secret) {
            Ok(stored) => stored,
            // Whoever emptied it wants another one. What is shown meanwhile is still good.
            Err(error) if self.leader.is() => {
                tracing::warn!(%error, "the Secret is made anew");
                let stored = Stored::new(&self.names(), now, &self.config.validity)?;
                stored.write(&mut secret);
                return self.store(&path, &secret, stored, now).await;
            }
            Err(error) => return Err(error.into()),
        };
        self.show(&stored)?;
        if !self.leader.is() {
            self.believed = None;
            return Ok(());
        }
        self.have_believed(&stored.bundle(), now).await?;
        let believed = self.believed.as_ref().map(|(_, since)| *since);
        if let Some((after, change)) = stored.step(&self.names(), now, believed, &self.config.validity)? {
            after.write(&mut secret);
            self.store(&path, &secret, after, now).await?;
            self.note(change);
        }
        Ok(())
    }

    async fn make(&mut self, now: Timestamp) -> Result<(), KeepError> {
        if !self.leader.is() {
            return Ok(());
        }
        let stored = Stored::new(&self.names(), now, &self.config.validity)?;
        let name = Some(self.config.secret.clone());
        let mut secret =
            Secret { metadata: ObjectMeta { name, ..ObjectMeta::default() }, ..Secret::default() };
        stored.write(&mut secret);
        let collection = format!("/api/v1/namespaces/{}/secrets", self.namespace);
        self.client.create(&collection, &secret).await.map_err(|source| api("making the Secret", source))?;
        self.note(Change::CertificateIssued);
        // Believed before it is shown.
        self.have_believed(&stored.bundle(), now).await?;
        self.show(&stored)
    }

    async fn store(
        &mut self,
        path: &str,
        secret: &Secret,
        stored: Stored,
        now: Timestamp,
    ) -> Result<(), KeepError> {
        match self.client.replace(path, secret).await {
            Ok(_) => {}
            // Another one was faster: what it wrote is looked at next time.
            Err(error) if error.is(StatusCode::CONFLICT) => return Ok(()),
            Err(source) => return Err(api("writing the Secret", source)),
        }
        self.have_believed(&stored.bundle(), now).await?;
        self.show(&stored)
    }

    fn note(&self, change: Change) {
        self.metrics.certificates_changed(change);
        tracing::info!(change = change.as_str(), "certificates changed");
    }

    fn show(&mut self, stored: &Stored) -> Result<(), KeepError> {
        self.metrics
            .certificates(expiry(&stored.serving.certificate)?, expiry(&stored.authority.0.certificate)?);
        if self.shown.as_ref() != Some(&stored.serving.certificate) {
            let serving = &stored.serving;
            self.presented.show(serving.certificate.as_bytes(), serving.key.as_bytes())?;
            self.shown = Some(serving.certificate.clone());
        }
        Ok(())
    }

    /// Has every webhook configuration believe `bundle`.
    async fn have_believed(&mut self, bundle: &str, now: Timestamp) -> Result<(), KeepError> {
        let webhooks = &self.config.webhooks;
        let kinds = [
            (&webhooks.mutating, "mutatingwebhookconfigurations"),
            (&webhooks.validating, "validatingwebhookconfigurations"),
        ];
        let mut changed = false;
        for (name, kind) in kinds {
            let Some(name) = name else { continue };
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{name}");
            let found: Configuration = match self.client.get(&path).await {
                Ok(found) => found,
                // It may come later, or never: without it nobody calls.
                Err(error) if error.is(StatusCode::NOT_FOUND) => {
                    tracing::warn!(kind, name, "there is no such webhook configuration yet");
                    self.believed = None;
                    continue;
                }
                Err(source) => return Err(api(&format!("reading {kind}/{name}"), source)),
            };
            let patch = believe(&found, bundle);
            if patch.is_empty() {
                continue;
            }
            changed = true;
            let patched = self.client.json_patch::<Value>(&path, &patch).await;
            patched.map_err(|source| api(&format!("changing {kind}/{name}"), source))?;
            tracing::info!(kind, name, "caBundle set");
        }
        if changed || self.believed.as_ref().is_none_or(|(known, _)| known != bundle) {
            self.believed = Some((bundle.to_owned(), now));
        }
        Ok(())
    }
}

/// The patch after which all of its webhooks believe `bundle`. Their names are tested, since they may have changed places.
fn believe(found: &Configuration, bundle: &str) -> Vec<Value> {
    let mut patch = Vec::new();
    for (index, webhook) in found.webhooks.iter().enumerate() {
        if webhook.client_config.ca_bundle.as_ref().is_some_and(|known| known.0 == bundle.as_bytes()) {
            continue;
        }
        let at = format!("/webhooks/{index}");
        patch.push(json!({ "op": "test", "path": format!("{at}/name"), "value": webhook.name }));
        let value = ByteString(bundle.as_bytes().to_vec());
        patch.push(json!({ "op": "add", "path": format!("{at}/clientConfig/caBundle"), "value": value }));
    }
    patch
}

fn api(what: &str, source: ApiError) -> KeepError {
    KeepError::Api { what: what.to_owned(), source }
}
