//! Whether a trail's bucket protects what is in it as the configuration wants: looked at when the trail starts and every
//! hour, since buckets are changed by others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sidetrail_archive::key::KeyObjectKey;
use sidetrail_archive::store::{Expiry, Inspected, Lock, Mode, Protected, Store, StoreError};

use crate::config::{Encryption, LockMode, ObjectLock, TrailConfig};
use crate::environment::Environment;
use crate::metrics::TrailMetrics;

/// How often the bucket is looked at.
const EVERY: Duration = Duration::from_secs(3600);
/// How soon again when the store did not answer or the key is not there yet: doubled each time, up to the second.
const AGAIN: Duration = Duration::from_secs(1);
const MAX_AGAIN: Duration = Duration::from_secs(300);
const DAY_S: i64 = 86_400;

/// What the configuration wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) object_lock: Option<ObjectLock>,
    pub(crate) encryption: Option<Encryption>,
}

impl Wanted {
    pub(crate) fn of(config: &TrailConfig) -> Self {
        Self { object_lock: config.object_lock.clone(), encryption: config.encryption.clone() }
    }

    fn is_nothing(&self) -> bool {
        self.object_lock.is_none() && self.encryption.is_none()
    }

    /// The lock of an object delivered at `created_unix_s`, until `until_unix_s` where that is known already.
    pub(super) fn lock(&self, created_unix_s: i64, until_unix_s: Option<i64>) -> Option<Lock> {
        let ObjectLock { mode, days, legal_hold, .. } = self.object_lock.as_ref()?;
        let until = until_unix_s.unwrap_or_else(|| created_unix_s.saturating_add(i64::from(*days) * DAY_S));
        let mode = match mode {
            LockMode::Governance => Mode::Governance,
            LockMode::Compliance => Mode::Compliance,
        };
        Some(Lock {
            mode,
            until: Timestamp::from_second(until).unwrap_or(Timestamp::MAX),
            legal_hold: *legal_hold,
        })
    }
}

/// Looks at the bucket of a trail from time to time.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) trail: String,
    pub(super) store: Store,
    pub(super) wanted: Wanted,
    /// An object that every trail has: by it the bucket shows what it does with objects. It is needed for as long as any
    /// manifest is, so its lock is put off each time.
    pub(super) key: KeyObjectKey,
    pub(super) metrics: TrailMetrics,
    pub(super) environment: Arc<dyn Environment>,
}

impl Watch {
    /// Looks until the task is aborted. Without anything wanted there is nothing to look at.
    pub(super) async fn run(self) {
        if self.wanted.is_nothing() || !self.store.has_protection() {
            return;
        }
        let mut said = BTreeSet::new();
        let mut soon = AGAIN;
        loop {
            let again = match self.look().await {
                Ok(problems) => {
                    self.say(&problems, &said);
                    (said, soon) = (problems, AGAIN);
                    EVERY
                }
                // The key may not be there yet, and a store that is away is told of by those who ship.
                Err(error) => {
                    tracing::debug!(trail = self.trail, error = %crate::chain(&error), "cannot look at the bucket");
                    let again = soon;
                    soon = (2 * soon).min(MAX_AGAIN);
                    again
                }
            };
            tokio::time::sleep(again).await;
        }
    }

    async fn look(&self) -> Result<BTreeSet<String>, StoreError> {
        let key = self.key.to_string();
        let bucket = self.store.inspect().await?;
        let now = self.environment.unix_ms().div_euclid(1000);
        let lock = self.wanted.lock(now, None);
        let refused = match lock {
            Some(lock) => self.store.lock(&key, lock).await.err(),
            None => None,
        };
        let object = self.store.protected(&key).await?;
        let mut problems = problems(&self.wanted, &bucket, &object, &self.key.home.to_string());
        problems.extend(refused.map(|error| format!("an object could not be locked: {error}")));
        Ok(problems)
    }

    fn say(&self, problems: &BTreeSet<String>, said: &BTreeSet<String>) {
        let Self { trail, store, .. } = self;
        self.metrics.protection(problems.len());
        for problem in problems.difference(said) {
            tracing::warn!(
                trail,
                store = store.name(),
                problem,
                "the bucket does not protect what is shipped"
            );
        }
        if problems.is_empty() {
            tracing::info!(trail, store = store.name(), "the bucket protects what is shipped");
        }
    }
}

