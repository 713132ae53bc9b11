//! Which keys are believed, for what, and from when on no more.

use std::collections::HashMap;

use jiff::Timestamp;

use super::object::{disbelief, read, unreadable};
use super::report::{Findings, Kind};
use super::{DigestTrust, Options};
use crate::digest::{DigestStart, KeyObjectError, PublishedDigestKey, Revocation, RsaEnvelope};
use crate::dsse::MAX_ENVELOPE;
use crate::key::{AnyKeyId, DigestKeyObjectKey, DigestStartKey, KeyObjectKey, RevocationKey};
use crate::manifest::PublishedKey;
use crate::sign::{Fingerprint, PublicKey, RsaPublicKey};
use crate::source::Bucket;

/// What is believed of digests, and what is revoked.
#[derive(Debug, Default)]
pub(super) struct DigestKeys {
    pub(super) keys: Vec<DigestTrust>,
    pub(super) revoked: HashMap<AnyKeyId, Timestamp>,
}

impl DigestKeys {
    /// Reads what is published. A key is believed if it was given, or if one that is believed says that it replaces it; where
    /// none are given, if it is published.
    pub(super) fn read(
        bucket: &dyn Bucket,
        objects: &[DigestKeyObjectKey],
        revocations: &[RevocationKey],
        options: &Options,
        findings: &mut Findings,
    ) -> Self {
        let mut published = Vec::new();
        for object in objects {
            match published_key(bucket, object) {
                Ok(key) => published.push(key),
                Err((kind, detail)) => findings.push(object, kind, detail),
            }
        }
        let mut this = Self { keys: believed(&published, options), revoked: HashMap::new() };
        let keys: Vec<_> = this.keys.iter().map(|trust| trust.key.clone()).collect();
        for object in revocations {
            match revocation(bucket, object, &keys) {
                Ok(Revocation { revoked_at, .. }) => {
                    let earliest = this.revoked.entry(object.key).or_insert(revoked_at);
                    *earliest = (*earliest).min(revoked_at);
                }
                Err((kind, detail)) => findings.push(object, kind, detail),
            }
        }
        this
    }

    /// Where digests begin, as a key that is believed says.
    pub(super) fn starts(
        &self,
        bucket: &dyn Bucket,
        objects: &[DigestStartKey],
        findings: &mut Findings,
    ) -> Vec<DigestStart> {
        let keys: Vec<_> = self.keys.iter().map(|trust| trust.key.clone()).collect();
        let open = |object: &DigestStartKey| {
            let bytes =
                read(bucket, &object.to_string(), MAX_ENVELOPE).map_err(|error| unreadable(&error))?;
            let start = DigestStart::open(&bytes, &keys).map_err(|error| broken(&error))?;
            if start.object == *object { Ok(start) } else { Err(moved(&start.object)) }
        };
        let mut starts = Vec::new();
        for object in objects {
            match open(object) {
                Ok(start) => starts.push(start),
                Err((kind, detail)) => findings.push(object, kind, detail),
            }
        }
        starts
    }

    pub(super) fn find(&self, fingerprint: Fingerprint) -> Option<&DigestTrust> {
        self.keys.iter().find(|trust| trust.key.fingerprint() == fingerprint)
    }

    /// Whether what the key signed for this time is to be believed no more.
    pub(super) fn is_revoked(&self, key: AnyKeyId, at: Timestamp) -> bool {
        self.revoked.get(&key).is_some_and(|revoked| at >= *revoked)
    }
}

fn believed(published: &[(PublishedDigestKey, RsaEnvelope)], options: &Options) -> Vec<DigestTrust> {
    let trust = |key: &PublishedDigestKey| DigestTrust {
        key: key.public_key.clone(),
        validity: Some((key.validity_start, key.validity_end)),
    };
    let mut believed: Vec<DigestTrust> = Vec::new();
    let Some(given) = options.given_digest_keys() else {
        for (key, _) in published {
            if !believed.iter().any(|known| known.key == key.public_key) {
                believed.push(trust(key));
            }
        }
        return believed;
    };
    for key in given {
        // A key from a PEM file has no times; what the key itself has signed of them holds.
        let says = published.iter().find(|(published, _)| published.public_key == key.key);
        let validity = key.validity.or_else(|| says.map(|(key, _)| (key.validity_start, key.validity_end)));
        believed.push(DigestTrust { key: key.key.clone(), validity });
    }
    // Each round believes at least one more, or is the last.
    loop {
        let replaces = |(key, envelope): &&(PublishedDigestKey, RsaEnvelope)| {
            !believed.iter().any(|known| known.key == key.public_key)
                && believed.iter().any(|known| {
                    key.predecessor == Some(known.key.fingerprint()) && envelope.is_signed_by(&known.key)
                })
        };
        match published.iter().find(replaces).map(|(key, _)| trust(key)) {
            Some(more) => believed.push(more),
            None => return believed,
        }
    }
}

fn published_key(
    bucket: &dyn Bucket,
    object: &DigestKeyObjectKey,
) -> Result<(PublishedDigestKey, RsaEnvelope), (Kind, String)> {
    let bytes = read(bucket, &object.to_string(), MAX_ENVELOPE).map_err(|error| unreadable(&error))?;
    let (key, envelope) = PublishedDigestKey::open(&bytes).map_err(|error| broken(&error))?;
    if key.object == *object { Ok((key, envelope)) } else { Err(moved(&key.object)) }
}

fn revocation(
    bucket: &dyn Bucket,
    object: &RevocationKey,
    keys: &[RsaPublicKey],
) -> Result<Revocation, (Kind, String)> {
    let bytes = read(bucket, &object.to_string(), MAX_ENVELOPE).map_err(|error| unreadable(&error))?;
    let (revocation, _) = Revocation::open(&bytes, keys).map_err(|error| broken(&error))?;
    if revocation.object == *object { Ok(revocation) } else { Err(moved(&revocation.object)) }
}

fn moved(place: &impl std::fmt::Display) -> (Kind, String) {
    let from = place.to_string();
    let detail = format!("it belongs at {from}");
    (Kind::Moved { from }, detail)
}

fn broken(error: &KeyObjectError) -> (Kind, String) {
    let kind = match error {
        KeyObjectError::Signature => Kind::Modified,
        _ => Kind::Malformed,
    };
    (kind, crate::causes::chain(error))
}

/// Reads every published key of manifests: those that are what they should be, and what is wrong with the others.
pub(super) fn published(
    bucket: &dyn Bucket,
    keys: &[KeyObjectKey],
    findings: &mut Findings,
) -> Vec<PublicKey> {
    let mut good: Vec<PublicKey> = Vec::new();
    for key in keys {
        let read = read(bucket, &key.to_string(), MAX_ENVELOPE).map_err(|error| unreadable(&error));
        match read.and_then(|bytes| PublishedKey::open(&bytes).map_err(|error| disbelief(&error))) {
            Ok(published) if published.object == *key => {
                // The same key may be published for several accounts.
                if !good.contains(&published.public_key) {
                    good.push(published.public_key);
                }
            }
            Ok(PublishedKey { object, .. }) => {
                let (kind, detail) = moved(&object);
                findings.push(key, kind, detail);
            }
            Err((kind, detail)) => findings.push(key, kind, detail),
        }
    }
    good
}
