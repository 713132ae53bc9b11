//! Locks of digests, set after they are stored, like those of everything else, and of what they are believed by.

use jiff::{SignedDuration, Timestamp};

use super::{Digest, Digester, Retention};
use crate::key::DigestKey;
use crate::store::{Lock, StoreError};

/// The most objects that could not be locked and are tried again.
const MAX_UNLOCKED: usize = 64;

/// The most keys and revocations whose locks are put off.
const MAX_LASTING: usize = 256;

impl Digester {
    pub(super) async fn lock(&mut self, digest: &Digest) {
        let Some(retention) = self.settings.retention else { return };
        if self.store.has_protection() {
            self.unlocked.push((digest.object.to_string(), digest.end));
            self.lock_again().await;
            self.put_off(retention, digest.end).await;
        }
    }

    /// Has a digest locked that was found: its writer may have died before that. So whoever goes on from a digest has
    /// seen to its lock.
    pub(super) fn lock_found(&mut self, object: &DigestKey, end: Timestamp) {
        let is_wanted = self.settings.retention.is_some() && self.store.has_protection();
        if is_wanted && self.unlocked.len() < MAX_UNLOCKED {
            self.unlocked.push((object.to_string(), end));
        }
    }

    /// Locks what is not locked yet. A digest without a lock is a digest still: this stops nothing.
    pub(super) async fn lock_again(&mut self) {
        let Some(retention) = self.settings.retention else { return };
        for (key, end) in std::mem::take(&mut self.unlocked) {
            if let Err(error) = self.put_off_one(&key, retention.from(end)).await {
                self.warn(format!("a digest could not be locked: {error}"));
                self.unlocked.push((key, end));
            }
        }
        let surplus = self.unlocked.len().saturating_sub(MAX_UNLOCKED);
        self.unlocked.drain(..surplus);
    }

    /// Keys, revocations and the start of digests count for as long as they are there. So their locks end later with each
    /// digest, and last until the next one: a period longer than what is asked for.
    async fn put_off(&mut self, retention: Retention, end: Timestamp) {
        let until = end.saturating_add(self.settings.cadence.length()).unwrap_or(Timestamp::MAX);
        for key in self.keys.lasting(&self.settings).into_iter().take(MAX_LASTING) {
            if let Err(error) = self.put_off_one(&key, retention.from(until)).await {
                self.warn(format!("what digests are believed by could not be locked: {error}"));
            }
        }
    }

    /// Another trail may have locked it for longer.
    async fn put_off_one(&self, key: &str, lock: Lock) -> Result<(), StoreError> {
        let now = self.store.protected(key).await?;
        let until = now.until.and_then(|until| until.parse::<Timestamp>().ok());
        let strict = now.mode.is_some_and(|mode| mode == "COMPLIANCE" || mode == lock.mode.to_string());
        if strict && until.is_some_and(|until| until >= lock.until) {
            return Ok(());
        }
        self.store.lock(key, lock).await
    }
}

impl Retention {
    fn from(self, start: Timestamp) -> Lock {
        let length = SignedDuration::from_hours(24 * i64::from(self.days));
        let until = start.saturating_add(length).unwrap_or(Timestamp::MAX);
        Lock { mode: self.mode, until, legal_hold: self.legal_hold }
    }
}
