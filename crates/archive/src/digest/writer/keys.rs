//! The keys that a writer meets: its own, which it publishes, those of other writers, and those of collectors.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};

use super::super::keys::{PublishedDigestKey, Revocation, RsaEnvelope};
use super::super::period::Period;
use super::error::StepError;
use super::{Settings, blocking};
use crate::dsse::MAX_ENVELOPE;
use crate::key::{AnyKeyId, DigestKeyObjectKey, KeyObjectKey, RevocationKey};
use crate::manifest::PublishedKey;
use crate::sign::{DigestSigner, Fingerprint, KeyId, PublicKey, RsaPublicKey};
use crate::store::{Store, StoreError};

/// The most keys that are remembered of each kind.
const MAX_KEYS: usize = 4_096;

/// So many keys may have followed each other between one that is believed and one that is asked for.
const MAX_ROTATIONS: usize = 64;

/// How long before its first period a key is valid that replaces none.
const BEFORE_FIRST: SignedDuration = SignedDuration::from_hours(48);

/// The largest key object or revocation that is read, in bytes.
const MAX_KEY_OBJECT: usize = 64 << 10;

/// Whether a collector's key is to be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Belief {
    Yes(PublicKey),
    /// Not published, or not yet.
    Unknown,
    /// Not one of those that the configuration lists.
    Untrusted,
    /// Revoked from this time on.
    Revoked(PublicKey, Timestamp),
}

#[derive(Debug)]
pub(super) struct Keys {
    /// Oldest first.
    signers: Vec<Arc<dyn DigestSigner>>,
    manifest: HashMap<KeyId, PublicKey>,
    published: HashMap<Fingerprint, (PublishedDigestKey, RsaEnvelope)>,
    revoked: HashMap<AnyKeyId, Timestamp>,
}

impl Keys {
    pub(super) fn new(signers: Vec<Arc<dyn DigestSigner>>) -> Self {
        Self { signers, manifest: HashMap::new(), published: HashMap::new(), revoked: HashMap::new() }
    }

    /// From when on a key is to be believed no more.
    pub(super) fn revoked_at(&self, key: AnyKeyId) -> Option<Timestamp> {
        self.revoked.get(&key).copied()
    }

    /// The objects that digests are believed by, and that have no time: where they begin, our keys, revocations.
    pub(super) fn lasting(&self, settings: &Settings) -> Vec<String> {
        let own = self.signers.iter().map(|signer| signer.public_key().fingerprint());
        let own = own.filter(|fingerprint| self.published.contains_key(fingerprint));
        let key = |fingerprint| DigestKeyObjectKey { home: settings.home.clone(), fingerprint }.to_string();
        let revocation =
            |key: &AnyKeyId| RevocationKey { home: settings.home.clone(), key: *key }.to_string();
        let start = std::iter::once(settings.start_key().to_string());
        start.chain(own.map(key)).chain(self.revoked.keys().map(revocation)).collect()
    }

    /// A key to begin with. `orphaned` is whether there are digests that no key of ours is known to follow: then it has to
    /// be published already.
    pub(super) async fn first(
        &mut self,
        store: &Store,
        settings: &Settings,
        orphaned: bool,
    ) -> Result<Arc<dyn DigestSigner>, StepError> {
        let signer = self.signers.first().cloned().ok_or(StepError::NoKey)?;
        let fingerprint = signer.public_key().fingerprint();
        if orphaned && self.read_published(store, settings, fingerprint).await?.is_none() {
            return Err(StepError::Unannounced(fingerprint));
        }
        Ok(signer)
    }

