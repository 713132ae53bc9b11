//! An end that is announced: whatever runs beside the collector goes soon, so what is there ships at once, and the time
//! for shutting down counts from the announcement.
//!
//! In a pod that is deleted the grace period runs for all containers together, and a sidecar is told to end last: of its
//! own time nothing may be left then. Its preStop hook runs at the beginning.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// What a shutdown has in any case: Kubernetes gives two seconds where the grace period is over.
const MIN_TIME: Duration = Duration::from_secs(1);
/// So long after the time for a shutdown is over nobody believes in it any more.
const OVERDUE: Duration = Duration::from_secs(60);

/// Whether, and since when, the end is announced.
#[derive(Debug, Default)]
pub(crate) struct Announcement {
    since: Mutex<Option<Instant>>,
    made: Notify,
}

impl Announcement {
    /// Announces the end. Once it is announced, this changes nothing.
    pub(crate) fn make(&self, now: Instant) {
        self.lock().get_or_insert(now);
        self.made.notify_one();
    }

    /// Waits until it is made.
    pub(crate) async fn made(&self) {
        self.made.notified().await;
    }

    /// What is left of `timeout` for a shutdown that begins `now`.
    pub(crate) fn left_of(&self, timeout: Duration, now: Instant) -> Duration {
        let least = MIN_TIME.min(timeout);
        self.lock().map_or(timeout, |since| timeout.saturating_sub(now - since).max(least))
    }

    /// Takes it back where the end did not come. Whether it did.
    pub(crate) fn expire(&self, timeout: Duration, now: Instant) -> bool {
        self.lock().take_if(|since| now - *since > timeout + OVERDUE).is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn time_counts_from_the_first_announcement() {
        let announcement = Announcement::default();
        let timeout = Duration::from_secs(25);
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(announcement.left_of(timeout, after(100)), timeout);
        announcement.make(after(100));
        announcement.made().await;
        announcement.make(after(110));
        assert_eq!(announcement.left_of(timeout, after(110)), Duration::from_secs(15));
        assert_eq!(announcement.left_of(timeout, after(130)), MIN_TIME);
        assert_eq!(announcement.left_of(Duration::ZERO, after(130)), Duration::ZERO);
        assert!(!announcement.expire(timeout, after(185)));
        assert!(announcement.expire(timeout, after(186)));
        assert_eq!(announcement.left_of(timeout, after(186)), timeout);
    }
}
