//! What both sides count, in Prometheus' naming.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TrailLabel {
    trail: String,
}

/// Metrics of the gateway, and of those that forward to one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    forwarders: Gauge,
    frames: Counter,
    events: Counter,
    known: Counter,
    sent_frames: Family<TrailLabel, Counter>,
    sent_events: Family<TrailLabel, Counter>,
    parcels: Gauge<u64, AtomicU64>,
    parcel_bytes: Gauge<u64, AtomicU64>,
    parcels_stored: Counter,
    parcel_failures: Counter,
    lag: Family<TrailLabel, Gauge<f64, AtomicU64>>,
}

/// The metrics of one forwarding trail.
#[derive(Clone, Debug)]
pub(crate) struct ForwardMetrics {
    metrics: Metrics,
    label: TrailLabel,
}

/// Counts a forwarder as connected while it lives.
#[derive(Debug)]
pub(crate) struct OpenForwarder(Gauge);

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let it = metrics.clone();
        registry.register("forwarders_open", "Collectors that are connected to forward", it.forwarders);
        registry.register("forwarded_frames", "Frames taken from collectors since the start", it.frames);
        registry.register("forwarded_events", "Events of these frames", it.events);
        registry.register("forwarded_known", "Of these frames, those that were here already", it.known);
        registry.register("parcels", "Batches handed over by collectors and not in the bucket", it.parcels);
        registry.register_with_unit("parcels", "The same in bytes", Unit::Bytes, it.parcel_bytes);
        registry.register(
            "parcels_stored",
            "Batches handed over and stored, since the start",
            it.parcels_stored,
        );
        registry.register(
            "parcel_failures",
            "Failed attempts to store one, since the start",
            it.parcel_failures,
        );
        registry.register(
            "trail_forwarded_frames",
            "Frames that the gateway has on disk, since the start",
            it.sent_frames,
        );
        registry.register("trail_forwarded_events", "Events of these frames", it.sent_events);
        registry.register_with_unit(
            "trail_forward_lag",
            "How long the oldest event that the gateway does not have is here, when last looked",
            Unit::Seconds,
            it.lag,
        );
        metrics
    }

    pub(crate) fn forwarder_opened(&self) -> OpenForwarder {
        self.forwarders.inc();
        OpenForwarder(self.forwarders.clone())
    }

    /// A collector forwarded a frame.
    pub(crate) fn frame(&self, events: u64, known: bool) {
        self.frames.inc();
        self.events.inc_by(events);
        if known {
            self.known.inc();
        }
    }

    /// How many parcels wait, and their bytes.
    pub(crate) fn parcels(&self, (count, bytes): (u64, u64)) {
        self.parcels.set(count);
        self.parcel_bytes.set(bytes);
    }

    pub(crate) fn parcel_stored(&self) {
        self.parcels_stored.inc();
    }

    pub(crate) fn parcel_failed(&self) {
        self.parcel_failures.inc();
    }

    pub(crate) fn trail(&self, name: &str) -> ForwardMetrics {
        ForwardMetrics { metrics: self.clone(), label: TrailLabel { trail: name.to_owned() } }
    }
}

impl ForwardMetrics {
    /// The gateway has frames on disk.
    pub(crate) fn acked(&self, frames: u64, events: u64) {
        self.metrics.sent_frames.get_or_create(&self.label).inc_by(frames);
        self.metrics.sent_events.get_or_create(&self.label).inc_by(events);
    }

    pub(crate) fn lag(&self, seconds: f64) {
        self.metrics.lag.get_or_create(&self.label).set(seconds);
    }
}

impl Drop for OpenForwarder {
    fn drop(&mut self) {
        self.0.dec();
    }
}