    /// Publishes those of our keys that are not, and says which one signs the digest of `period`. A key that replaces one
    /// is valid from the start of the period. One that does not is from some days before, so that other trails with the
    /// same key may begin with a period that ends earlier.
    pub(super) async fn publish(
        &mut self,
        store: &Store,
        settings: &Settings,
        period: Period,
    ) -> Result<Arc<dyn DigestSigner>, StepError> {
        let mut before: Option<Arc<dyn DigestSigner>> = None;
        for signer in self.signers.clone() {
            let fingerprint = signer.public_key().fingerprint();
            if self.read_published(store, settings, fingerprint).await?.is_none() {
                let start = match &before {
                    Some(_) => period.start,
                    None => period.start.saturating_sub(BEFORE_FIRST).unwrap_or(period.start),
                };
                let end = period.start.saturating_add(settings.key_validity).unwrap_or(Timestamp::MAX);
                // Whole seconds, as everything that is stored.
                let end = Timestamp::from_second(end.as_second()).unwrap_or(end);
                let (home, with, predecessor) = (settings.home.clone(), signer.clone(), before.clone());
                let sealed = blocking(move || {
                    PublishedDigestKey::seal(home, &*with, (start, end), predecessor.as_deref())
                })
                .await?;
                let (object, bytes) = sealed.map_err(|source| StepError::Publish { fingerprint, source })?;
                store.put_create(&object.to_string(), bytes.into()).await?;
            }
            before = Some(signer);
        }
        for signer in self.signers.clone().into_iter().rev() {
            let fingerprint = signer.public_key().fingerprint();
            let revoked = self.revoked_at(AnyKeyId::Digest(fingerprint));
            let published = self.read_published(store, settings, fingerprint).await?;
            if published.is_some_and(|(key, _)| key.is_valid_for(period.end))
                && revoked.is_none_or(|revoked| period.end < revoked)
            {
                return Ok(signer);
            }
        }
        Err(StepError::NotInForce(period.end))
    }

    /// The key of a digest, if it is ours, or known to follow one of ours or to be followed by one.
    pub(super) async fn digest_key(
        &mut self,
        store: &Store,
        settings: &Settings,
        fingerprint: Fingerprint,
    ) -> Result<Option<RsaPublicKey>, StepError> {
        let own: Vec<_> = self.signers.iter().map(|signer| signer.public_key().clone()).collect();
        if let Some(own) = own.iter().find(|key| key.fingerprint() == fingerprint) {
            return Ok(Some(own.clone()));
        }
        for start in own.iter().map(RsaPublicKey::fingerprint) {
            if let Some(key) = self.follow_back(store, settings, start, fingerprint).await? {
                return Ok(Some(key));
            }
            // The other way round: it follows one of ours.
            if self.follow_back(store, settings, fingerprint, start).await?.is_some() {
                let published = self.read_published(store, settings, fingerprint).await?;
                return Ok(published.map(|(key, _)| key.public_key.clone()));
            }
        }
        Ok(None)
    }

    /// The key `to`, if it signed the key that signed the key … that signed `from`.
    async fn follow_back(
        &mut self,
        store: &Store,
        settings: &Settings,
        from: Fingerprint,
        to: Fingerprint,
    ) -> Result<Option<RsaPublicKey>, StepError> {
        let mut at = from;
        for _ in 0..MAX_ROTATIONS {
            let Some((key, envelope)) = self.read_published(store, settings, at).await?.cloned() else {
                break;
            };
            let Some(predecessor) = key.predecessor else { break };
            let own = self.signers.iter().map(|signer| signer.public_key());
            let known = own.into_iter().find(|key| key.fingerprint() == predecessor).cloned();
            let known = match known {
                Some(key) => Some(key),
                None => {
                    let published = self.read_published(store, settings, predecessor).await?;
                    published.map(|(key, _)| key.public_key.clone())
                }
            };
            let Some(signed) = known.filter(|key| envelope.is_signed_by(key)) else { break };
            if predecessor == to {
                return Ok(Some(signed));
            }
            at = predecessor;
        }
        Ok(None)
    }

    async fn read_published(
        &mut self,
        store: &Store,
        settings: &Settings,
        fingerprint: Fingerprint,
    ) -> Result<Option<&(PublishedDigestKey, RsaEnvelope)>, StoreError> {
        if !self.published.contains_key(&fingerprint) {
            let object = DigestKeyObjectKey { home: settings.home.clone(), fingerprint };
            let bytes = match store.get(&object.to_string(), MAX_KEY_OBJECT).await {
                Ok(bytes) => bytes,
                Err(error) if error.is_not_found() || error.is_too_large() => return Ok(None),
                Err(error) => return Err(error),
            };
            match PublishedDigestKey::open(&bytes) {
                Ok(opened) if opened.0.object == object => {
                    make_room(&mut self.published);
                    self.published.insert(fingerprint, opened);
                }
                _ => return Ok(None),
            }
        }
        Ok(self.published.get(&fingerprint))
    }

