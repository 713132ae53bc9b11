//! What is counted for each trail.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::set;
use super::timing::seconds;
use crate::trail::{Counts, Shipped, failure_kinds};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TrailLabel {
    trail: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabel {
    trail: String,
    kind: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct TrailFamilies {
    shipped: Family<TrailLabel, Counter>,
    filtered: Family<TrailLabel, Counter>,
    dropped: Family<TrailLabel, Counter>,
    intents: Family<TrailLabel, Counter>,
    queued: Family<TrailLabel, Gauge<u64, AtomicU64>>,
    log_files: Family<TrailLabel, Counter>,
    stored: Family<TrailLabel, Counter>,
    content: Family<TrailLabel, Counter>,
    failures: Family<FailureLabel, Counter>,
    losses: Family<TrailLabel, Counter>,
    quarantined: Family<TrailLabel, Counter>,
    unlocked: Family<TrailLabel, Gauge<u64, AtomicU64>>,
    protection: Family<TrailLabel, Gauge<u64, AtomicU64>>,
    ahead: Family<TrailLabel, Gauge<u64, AtomicU64>>,
    conditional: Family<TrailLabel, Gauge<u64, AtomicU64>>,
    last_success: Family<TrailLabel, Gauge<u64, AtomicU64>>,
    oldest: Family<TrailLabel, Gauge<f64, AtomicU64>>,
    backoff: Family<TrailLabel, Gauge<f64, AtomicU64>>,
    ship: Family<TrailLabel, Histogram, fn() -> Histogram>,
    /// The trails that there are, and why the last attempt of each failed; empty if it did not.
    failing: Arc<Mutex<BTreeMap<String, &'static str>>>,
}

/// How a trail is.
#[derive(Clone, Debug)]
pub(crate) struct TrailReading {
    pub(crate) name: String,
    pub(crate) shipped: u64,
    pub(crate) queued: u64,
    /// 0 if there is none.
    pub(crate) oldest_unix_ms: i64,
    pub(crate) last_shipped_unix_ms: i64,
    pub(crate) failing: &'static str,
}

/// The metrics of one trail.
#[derive(Clone, Debug)]
pub(crate) struct TrailMetrics {
    families: TrailFamilies,
    label: TrailLabel,
}

impl TrailFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let families = Self {
            shipped: Family::default(),
            filtered: Family::default(),
            dropped: Family::default(),
            intents: Family::default(),
            queued: Family::default(),
            log_files: Family::default(),
            stored: Family::default(),
            content: Family::default(),
            failures: Family::default(),
            losses: Family::default(),
            quarantined: Family::default(),
            unlocked: Family::default(),
            protection: Family::default(),
            conditional: Family::default(),
            ahead: Family::default(),
            last_success: Family::default(),
            oldest: Family::default(),
            backoff: Family::default(),
            ship: Family::new_with_constructor(seconds),
            failing: Arc::default(),
        };
        let it = families.clone();
        registry.register("trail_events_shipped", "Events that are records in the store", it.shipped);
        registry.register("trail_events_filtered", "Events that the trail does not select", it.filtered);
        registry.register(
            "trail_events_dropped",
            "Events without a record, as the manifests say",
            it.dropped,
        );
        registry.register(
            "trail_events_intents",
            "Events that are intents, as the manifests say",
            it.intents,
        );
        registry.register("trail_events_queued", "Events in the spool that are not in the store", it.queued);
        registry.register("trail_log_files", "Log files stored since the start", it.log_files);
        registry.register_with_unit(
            "trail_stored",
            "Bytes of log files stored since the start",
            Unit::Bytes,
            it.stored,
        );
        registry.register_with_unit("trail_content", "The same before compression", Unit::Bytes, it.content);
        registry.register("trail_failures", "Failed attempts to ship since the start, by kind", it.failures);
        registry.register(
            "trail_spool_losses",
            "Parts of the spool that could not be read, as the manifests say, since the start",
            it.losses,
        );
        registry.register(
            "trail_quarantined_frames",
            "Frames that could not be understood and were set aside, since the start",
            it.quarantined,
        );
        registry.register(
            "trail_unlocked_objects",
            "Objects that are stored and still have to be locked",
            it.unlocked,
        );
        registry.register(
            "trail_protection_problems",
            "Ways in which the bucket does not protect objects as configured, as of the last look",
            it.protection,
        );
        registry.register_with_unit(
            "trail_chain_ahead",
            "How far the times of the chain are ahead of a clock that was set back",
            Unit::Seconds,
            it.ahead,
        );
        registry.register(
            "trail_conditional_create",
            "1 where the store honours conditional create, 0 where each put is checked before and after",
            it.conditional,
        );
        registry.register_with_unit(
            "trail_last_success_timestamp",
            "When a batch was last stored, since the Unix epoch",
            Unit::Seconds,
            it.last_success,
        );
        registry.register_with_unit(
            "trail_oldest_unshipped_timestamp",
            "When the oldest event came that is read and not in the store, since the Unix epoch; 0 if there is none",
            Unit::Seconds,
            it.oldest,
        );
        registry.register_with_unit(
            "trail_backoff",
            "How long the trail waits before it tries again; 0 while nothing has failed",
            Unit::Seconds,
            it.backoff,
        );
        registry.register_with_unit(
            "trail_ship",
            "What the step took by which a batch came to be in the store",
            Unit::Seconds,
            it.ship,
        );
        families
    }

    /// The metrics of one trail. What alerts look at is there from the start: an increase from nothing is none.
    pub(super) fn of(&self, trail: &str) -> TrailMetrics {
        self.failing().entry(trail.to_owned()).or_default();
        let label = TrailLabel { trail: trail.to_owned() };
        for counters in [&self.losses, &self.quarantined] {
            counters.get_or_create(&label).inc_by(0);
        }
        self.protection.get_or_create(&label).set(0);
        TrailMetrics { families: self.clone(), label }
    }

    fn failing(&self) -> MutexGuard<'_, BTreeMap<String, &'static str>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How all trails are.
    pub(super) fn readings(&self) -> Vec<TrailReading> {
        let failing = self.failing().clone();
        let reading = |(name, failing): (String, &'static str)| {
            let label = TrailLabel { trail: name };
            let seconds = i64::try_from(self.last_success.get_or_create(&label).get()).unwrap_or(i64::MAX);
            TrailReading {
                shipped: self.shipped.get_or_create(&label).get(),
                queued: self.queued.get_or_create(&label).get(),
                // Within what an f64 has exactly.
                oldest_unix_ms: (self.oldest.get_or_create(&label).get() * 1000.0) as i64,
                last_shipped_unix_ms: seconds.saturating_mul(1000),
                failing,
                name: label.trail,
            }
        };
        failing.into_iter().map(reading).collect()
    }

    /// Leaves a trail out from now on.
    pub(super) fn forget(&self, trail: &str) {
        self.failing().remove(trail);
        let label = &TrailLabel { trail: trail.to_owned() };
        for counters in [
            &self.shipped,
            &self.filtered,
            &self.dropped,
            &self.intents,
            &self.log_files,
            &self.stored,
            &self.content,
            &self.losses,
            &self.quarantined,
        ] {
            counters.remove(label);
        }
        for kind in failure_kinds() {
            self.failures.remove(&FailureLabel { trail: label.trail.clone(), kind });
        }
        for gauges in [&self.queued, &self.unlocked, &self.protection, &self.conditional, &self.ahead] {
            gauges.remove(label);
        }
        self.last_success.remove(label);
        self.oldest.remove(label);
        self.backoff.remove(label);
        self.ship.remove(label);
    }
}

