//! Digests as the bucket has them.

use super::super::sealed::Opened;
use super::{Digester, State, StepError};
use crate::key::{AnyKeyId, DigestKey};
use crate::sign::RsaSignature;

/// What lies at the place of a digest.
#[derive(Debug)]
pub(super) enum Found {
    /// No object.
    Nothing,
    /// A digest of this trail, by a key that is believed.
    Believed { opened: Box<Opened>, signature: RsaSignature },
    /// A digest that names a key which is believed, and has no signature beside it.
    Unsigned(Box<Opened>),
    /// Anything else.
    Other,
}

impl Digester {
    /// Reads what lies at the place of a digest.
    pub(super) async fn find(&mut self, object: &DigestKey) -> Result<Found, StepError> {
        let stored = match self.store.get_digest(object).await {
            Ok(stored) => stored,
            Err(error) if error.is_not_found() => return Ok(Found::Nothing),
            Err(error) if error.is_too_large() => return Ok(Found::Other),
            Err(error) => return Err(error.into()),
        };
        let Ok(opened) = Opened::read(&stored.bytes) else { return Ok(Found::Other) };
        let digest = &opened.digest;
        if digest.object != *object || digest.statement.is_none() {
            return Ok(Found::Other);
        }
        let key = self.keys.digest_key(&self.store, &self.settings, digest.fingerprint).await?;
        let revoked = self.keys.revoked_at(AnyKeyId::Digest(digest.fingerprint));
        let Some(key) = key.filter(|_| revoked.is_none_or(|revoked| digest.end < revoked)) else {
            return Ok(Found::Other);
        };
        Ok(match stored.metadata {
            None => Found::Unsigned(Box::new(opened)),
            Some(metadata) if opened.is_signed_by(&key, &metadata.signature) => {
                Found::Believed { opened: Box::new(opened), signature: metadata.signature }
            }
            Some(_) => Found::Other,
        })
    }

    /// Looks whether the newest digest is still the one that the next will name. Where a store overwrites, another writer
    /// may have won after all; then that one counts. What is gone or changed otherwise is somebody's doing: the chain
    /// goes on from what was signed.
    pub(super) async fn confirm_head(&mut self, state: &mut State) -> Result<(), StepError> {
        let Some(head) = &state.head else { return Ok(()) };
        let (object, hash) = (head.previous.object.clone(), head.previous.hash);
        match self.find(&object).await? {
            Found::Believed { opened, .. } if opened.content_sha256 == hash => Ok(()),
            Found::Believed { .. } => {
                self.warn(format!("another writer's digest has replaced {object}"));
                *state = self.recover(std::mem::take(state)).await?;
                Ok(())
            }
            Found::Nothing => {
                self.warn(format!("the digest {object} is gone"));
                Ok(())
            }
            Found::Unsigned(opened) if opened.content_sha256 == hash => {
                // The companion only: it says again what was signed.
                self.warn(format!("the companion of the digest {object} was gone"));
                let metadata = super::super::Metadata::new(head.previous.signature.clone());
                self.store.put_companion(&object, &metadata).await?;
                Ok(())
            }
            Found::Unsigned(_) | Found::Other => {
                self.warn(format!("the digest {object} was changed"));
                Ok(())
            }
        }
    }
}