    /// Whether the key of a manifest that was made at `created_at` is to be believed.
    pub(super) async fn manifest_key(
        &mut self,
        store: &Store,
        settings: &Settings,
        id: KeyId,
    ) -> Result<Belief, StoreError> {
        if let Some(trusted) = &settings.trusted_keys
            && !trusted.iter().any(|key| key.id() == id)
        {
            return Ok(Belief::Untrusted);
        }
        if !self.manifest.contains_key(&id) {
            let object = KeyObjectKey { home: settings.home.clone(), id };
            let bytes = match store.get(&object.to_string(), MAX_ENVELOPE).await {
                Ok(bytes) => bytes,
                Err(error) if error.is_not_found() || error.is_too_large() => return Ok(Belief::Unknown),
                Err(error) => return Err(error),
            };
            match PublishedKey::open(&bytes) {
                Ok(published) if published.object == object => {
                    make_room(&mut self.manifest);
                    self.manifest.insert(id, published.public_key);
                }
                _ => return Ok(Belief::Unknown),
            }
        }
        let Some(key) = self.manifest.get(&id).cloned() else { return Ok(Belief::Unknown) };
        Ok(match self.revoked.get(&AnyKeyId::Manifest(id)) {
            Some(revoked) => Belief::Revoked(key, *revoked),
            None => Belief::Yes(key),
        })
    }

    /// Reads what has been revoked. A revocation counts if a digest key signed it that is believed.
    pub(super) async fn read_revocations(
        &mut self,
        store: &Store,
        settings: &Settings,
    ) -> Result<(), StepError> {
        let mut listed = store.below(&RevocationKey::prefix(&settings.home));
        let mut names = HashSet::new();
        while let Some((name, _)) = listed.try_next().await? {
            if let Ok(object) = name.parse::<RevocationKey>()
                && !self.revoked.contains_key(&object.key)
                && names.len() < MAX_KEYS
            {
                names.insert(object);
            }
        }
        for object in names {
            let bytes = match store.get(&object.to_string(), MAX_KEY_OBJECT).await {
                Ok(bytes) => bytes,
                Err(error) if error.is_not_found() || error.is_too_large() => continue,
                Err(error) => return Err(error.into()),
            };
            for key in self.believed(store, settings, &bytes).await? {
                if let Ok((revocation, _)) = Revocation::open(&bytes, &[key])
                    && revocation.object == object
                {
                    make_room(&mut self.revoked);
                    self.revoked.insert(object.key, revocation.revoked_at);
                }
            }
        }
        Ok(())
    }

    /// Those keys of digests that may have signed an envelope and are believed.
    pub(super) async fn believed(
        &mut self,
        store: &Store,
        settings: &Settings,
        envelope: &[u8],
    ) -> Result<Vec<RsaPublicKey>, StepError> {
        let Ok(envelope) = RsaEnvelope::read(envelope) else { return Ok(Vec::new()) };
        let mut listed = store.below(&DigestKeyObjectKey::prefix(&settings.home));
        let mut fingerprints = Vec::new();
        while let Some((name, _)) = listed.try_next().await? {
            if let Ok(object) = name.parse::<DigestKeyObjectKey>()
                && fingerprints.len() < MAX_KEYS
            {
                fingerprints.push(object.fingerprint);
            }
        }
        fingerprints.extend(self.signers.iter().map(|signer| signer.public_key().fingerprint()));
        let mut keys = Vec::new();
        for fingerprint in fingerprints {
            if let Some(key) = self.digest_key(store, settings, fingerprint).await?
                && envelope.is_signed_by(&key)
            {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

/// Forgets what is remembered when that is too much: it can be read again.
fn make_room<K, V>(remembered: &mut HashMap<K, V>) {
    if remembered.len() >= MAX_KEYS {
        remembered.clear();
    }
}
