//! Locks of digests, set after they are stored, like those of everything else.

use jiff::{SignedDuration, Timestamp};

use super::{Digest, Digester, Retention};
use crate::store::Lock;

/// The most objects that could not be locked and are tried again.
const MAX_UNLOCKED: usize = 64;

impl Digester {
    pub(super) async fn lock(&mut self, digest: &Digest) {
        if self.settings.retention.is_some() && self.store.has_protection() {
            self.unlocked.push((digest.object.to_string(), digest.end));
            self.lock_again().await;
        }
    }

    /// Locks what is not locked yet. A digest without a lock is a digest still: this stops nothing.
    pub(super) async fn lock_again(&mut self) {
        let Some(Retention { mode, days, legal_hold }) = self.settings.retention else { return };
        for (key, end) in std::mem::take(&mut self.unlocked) {
            let length = SignedDuration::from_hours(24 * i64::from(days));
            let until = end.saturating_add(length).unwrap_or(Timestamp::MAX);
            if let Err(error) = self.store.lock(&key, Lock { mode, until, legal_hold }).await {
                self.warn(format!("a digest could not be locked: {error}"));
                self.unlocked.push((key, end));
            }
        }
        let surplus = self.unlocked.len().saturating_sub(MAX_UNLOCKED);
        self.unlocked.drain(..surplus);
    }
}
