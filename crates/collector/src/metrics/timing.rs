//! The buckets of histograms: few, since each is a time series.

use prometheus_client::metrics::histogram::Histogram;

/// From a fraction of a quick disk's sync to a store's time-out.
const SECONDS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Up to [`MAX_BATCH_EVENTS`](crate::MAX_BATCH_EVENTS).
const EVENTS: [f64; 7] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 2048.0];

pub(super) fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

pub(super) fn sizes() -> Histogram {
    Histogram::new(EVENTS)
}
