//! Reads a log file and its manifest, and believes neither without the other.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use sidetrail_archive::causes::chain;
use sidetrail_archive::dsse::MAX_ENVELOPE;
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::{Home, KeyObjectKey, ManifestKey};
use sidetrail_archive::log::MAX_CONTENT;
use sidetrail_archive::manifest::{Manifest, OpenError, PublishedKey};
use sidetrail_archive::sign::{KeyId, PublicKey};
use sidetrail_archive::store::{Store, StoreError};

/// Public keys that are kept.
const MAX_KEYS: usize = 4096;
/// The most bytes of a log file: content that does not compress takes a little more than itself.
const MAX_STORED: u64 = MAX_CONTENT + (1 << 20);

/// A manifest that was believed, with the stored bytes of its log file if it has one.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) manifest: Manifest,
    pub(super) stored: Option<Bytes>,
}

/// Why a log file is not in history.
#[derive(Debug)]
pub(super) enum Fault {
    /// The store failed: try again.
    Store(StoreError),
    /// It is not what it should be.
    Content(String),
}

/// The public keys that manifests are signed with, as published in the bucket: history shows what is there. Who wants
/// to know whether the keys are the right ones asks `sidetrail verify`.
#[derive(Debug, Default)]
pub(super) struct Keys(Mutex<HashMap<KeyId, PublicKey>>);

impl Keys {
    async fn get(&self, store: &Store, home: &Home, id: KeyId) -> Result<PublicKey, Fault> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(key) = known() {
            return Ok(key);
        }
        let object = KeyObjectKey { home: home.clone(), id };
        let bytes = get(store, &object.to_string(), MAX_ENVELOPE).await?;
        let published = PublishedKey::open(&bytes).map_err(|error| Fault::Content(chain(&error)))?;
        if published.object != object {
            return Err(Fault::Content(format!("the key {id} is published in another place")));
        }
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= MAX_KEYS {
            keys.clear();
        }
        keys.insert(id, published.public_key.clone());
        Ok(published.public_key)
    }
}

/// Reads the manifest at `key` and its log file.
pub(super) async fn fetch(store: &Store, keys: &Keys, key: &ManifestKey) -> Result<Fetched, Fault> {
    let bytes = get(store, &key.to_string(), MAX_ENVELOPE).await?;
    let content = |error: OpenError| Fault::Content(chain(&error));
    let manifest = match Manifest::open(&bytes, &[]) {
        Err(OpenError::KeyUnknown(id)) => {
            let key = keys.get(store, &key.0.home, id).await?;
            Manifest::open(&bytes, &[key]).map_err(content)?
        }
        opened => opened.map_err(content)?,
    };
    if manifest.manifest != *key {
        return Err(Fault::Content(format!("the manifest belongs at {}", manifest.manifest)));
    }
    let Some(entry) = &manifest.log_file else { return Ok(Fetched { manifest, stored: None }) };
    if entry.size > MAX_STORED || entry.content_size > MAX_CONTENT {
        return Err(Fault::Content(format!("the log file has more than {MAX_CONTENT} bytes")));
    }
    // Not above MAX_STORED.
    let limit = usize::try_from(entry.size).unwrap_or(usize::MAX);
    let stored = get(store, &entry.key.to_string(), limit).await?;
    if stored.len() as u64 != entry.size || Sha256::of(&stored) != entry.sha256 {
        return Err(Fault::Content("the log file is not the one that the manifest states".to_owned()));
    }
    Ok(Fetched { manifest, stored: Some(stored) })
}

async fn get(store: &Store, key: &str, limit: usize) -> Result<Bytes, Fault> {
    store.get(key, limit).await.map_err(|error| {
        if error.is_not_found() || error.is_too_large() {
            Fault::Content(chain(&error))
        } else {
            Fault::Store(error)
        }
    })
}
