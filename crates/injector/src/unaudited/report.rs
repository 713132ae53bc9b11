//! What is the case with a pod, and the report of all that are not audited. Reads no clock.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::pods::Observed;
use crate::intent::{Intent, Unfit};

/// Findings in a report; how many there are is said all the same.
const MAX_FINDINGS: usize = 5000;

/// Why a pod is not audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It has no collector: it is older than the label of its namespace, or the webhook was away.
    NotInjected,
    /// It cannot have one: it is a Windows pod.
    Unsupported,
    /// The collector has not started.
    CollectorNotStarted,
    /// The collector does not answer.
    CollectorUnreachable,
    /// No application has ever said hello to the collector: the layer is missing.
    NoLayer,
}

impl Reason {
    /// All of them, in the order of pages.
    pub const ALL: [Self; 5] = [
        Self::NotInjected,
        Self::NoLayer,
        Self::CollectorNotStarted,
        Self::CollectorUnreachable,
        Self::Unsupported,
    ];

    /// For people: what is wrong, in a few words.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::NotInjected => "Without a collector",
            Self::Unsupported => "Cannot have a collector",
            Self::CollectorNotStarted => "Collector not started",
            Self::CollectorUnreachable => "Collector does not answer",
            Self::NoLayer => "Layer missing",
        }
    }

    /// As a label of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotInjected => "not_injected",
            Self::Unsupported => "unsupported",
            Self::CollectorNotStarted => "collector_not_started",
            Self::CollectorUnreachable => "collector_unreachable",
            Self::NoLayer => "no_layer",
        }
    }

    /// For people: what is wrong, and what to do.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::NotInjected => {
                "The pod has no collector: it is older than the namespace's label, or was made while the webhook did not \
                 answer. Restart its workload (kubectl rollout restart)."
            }
            Self::Unsupported => "The collector runs on Linux only, and this is a Windows pod.",
            Self::CollectorNotStarted => {
                "The collector's container has not started: see its state and log (kubectl logs -c sidetrail-collector)."
            }
            Self::CollectorUnreachable => {
                "The collector does not answer on its port: is it restarting, or is there a NetworkPolicy in between?"
            }
            Self::NoLayer => {
                "No application in the pod has said hello to the collector: add Sidetrail's layer to the service, or \
                 exempt the pod with the label sidetrail.dev/inject=disabled."
            }
        }
    }
}

/// Whether an application has said hello to a pod's collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hello {
    /// It was not asked, or cannot be.
    #[default]
    Unknown,
    /// It does not answer.
    Unreachable,
    /// It answers, and nobody has.
    Never,
    /// Somebody has.
    Said,
}

/// What is the case with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody asks for it to be audited.
    NotAsked,
    /// It says itself that it is not to be.
    OptedOut,
    /// It is audited, as far as can be told.
    Audited,
    /// It is young; wait.
    Starting,
    /// It is not.
    Unaudited(Reason),
}

/// What is the case with a pod.
#[must_use]
pub fn judge(
    pod: &Observed,
    namespace_asks: bool,
    hello: Hello,
    now: Timestamp,
    grace: SignedDuration,
) -> State {
    match pod.intent(namespace_asks) {
        Intent::NotAsked | Intent::Unfit(Unfit::Mirror) => return State::NotAsked,
        Intent::OptedOut => return State::OptedOut,
        Intent::Unfit(Unfit::Windows) => return State::Unaudited(Reason::Unsupported),
        Intent::Audited => {}
    }
    if !pod.has_collector {
        // No grace: nothing will give it one any more.
        return State::Unaudited(Reason::NotInjected);
    }
    let state = match (pod.started, hello) {
        (true, Hello::Said) => return State::Audited,
        (true, Hello::Unknown) => State::Audited,
        (true, Hello::Never) => State::Unaudited(Reason::NoLayer),
        (true, Hello::Unreachable) => State::Unaudited(Reason::CollectorUnreachable),
        (false, _) => State::Unaudited(Reason::CollectorNotStarted),
    };
    if now.duration_since(pod.created) < grace { State::Starting } else { state }
}

/// A pod that is not audited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// What made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Why.
    pub reason: Reason,
    /// When it was made.
    pub created: Timestamp,
}

/// All pods that are not audited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When it was made; absent where this replica does not look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Pods that are audited.
    pub audited: usize,
    /// Pods that say that they are not to be.
    pub opted_out: usize,
    /// Pods that are not audited.
    pub unaudited: usize,
    /// The first of them, by namespace and name.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Adds a pod.
    pub fn add(&mut self, pod: &Observed, state: State) {
        match state {
            State::NotAsked | State::Starting => {}
            State::OptedOut => self.opted_out += 1,
            State::Audited => self.audited += 1,
            State::Unaudited(reason) => {
                self.unaudited += 1;
                if self.findings.len() < MAX_FINDINGS {
                    self.findings.push(Finding {
                        namespace: pod.namespace.clone(),
                        pod: pod.name.clone(),
                        uid: pod.uid.clone(),
                        owner: pod.owner.clone(),
                        reason,
                        created: pod.created,
                    });
                }
            }
        }
    }

    /// The part of it about one namespace, or all. The counts are those of the cluster.
    #[must_use]
    pub fn of(&self, namespace: Option<&str>) -> Self {
        let mut part = self.clone();
        if let Some(namespace) = namespace {
            part.findings.retain(|finding| finding.namespace == namespace);
        }
        part
    }
}

/// The last report, for pages.
#[derive(Debug, Default)]
pub struct Board(RwLock<Arc<Report>>);

impl Board {
    /// The last one.
    #[must_use]
    pub fn read(&self) -> Arc<Report> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another one there.
    pub fn post(&self, report: Report) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Observed {
        Observed {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            uid: "u".to_owned(),
            owner: None,
            created: Timestamp::UNIX_EPOCH,
            is_live: true,
            intents: [Intent::NotAsked, Intent::Audited],
            has_collector: true,
            started: true,
            address: None,
        }
    }

    #[test]
    fn each_reason_has_its_case() {
        let grace = SignedDuration::from_secs(60);
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let state = |pod: Observed, hello, seconds| judge(&pod, true, hello, at(seconds), grace);
        assert_eq!(state(pod(), Hello::Said, 100), State::Audited);
        assert_eq!(state(pod(), Hello::Unknown, 100), State::Audited);
        assert_eq!(state(pod(), Hello::Never, 10), State::Starting);
        assert_eq!(state(pod(), Hello::Never, 60), State::Unaudited(Reason::NoLayer));
        assert_eq!(state(pod(), Hello::Unreachable, 60), State::Unaudited(Reason::CollectorUnreachable));
        let stuck = Observed { started: false, ..pod() };
        assert_eq!(state(stuck.clone(), Hello::Said, 59), State::Starting);
        assert_eq!(state(stuck, Hello::Said, 60), State::Unaudited(Reason::CollectorNotStarted));
        let bare = Observed { has_collector: false, ..pod() };
        assert_eq!(state(bare.clone(), Hello::Unknown, 0), State::Unaudited(Reason::NotInjected));
        assert_eq!(judge(&bare, false, Hello::Unknown, at(100), grace), State::NotAsked);
        let windows = Observed { intents: [Intent::NotAsked, Intent::Unfit(Unfit::Windows)], ..bare.clone() };
        assert_eq!(state(windows, Hello::Unknown, 0), State::Unaudited(Reason::Unsupported));
        let out = Observed { intents: [Intent::NotAsked, Intent::OptedOut], ..bare };
        assert_eq!(state(out, Hello::Unknown, 100), State::OptedOut);
    }
}
