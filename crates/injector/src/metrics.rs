//! What the injector counts, for Prometheus.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::admit::{Outcome, Question};
use crate::certificates::Change;

/// Namespaces that have metrics of their own; the rest is one, `other`.
const MAX_NAMESPACES: usize = 1000;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReviewLabels {
    webhook: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ChangeLabels {
    what: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    namespace: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    namespace: String,
    reason: &'static str,
}

/// Pods by namespace and by what is the case with them: state, and the reason if it is `unaudited`.
pub type Tally = BTreeMap<(String, &'static str, Option<&'static str>), i64>;

/// The metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reviews: Family<ReviewLabels, Counter>,
    duration: Histogram,
    certificate: Gauge<i64, AtomicI64>,
    authority: Gauge<i64, AtomicI64>,
    changes: Family<ChangeLabels, Counter>,
    pods: Family<StateLabels, Gauge>,
    unaudited: Family<ReasonLabels, Gauge>,
    leader: Gauge,
    /// One look at a time writes pods.
    writing: Mutex<()>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("sidetrail_injector");
        let it = Self {
            registry: Registry::default(),
            reviews: Family::default(),
            // From a tenth of a millisecond to a quarter of a second: beyond that the API server has given up soon.
            duration: Histogram::new([0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25]),
            certificate: Gauge::default(),
            authority: Gauge::default(),
            changes: Family::default(),
            pods: Family::default(),
            unaudited: Family::default(),
            leader: Gauge::default(),
            writing: Mutex::new(()),
        };
        registry.register("reviews", "Reviews by webhook and by what came of them", it.reviews.clone());
        registry.register_with_unit(
            "review_duration",
            "How long answers took",
            Unit::Seconds,
            it.duration.clone(),
        );
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the certificate of the webhooks ends, since the Unix epoch",
            Unit::Seconds,
            it.certificate.clone(),
        );
        registry.register_with_unit(
            "authority_expiry_timestamp",
            "When the injector's own authority ends, since the Unix epoch",
            Unit::Seconds,
            it.authority.clone(),
        );
        registry.register(
            "certificate_rotations",
            "Changes of authority and certificate",
            it.changes.clone(),
        );
        registry.register(
            "pods",
            "Running pods that are meant to be audited, or say that they are not",
            it.pods.clone(),
        );
        registry.register(
            "unaudited_pods",
            "Of these, pods that are not audited, by reason",
            it.unaudited.clone(),
        );
        registry.register(
            "leader",
            "Whether this replica looks after certificates and unaudited pods",
            it.leader.clone(),
        );
        registry.register("build", "The build", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self { registry, ..it }
    }

    /// Counts a review. Without an outcome it could not be answered.
    pub fn reviewed(&self, question: Question, outcome: Option<Outcome>, took: Duration) {
        let webhook = match question {
            Question::MutateByNamespace => "namespace",
            Question::MutateByPod => "pod",
            Question::Validate => "validate",
        };
        let outcome = outcome.map_or("error", Outcome::as_str);
        self.reviews.get_or_create(&ReviewLabels { webhook, outcome }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Says when certificate and authority end.
    pub fn certificates(&self, certificate: Timestamp, authority: Timestamp) {
        self.certificate.set(certificate.as_second());
        self.authority.set(authority.as_second());
    }

    /// Counts a change of them.
    pub fn certificates_changed(&self, change: Change) {
        self.changes.get_or_create(&ChangeLabels { what: change.as_str(), outcome: "success" }).inc();
    }

    /// Counts a look at them that failed.
    pub fn certificates_failed(&self) {
        self.changes.get_or_create(&ChangeLabels { what: "look", outcome: "failure" }).inc();
    }

    /// Says whether this replica is the one.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// Says how many pods there are, in place of what was said before.
    pub fn pods(&self, tally: &Tally) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.pods.clear();
        self.unaudited.clear();
        let mut named = std::collections::BTreeSet::new();
        for ((namespace, state, reason), count) in tally {
            let namespace = if named.contains(namespace) || named.len() < MAX_NAMESPACES {
                named.insert(namespace.clone());
                namespace.clone()
            } else {
                "other".to_owned()
            };
            if let Some(reason) = reason {
                self.unaudited
                    .get_or_create(&ReasonLabels { namespace: namespace.clone(), reason })
                    .inc_by(*count);
            }
            self.pods.get_or_create(&StateLabels { namespace, state }).inc_by(*count);
        }
    }

    /// The text for Prometheus.
    ///
    /// # Errors
    /// Never, as long as texts can be written to.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
