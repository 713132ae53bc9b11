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
    pub(crate) fn make(&self) {
        self.lock().get_or_insert_with(Instant::now);
        self.made.notify_one();
    }

    /// Waits until it is made.
    pub(crate) async fn made(&self) {
        self.made.notified().await;
    }

    /// What is left of `timeout` for a shutdown that begins now.
    pub(crate) fn left_of(&self, timeout: Duration) -> Duration {
        let since = *self.lock();
        since.map_or(timeout, |since| timeout.saturating_sub(since.elapsed()).max(MIN_TIME.min(timeout)))
    }

    /// Takes it back where the end did not come. Whether it did.
    pub(crate) fn expire(&self, timeout: Duration) -> bool {
        self.lock().take_if(|since| since.elapsed() > timeout + OVERDUE).is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_counts_from_the_first_announcement() {
        let announcement = Announcement::default();
        let timeout = Duration::from_secs(25);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(announcement.left_of(timeout), timeout);
        announcement.make();
        announcement.made().await;
        tokio::time::advance(Duration::from_secs(10)).await;
        announcement.make();
        assert_eq!(announcement.left_of(timeout), Duration::from_secs(15));
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(announcement.left_of(timeout), MIN_TIME);
        assert_eq!(announcement.left_of(Duration::ZERO), Duration::ZERO);
        assert!(!announcement.expire(timeout));
        tokio::time::advance(Duration::from_secs(56)).await;
        assert!(announcement.expire(timeout));
        assert_eq!(announcement.left_of(timeout), timeout);
    }
}
