//! What the collector counts, in Prometheus' naming.
//!
//! The counts of events survive a restart, since the spool keeps them; the others start at 0. For each trail, at rest,
//! `accepted = shipped + queued + filtered + dropped + intents` since the trail began.

mod connections;
mod process;
mod reload;
mod timing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use sidetrail_spool::Usage;

pub(crate) use connections::{ConnectionMetrics, OpenConnection, Refused, Transport};
use process::Process;
pub(crate) use reload::ReloadMetrics;
use timing::{seconds, sizes};

use crate::gateway;
use crate::ledger::Totals;
use crate::space::Room;
use crate::trail::{Counts, Shipped, failure_kinds};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TrailLabel {
    trail: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SpaceLabel {
    of: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabel {
    trail: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: String,
}

/// What a page of metrics takes, about.
const PAGE: usize = 16 << 10;

/// All metrics of a collector.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    accepted: Counter,
    dropped: Counter,
    intents: Counter,
    intents_open: Gauge<u64, AtomicU64>,
    incomplete: Counter,
    missing: Gauge<u64, AtomicU64>,
    refused: Counter,
    streams: Gauge,
    spool_bytes: Gauge<u64, AtomicU64>,
    spool_budget: Gauge<u64, AtomicU64>,
    spool_segments: Gauge<u64, AtomicU64>,
    used: Family<SpaceLabel, Gauge<f64, AtomicU64>>,
    level: Family<SpaceLabel, Gauge<u64, AtomicU64>>,
    trails: TrailFamilies,
    /// Of the listeners.
    pub(crate) connections: ConnectionMetrics,
    /// Of the configuration.
    pub(crate) reload: ReloadMetrics,
    streams_ended: Family<CodeLabel, Counter>,
    ack: Histogram,
    batch_events: Histogram,
    given_up: Counter,
    /// Beside the registry, as these names have no prefix.
    process: Process,
    pub(crate) gateway: gateway::Metrics,
}

#[derive(Clone, Debug)]
struct TrailFamilies {
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
}

/// The metrics of one trail.
#[derive(Clone, Debug)]
pub(crate) struct TrailMetrics {
    families: TrailFamilies,
    label: TrailLabel,
}

/// Counts a stream as open while it lives.
#[derive(Debug)]
pub(crate) struct OpenStream(Gauge);

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("sidetrail");
        let trails = TrailFamilies::register(&mut registry);
        let gateway = gateway::Metrics::register(&mut registry);
        let metrics = Self {
            accepted: Counter::default(),
            dropped: Counter::default(),
            intents: Counter::default(),
            intents_open: Gauge::default(),
            incomplete: Counter::default(),
            missing: Gauge::default(),
            refused: Counter::default(),
            streams: Gauge::default(),
            spool_bytes: Gauge::default(),
            spool_budget: Gauge::default(),
            spool_segments: Gauge::default(),
            used: Family::default(),
            level: Family::default(),
            trails,
            connections: ConnectionMetrics::register(&mut registry),
            reload: ReloadMetrics::register(&mut registry),
            streams_ended: Family::default(),
            ack: seconds(),
            batch_events: sizes(),
            given_up: Counter::default(),
            process: Process::new(),
            gateway,
            registry: Registry::default(),
        };
        registry.register("events_accepted", "Events taken into the spool", metrics.accepted.clone());
        registry.register(
            "events_dropped",
            "Of these, events without a record: given up by the sender or refused",
            metrics.dropped.clone(),
        );
        registry.register("events_intents", "Of these, calls that were to begin", metrics.intents.clone());
        registry.register(
            "intents_open",
            "Calls that were to begin, and of which nothing came yet",
            metrics.intents_open.clone(),
        );
        registry.register(
            "incomplete",
            "Records of calls whose sender went without an outcome",
            metrics.incomplete.clone(),
        );
        registry.register(
            "events_missing",
            "Events that senders say they have numbered, and that have not come",
            metrics.missing.clone(),
        );
        registry.register("events_refused", "Events refused since the start", metrics.refused.clone());
        registry.register("streams_open", "Senders that are connected", metrics.streams.clone());
        registry.register_with_unit(
            "spool",
            "Bytes of all segment files",
            Unit::Bytes,
            metrics.spool_bytes.clone(),
        );
        registry.register_with_unit(
            "spool_budget",
            "Bytes that segment files may take",
            Unit::Bytes,
            metrics.spool_budget.clone(),
        );
        registry.register(
            "streams_ended",
            "Streams that ended, by gRPC's code; Ok after a goodbye",
            metrics.streams_ended.clone(),
        );
        registry.register_with_unit(
            "ack",
            "From taking a batch's frame to its being on disk",
            Unit::Seconds,
            metrics.ack.clone(),
        );
        registry.register("batch_events", "Events in a batch from a sender", metrics.batch_events.clone());
        registry.register(
            "events_given_up",
            "Events that a trail had before it when it was removed and could not ship them in time",
            metrics.given_up.clone(),
        );
        registry.register("spool_segments", "Segment files", metrics.spool_segments.clone());
        registry.register_with_unit(
            "spool_used",
            "How full the spool's budget and its disk are, 0 to 1",
            Unit::Ratios,
            metrics.used.clone(),
        );
        registry.register(
            "spool_warning_level",
            "How many of 70, 85 and 95 per cent that is over",
            metrics.level.clone(),
        );
        registry.register("build", "The build", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self { registry, ..metrics }
    }

    pub(crate) fn trail(&self, name: &str) -> TrailMetrics {
        TrailMetrics { families: self.trails.clone(), label: TrailLabel { trail: name.to_owned() } }
    }

    /// What [`crate::space::Space::look`] gives.
    pub(crate) fn space(&self, readings: [(Room, usize); 2]) {
        for (of, (room, level)) in ["budget", "disk"].into_iter().zip(readings) {
            self.used.get_or_create(&SpaceLabel { of }).set(room.percent() / 100.0);
            self.level.get_or_create(&SpaceLabel { of }).set(level as u64);
        }
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    /// A stream ended. There are seventeen codes.
    pub(crate) fn stream_ended(&self, code: tonic::Code) {
        self.streams_ended.get_or_create(&CodeLabel { code: format!("{code:?}") }).inc();
    }

    /// A batch of so many events came.
    pub(crate) fn batch(&self, events: usize) {
        self.batch_events.observe(events as f64);
    }

    /// Observes how long frames wait for the disk.
    pub(crate) fn ack(&self) -> Histogram {
        self.ack.clone()
    }

    /// A removed trail did not ship so many events.
    pub(crate) fn given_up(&self, events: u64) {
        self.given_up.inc_by(events);
    }

    /// A removed trail has no metrics.
    pub(crate) fn forget_trail(&self, name: &str) {
        self.trails.forget(&TrailLabel { trail: name.to_owned() });
    }

    pub(crate) fn stream_opened(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }

    /// The text that Prometheus reads, with the counts of the ledger and the spool as of now.
    pub(crate) fn encode(
        &self,
        Totals { accepted, dropped, intents, incomplete, open, missing }: Totals,
        usage: Usage,
    ) -> Result<String, std::fmt::Error> {
        set(&self.accepted, accepted);
        set(&self.dropped, dropped);
        set(&self.intents, intents);
        set(&self.incomplete, incomplete);
        self.intents_open.set(open);
        self.missing.set(missing);
        self.spool_bytes.set(usage.bytes);
        self.spool_budget.set(usage.budget);
        self.spool_segments.set(usage.segments);
        let mut text = String::with_capacity(PAGE);
        text::encode_registry(&mut text, &self.registry)?;
        text::encode_registry(&mut text, self.process.now())?;
        text::encode_eof(&mut text)?;
        Ok(text)
    }
}

impl TrailFamilies {
    fn register(registry: &mut Registry) -> Self {
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
}

impl TrailFamilies {
    fn forget(&self, label: &TrailLabel) {
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

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A counter that follows a count kept elsewhere.
fn set(counter: &Counter, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}
