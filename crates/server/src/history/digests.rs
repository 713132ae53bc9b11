//! Digests that were checked: what they cover is verified.
//!
//! A digest counts if it lies at its own key, and is signed by a key that is published in the bucket and was in force.
//! That is what can be seen without knowing a key from elsewhere: who asks for more asks `sidetrail verify`.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use object_store::path::Path;
use sidetrail_archive::causes::chain;
use sidetrail_archive::digest::{Opened, PublishedDigestKey};
use sidetrail_archive::dsse::MAX_ENVELOPE;
use sidetrail_archive::key::{DigestKey, DigestKeyObjectKey};
use sidetrail_archive::store::Store;

use super::list::Ground;
use super::segment::FileId;
use super::shared::Shared;

/// Digests that are remembered to have been looked at: of ten trails an hour for a year.
const MAX_SEEN: usize = 100_000;
/// Keys that are kept.
const MAX_KEYS: usize = 1024;

/// The digests that were looked at, and the keys that they were checked with.
#[derive(Debug, Default)]
pub(super) struct Digests {
    seen: HashSet<DigestKey>,
    keys: HashMap<DigestKeyObjectKey, PublishedDigestKey>,
}

impl Digests {
    /// Looks at the digests of a ground that end on the day of `from` or later, and were not looked at yet.
    pub(super) async fn look(
        &mut self,
        shared: &Shared,
        store: &Store,
        ground: &Ground,
        from: Timestamp,
    ) -> Result<(), String> {
        let Ground { home, region } = ground;
        let prefix = DigestKey::prefix(home, region);
        let day = from.to_zoned(TimeZone::UTC).strftime("%Y/%m/%d").to_string();
        let parse = |text: &str| Path::parse(text).map_err(|error| chain(&error));
        let start = parse(&format!("{prefix}{day}"))?;
        let prefix = parse(&prefix)?;
        let mut new = Vec::new();
        let mut listed = store.object_store().list_with_offset(Some(&prefix), &start);
        while let Some(object) = listed.try_next().await.map_err(|error| chain(&error))? {
            if let Ok(key) = object.location.as_ref().parse::<DigestKey>()
                && key.home == *home
                && key.region == *region
                && !self.seen.contains(&key)
            {
                new.push(key);
            }
        }
        if self.seen.len() + new.len() > MAX_SEEN {
            self.seen.clear();
        }
        for key in new {
            if let Err(reason) = self.read(shared, store, &key).await? {
                tracing::warn!(digest = %key, reason, "a digest verifies nothing");
            }
            self.seen.insert(key);
            shared.files_mut().digests += 1;
        }
        Ok(())
    }

    /// Takes over what a digest covers, if it is to be believed. The outer error is the store's.
    async fn read(
        &mut self,
        shared: &Shared,
        store: &Store,
        key: &DigestKey,
    ) -> Result<Result<(), String>, String> {
        let stored = match store.get_digest(key).await {
            Ok(stored) => stored,
            Err(error) if error.is_not_found() || error.is_too_large() => return Ok(Err(chain(&error))),
            Err(error) => return Err(chain(&error)),
        };
        let opened = match Opened::read(&stored.bytes) {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(chain(&error))),
        };
        if opened.digest.object != *key {
            return Ok(Err(format!("it belongs at {}", opened.digest.object)));
        }
        let Some(metadata) = stored.metadata else { return Ok(Err("it has no signature".to_owned())) };
        let object = DigestKeyObjectKey { home: key.home.clone(), fingerprint: opened.digest.fingerprint };
        let Some(published) = self.key(store, object).await? else {
            return Ok(Err("the key that it names is not published".to_owned()));
        };
        if !published.is_valid_for(opened.digest.end) {
            return Ok(Err("the key that it names was not in force".to_owned()));
        }
        if !opened.is_signed_by(&published.public_key, &metadata.signature) {
            return Ok(Err("its signature is not that of the key that it names".to_owned()));
        }
        let mut files = shared.files_mut();
        for file in &opened.digest.log_files {
            let manifest = file.object.manifest().to_string();
            files.digest(FileId::new(store.name(), &manifest), file.hash);
        }
        Ok(Ok(()))
    }

    async fn key(
        &mut self,
        store: &Store,
        object: DigestKeyObjectKey,
    ) -> Result<Option<PublishedDigestKey>, String> {
        if let Some(known) = self.keys.get(&object) {
            return Ok(Some(known.clone()));
        }
        let published = match store.get(&object.to_string(), MAX_ENVELOPE).await {
            Ok(bytes) => PublishedDigestKey::open(&bytes).ok().map(|(published, _)| published),
            Err(error) if error.is_not_found() || error.is_too_large() => None,
            Err(error) => return Err(chain(&error)),
        };
        let published = published.filter(|published| published.object == object);
        if self.keys.len() >= MAX_KEYS {
            self.keys.clear();
        }
        if let Some(published) = &published {
            self.keys.insert(object, published.clone());
        }
        Ok(published)
    }
}
