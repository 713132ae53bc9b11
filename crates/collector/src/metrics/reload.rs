//! Which configuration the collector goes by, and whether it took the last one.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Hash {
    hash: String,
}

/// The metrics of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReloadMetrics {
    reloads: Family<Outcome, Counter>,
    last_success: Gauge<u64, AtomicU64>,
    config: Family<Hash, Gauge>,
    pending: Gauge<u64, AtomicU64>,
    unsettled: Gauge<u64, AtomicU64>,
}

impl ReloadMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let it = Self::default();
        for outcome in ["success", "failure"] {
            drop(it.reloads.get_or_create(&Outcome { outcome }));
        }
        registry.register("config_reloads", "Configurations that were read again", it.reloads.clone());
        registry.register_with_unit(
            "config_last_reload_success_timestamp",
            "When a configuration was last taken, the start included, since the Unix epoch",
            Unit::Seconds,
            it.last_success.clone(),
        );
        registry.register("config_info", "The configuration by the hash of its text", it.config.clone());
        registry.register(
            "config_restart_required",
            "Keys whose change waits for a restart",
            it.pending.clone(),
        );
        registry.register(
            "trails_unsettled",
            "Trails that change after the batch that they are at, or are removed and still ship",
            it.unsettled.clone(),
        );
        it
    }

    /// A configuration is in force, but for `pending` keys.
    pub(crate) fn took(&self, hash: &str, pending: usize, now_unix_ms: i64) {
        self.config.clear();
        self.config.get_or_create(&Hash { hash: hash.to_owned() }).set(1);
        self.pending.set(pending as u64);
        self.last_success.set(u64::try_from(now_unix_ms / 1000).unwrap_or(0));
    }

    pub(crate) fn succeeded(&self) {
        self.reloads.get_or_create(&Outcome { outcome: "success" }).inc();
    }

    pub(crate) fn failed(&self) {
        self.reloads.get_or_create(&Outcome { outcome: "failure" }).inc();
    }

    pub(crate) fn unsettled(&self, trails: usize) {
        self.unsettled.set(trails as u64);
    }
}
