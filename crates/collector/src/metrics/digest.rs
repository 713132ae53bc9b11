//! What is counted of digests, for each trail.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use sidetrail_archive::digest::StepError;
use sidetrail_archive::store::Failure;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TrailLabel {
    trail: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    trail: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabel {
    trail: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Default)]
struct Families {
    digests: Family<OutcomeLabel, Counter>,
    log_files: Family<TrailLabel, Counter>,
    late: Family<TrailLabel, Counter>,
    problems: Family<TrailLabel, Counter>,
    failures: Family<FailureLabel, Counter>,
    last_end: Family<TrailLabel, Gauge<u64, AtomicU64>>,
    lag: Family<TrailLabel, Gauge<f64, AtomicU64>>,
}

/// Metrics of all digests.
#[derive(Debug, Default)]
pub(crate) struct DigestFamilies {
    families: Families,
    trails: Mutex<Vec<String>>,
}

/// Metrics of the digests of one trail.
#[derive(Clone, Debug)]
pub(crate) struct DigestMetrics {
    families: Families,
    label: TrailLabel,
}

impl DigestFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let it = Self::default();
        let Families { digests, log_files, late, problems, failures, last_end, lag } = it.families.clone();
        registry.register(
            "digests",
            "Digests: written here, adopted from another writer, or passed over since something else is in their place",
            digests,
        );
        registry.register("digest_log_files", "Log files in digests, written or adopted", log_files);
        registry.register("digest_late_log_files", "Of these, delivered in an earlier period", late);
        registry.register("digest_problems", "What digests found not to be as it should", problems);
        registry.register("digest_failures", "Steps towards a digest that failed, by kind", failures);
        registry.register_with_unit(
            "digest_last_end_timestamp",
            "The end of the newest digest, since the Unix epoch; 0 before it is known",
            Unit::Seconds,
            last_end,
        );
        registry.register_with_unit(
            "digest_lag",
            "How late the next digest is; 0 if it is not",
            Unit::Seconds,
            lag,
        );
        it
    }

    /// The metrics of one trail, from 0 where it is new.
    pub(crate) fn trail(&self, trail: &str) -> DigestMetrics {
        let (families, label) = (self.families.clone(), TrailLabel { trail: trail.to_owned() });
        for outcome in ["wrote", "adopted", "passed_over"] {
            drop(families.digests.get_or_create(&OutcomeLabel { trail: trail.to_owned(), outcome }));
        }
        for kind in Failure::ALL.into_iter().map(Failure::name).chain(StepError::KINDS) {
            drop(families.failures.get_or_create(&FailureLabel { trail: trail.to_owned(), kind }));
        }
        for counter in [&families.log_files, &families.late, &families.problems] {
            drop(counter.get_or_create(&label));
        }
        self.trails.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(trail.to_owned());
        DigestMetrics { families, label }
    }

    /// Forgets how things stand, of all trails: nobody looks any more. What was counted stays.
    pub(crate) fn forget(&self) {
        let trails =
            std::mem::take(&mut *self.trails.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for trail in trails {
            let label = TrailLabel { trail };
            self.families.last_end.remove(&label);
            self.families.lag.remove(&label);
        }
    }
}

impl DigestMetrics {
    /// There is another digest.
    pub(crate) fn digest(&self, outcome: &'static str, log_files: u64, late: u64, problems: u64) {
        let Self { families, label } = self;
        let outcome = OutcomeLabel { trail: label.trail.clone(), outcome };
        families.digests.get_or_create(&outcome).inc();
        families.log_files.get_or_create(label).inc_by(log_files);
        families.late.get_or_create(label).inc_by(late);
        families.problems.get_or_create(label).inc_by(problems);
    }

    /// A step failed.
    pub(crate) fn failed(&self, kind: &'static str) {
        let label = FailureLabel { trail: self.label.trail.clone(), kind };
        self.families.failures.get_or_create(&label).inc();
    }

    /// How things stand.
    pub(crate) fn stands(&self, last_end: u64, lag_ms: i64) {
        self.families.last_end.get_or_create(&self.label).set(last_end);
        self.families.lag.get_or_create(&self.label).set(lag_ms as f64 / 1000.0);
    }
}
