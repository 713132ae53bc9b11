//! What the collector counts, in Prometheus' naming.
//!
//! The counts of events survive a restart, since the spool keeps them; the others start at 0. For each trail, at rest,
//! `accepted = shipped + queued + filtered + dropped + intents` since the trail began.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use sidetrail_spool::Usage;

use crate::gateway;
use crate::ledger::Totals;
use crate::trail::{Counts, Shipped};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TrailLabel {
    trail: String,
}

/// All metrics of a collector.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    accepted: Counter,
    dropped: Counter,
    intents: Counter,
    intents_open: Gauge<u64, AtomicU64>,
    incomplete: Counter,
    refused: Counter,
    streams: Gauge,
    spool_bytes: Gauge<u64, AtomicU64>,
    spool_budget: Gauge<u64, AtomicU64>,
    spool_segments: Gauge<u64, AtomicU64>,
    trails: TrailFamilies,
    pub(crate) gateway: gateway::Metrics,
}

#[derive(Clone, Debug, Default)]
struct TrailFamilies {
    shipped: Family<TrailLabel, Counter>,
    filtered: Family<TrailLabel, Counter>,
    dropped: Family<TrailLabel, Counter>,
    intents: Family<TrailLabel, Counter>,
    queued: Family<TrailLabel, Gauge<u64, AtomicU64>>,
    log_files: Family<TrailLabel, Counter>,
    stored: Family<TrailLabel, Counter>,
    content: Family<TrailLabel, Counter>,
    failures: Family<TrailLabel, Counter>,
    last_success: Family<TrailLabel, Gauge<u64, AtomicU64>>,
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
            refused: Counter::default(),
            streams: Gauge::default(),
            spool_bytes: Gauge::default(),
            spool_budget: Gauge::default(),
            spool_segments: Gauge::default(),
            trails,
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
        registry.register("spool_segments", "Segment files", metrics.spool_segments.clone());
        registry.register("build", "The build", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self { registry, ..metrics }
    }

    pub(crate) fn trail(&self, name: &str) -> TrailMetrics {
        TrailMetrics { families: self.trails.clone(), label: TrailLabel { trail: name.to_owned() } }
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    pub(crate) fn stream_opened(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }

    /// The text that Prometheus reads, with the counts of the ledger and the spool as of now.
    pub(crate) fn encode(
        &self,
        Totals { accepted, dropped, intents, incomplete, open }: Totals,
        usage: Usage,
    ) -> Result<String, std::fmt::Error> {
        set(&self.accepted, accepted);
        set(&self.dropped, dropped);
        set(&self.intents, intents);
        set(&self.incomplete, incomplete);
        self.intents_open.set(open);
        self.spool_bytes.set(usage.bytes);
        self.spool_budget.set(usage.budget);
        self.spool_segments.set(usage.segments);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl TrailFamilies {
    fn register(registry: &mut Registry) -> Self {
        let families = Self::default();
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
        registry.register("trail_failures", "Failed attempts to ship since the start", it.failures);
        registry.register_with_unit(
            "trail_last_success_timestamp",
            "When a batch was last stored, since the Unix epoch",
            Unit::Seconds,
            it.last_success,
        );
        families
    }
}

impl TrailMetrics {
    pub(crate) fn shipped(&self, shipped: &Shipped, now_unix_ms: i64) {
        let it = &self.families;
        if shipped.log.is_some() {
            it.log_files.get_or_create(&self.label).inc();
        }
        it.stored.get_or_create(&self.label).inc_by(shipped.stored_bytes);
        it.content.get_or_create(&self.label).inc_by(shipped.content_bytes);
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

    pub(crate) fn failed(&self) {
        self.families.failures.get_or_create(&self.label).inc();
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
