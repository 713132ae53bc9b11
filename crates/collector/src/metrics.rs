//! What the collector counts, in Prometheus' naming.
//!
//! The counts of events survive a restart, since the spool keeps them; the others start at 0. For each trail, at rest,
//! `accepted = shipped + queued + filtered + dropped + intents` since the trail began.

mod connections;
mod digest;
mod process;
mod reload;
mod timing;
mod trail;

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use sidetrail_spool::Usage;

pub(crate) use connections::{ConnectionMetrics, OpenConnection, Refused, Transport};
pub(crate) use digest::{DigestFamilies, DigestMetrics};
use process::Process;
pub(crate) use reload::ReloadMetrics;
use timing::{seconds, sizes};
use trail::TrailFamilies;
pub(crate) use trail::{TrailMetrics, TrailReading};

use crate::gateway;
use crate::ledger::Totals;
use crate::space::Room;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SpaceLabel {
    of: &'static str,
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
    /// Of digests.
    pub(crate) digests: DigestFamilies,
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
            digests: DigestFamilies::register(&mut registry),
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
        self.trails.of(name)
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
        self.trails.forget(name);
    }

    /// How the trails are.
    pub(crate) fn trail_readings(&self) -> Vec<TrailReading> {
        self.trails.readings()
    }

    /// Senders that are connected.
    pub(crate) fn open_streams(&self) -> u64 {
        self.streams.get().try_into().unwrap_or_default()
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

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A counter that follows a count kept elsewhere.
fn set(counter: &Counter, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}
