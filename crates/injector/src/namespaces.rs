//! What is known of namespaces: followed by a watch, and asked for where one is newer than that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace as Object;

use crate::admit::Namespace;
use crate::kube::{Change, Client, watch};

/// How long an answer to a review may wait for a namespace that is not known: the API server waits some seconds in all.
const ASK: Duration = Duration::from_secs(1);

/// What is known of namespaces.
#[derive(Debug, Default)]
pub struct Namespaces {
    known: RwLock<HashMap<String, Arc<Namespace>>>,
    complete: AtomicBool,
    client: Option<Client>,
}

impl Namespaces {
    /// Nothing yet; asks `client` for what is not known.
    #[must_use]
    pub fn new(client: Option<Client>) -> Self {
        Self { client, ..Self::default() }
    }

    /// A namespace, if it can be learnt in time.
    pub async fn get(&self, name: &str) -> Option<Arc<Namespace>> {
        if let Some(known) = self.known(name) {
            return Some(known);
        }
        // A name goes into a path; what the API server sends fits, what somebody else sends may not.
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let client = self.client.as_ref().filter(|_| !name.is_empty() && name.bytes().all(fits))?;
        let path = format!("/api/v1/namespaces/{name}");
        match tokio::time::timeout(ASK, client.get::<Object>(&path)).await {
            Ok(Ok(object)) => Some(Arc::new(facts(object))),
            Ok(Err(error)) => {
                tracing::warn!(namespace = name, %error, "cannot learn of a namespace");
                None
            }
            Err(_) => None,
        }
    }

    /// A namespace, if it is known.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<Arc<Namespace>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Whether all of them have been seen once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// Takes in what a watch tells.
    pub fn apply(&self, change: Change<Object>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Restart => known.clear(),
            Change::Set(mut object) => {
                if let Some(name) = object.metadata.name.take() {
                    known.insert(name, Arc::new(facts(object)));
                }
            }
            Change::Gone(object) => {
                object.metadata.name.and_then(|name| known.remove(&name));
            }
            Change::Complete => self.complete.store(true, Ordering::Relaxed),
        }
    }

    /// Follows them, until the future is dropped.
    pub async fn follow(self: Arc<Self>, client: Client) {
        watch(client, "/api/v1/namespaces", |change| self.apply(change)).await;
    }
}

fn facts(object: Object) -> Namespace {
    Namespace {
        labels: object.metadata.labels.unwrap_or_default(),
        annotations: object.metadata.annotations.unwrap_or_default(),
    }
}