impl TrailMetrics {
    /// When the oldest event came that is not in the store.
    pub(crate) fn oldest(&self, unix_ms: Option<i64>) {
        let seconds = unix_ms.map_or(0.0, |ms| ms as f64 / 1000.0);
        self.families.oldest.get_or_create(&self.label).set(seconds);
    }

    pub(crate) fn backoff(&self, backoff: Duration) {
        if backoff.is_zero() {
            self.fails("");
        }
        self.families.backoff.get_or_create(&self.label).set(backoff.as_secs_f64());
    }

    pub(crate) fn ship_took(&self, time: Duration) {
        self.families.ship.get_or_create(&self.label).observe(time.as_secs_f64());
    }

    pub(crate) fn shipped(&self, shipped: &Shipped, now_unix_ms: i64) {
        let it = &self.families;
        if shipped.log.is_some() {
            it.log_files.get_or_create(&self.label).inc();
        }
        it.stored.get_or_create(&self.label).inc_by(shipped.stored_bytes);
        it.content.get_or_create(&self.label).inc_by(shipped.content_bytes);
        it.losses.get_or_create(&self.label).inc_by(shipped.losses as u64);
        it.quarantined.get_or_create(&self.label).inc_by(shipped.quarantined as u64);
        self.succeeded(now_unix_ms);
    }

    /// Events are where they are to be.
    pub(crate) fn succeeded(&self, now_unix_ms: i64) {
        let seconds = u64::try_from(now_unix_ms / 1000).unwrap_or(0);
        self.families.last_success.get_or_create(&self.label).set(seconds);
    }

    pub(crate) fn counts(&self, counts: Counts, queued: u64) {
        set(&self.families.shipped.get_or_create(&self.label), counts.shipped);
        set(&self.families.filtered.get_or_create(&self.label), counts.filtered);
        set(&self.families.dropped.get_or_create(&self.label), counts.dropped);
        set(&self.families.intents.get_or_create(&self.label), counts.intents);
        self.families.queued.get_or_create(&self.label).set(queued);
    }

    /// `kind` is one of a few words that say who has to do something.
    pub(crate) fn failed(&self, kind: &'static str) {
        let label = FailureLabel { trail: self.label.trail.clone(), kind };
        self.families.failures.get_or_create(&label).inc();
        self.fails(kind);
    }

    fn fails(&self, kind: &'static str) {
        if let Some(failing) = self.families.failing().get_mut(&self.label.trail) {
            *failing = kind;
        }
    }

    /// Ways in which the bucket does not protect objects as configured.
    pub(crate) fn protection(&self, problems: usize) {
        self.families.protection.get_or_create(&self.label).set(problems as u64);
    }

    /// Whether the store honours conditional create, once that is known.
    pub(crate) fn conditional(&self, honoured: bool) {
        self.families.conditional.get_or_create(&self.label).set(u64::from(honoured));
    }

    /// Seconds that the chain is ahead of the clock.
    pub(crate) fn ahead(&self, seconds: u64) {
        self.families.ahead.get_or_create(&self.label).set(seconds);
    }

    /// Objects that are stored and still have to be locked.
    pub(crate) fn unlocked(&self, count: usize) {
        self.families.unlocked.get_or_create(&self.label).set(count as u64);
    }
}