/// What is not as it is wanted. `home` is what all keys of the trail begin with.
fn problems(wanted: &Wanted, bucket: &Inspected, object: &Protected, home: &str) -> BTreeSet<String> {
    let mut problems = BTreeSet::new();
    if let Some(ObjectLock { days, .. }) = &wanted.object_lock {
        match bucket.versioning {
            Some(true) => {}
            Some(false) => drop(problems.insert(
                "it keeps no versions, without which nothing can be locked: a bucket has to be made with Object Lock"
                    .to_owned(),
            )),
            None => drop(problems.insert("it may not be asked whether it keeps versions".to_owned())),
        }
        if bucket.object_lock == Some(false) {
            problems.insert("it has no Object Lock: a bucket has to be made with it".to_owned());
        }
        if object.mode.is_none() {
            problems.insert("an object that was locked has no lock, or it may not be asked for".to_owned());
        }
        for Expiry { id, prefix, days: expires } in bucket.expiries.iter().flatten() {
            let is_ours = home.starts_with(prefix.as_str()) || prefix.starts_with(home);
            if is_ours && *expires < u64::from(*days) {
                problems.insert(format!(
                    "its lifecycle rule {id:?} deletes after {expires} days, before the {days} of the lock are over"
                ));
            }
        }
    }
    if let Some(encryption) = &wanted.encryption
        && object.encryption.as_deref() != Some(encryption.name())
    {
        let found = object.encryption.as_deref().unwrap_or("no encryption");
        problems.insert(format!("an object has {found}, wanted is {}", encryption.name()));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        serde_norway::from_str::<ObjectLock>("{ mode: compliance, days: 30 }")
            .map(|lock| Wanted { object_lock: Some(lock), encryption: None })
            .unwrap()
    }

    fn sound() -> (Inspected, Protected) {
        let bucket =
            Inspected { versioning: Some(true), object_lock: Some(true), expiries: Some(Vec::new()) };
        (bucket, Protected { mode: Some("COMPLIANCE".to_owned()), ..Protected::default() })
    }

    #[test]
    fn what_is_not_as_wanted_is_named() {
        let said = |wanted: &Wanted, bucket: &Inspected, object: &Protected| {
            problems(wanted, bucket, object, "audit/AWSLogs/111122223333/")
                .into_iter()
                .collect::<Vec<_>>()
                .join("; ")
        };
        let (bucket, object) = sound();
        assert_eq!(said(&wanted(), &bucket, &object), "");
        let without = Inspected { versioning: Some(false), object_lock: Some(false), ..bucket.clone() };
        let text = said(&wanted(), &without, &Protected::default());
        assert!(
            text.contains("no versions") && text.contains("no Object Lock") && text.contains("no lock"),
            "{text}"
        );

        for (prefix, days, expected) in [
            ("", 7, true),
            ("audit/", 7, true),
            ("audit/AWSLogs/111122223333/CloudTrail/", 29, true),
            ("other/", 7, false),
            ("", 30, false),
        ] {
            let expiry = Expiry { id: "rule".to_owned(), prefix: prefix.to_owned(), days };
            let bucket = Inspected { expiries: Some(vec![expiry]), ..bucket.clone() };
            assert_eq!(said(&wanted(), &bucket, &object).contains("lifecycle"), expected, "{prefix} {days}");
        }

        let encryption = serde_norway::from_str("{ type: sse-kms }").ok();
        let encrypted = Wanted { encryption, object_lock: None };
        assert_eq!(said(&encrypted, &bucket, &object), "an object has no encryption, wanted is aws:kms");
        let object = Protected { encryption: Some("aws:kms".to_owned()), ..object };
        assert_eq!(said(&encrypted, &bucket, &object), "");
    }

    #[test]
    fn a_lock_ends_days_after_delivery() {
        let until = |created, known| wanted().lock(created, known).unwrap().until.as_second();
        assert_eq!(until(1_768_473_677, None), 1_768_473_677 + 30 * DAY_S);
        assert_eq!(until(1_768_473_677, Some(5)), 5, "one that was decided before stays");
        assert_eq!(Wanted::default().lock(0, None), None);
    }
}
