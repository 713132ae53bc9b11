//! The pods that there are, of each only what matters here: some hundred bytes, for clusters of many thousands.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::config::Config;
use crate::inject::{Mode, find_collector, is_ours};
use crate::intent::{Intent, Unfit};
use crate::kube::Change;
use crate::names::{CONTAINER, PORT_NAME};

/// More are not kept; the API server says that a cluster has 150,000 at most.
const MAX_PODS: usize = 200_000;

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: names come again.
    pub uid: String,
    /// What made it, e.g. `ReplicaSet/web-7b96`.
    pub owner: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Whether its containers run, or are about to: it is neither through nor on its way out.
    pub is_live: bool,
    /// What is meant for it where its namespace asks for collectors, and where it does not.
    pub intents: [Intent; 2],
    /// Whether it has a collector that an injector made.
    pub has_collector: bool,
    /// Whether that has started.
    pub started: bool,
    /// Where its probes and metrics are, if they can be reached.
    pub address: Option<String>,
}

impl Observed {
    /// Of a pod.
    #[must_use]
    pub fn of(pod: Pod, config: &Config) -> Option<Self> {
        let intents = [false, true].map(|asks| Intent::of(&pod, asks, config, &mut Vec::new()));
        let status = pod.status.unwrap_or_default();
        let phase = status.phase.as_deref().unwrap_or("Pending");
        let is_live = ["Pending", "Running"].contains(&phase) && pod.metadata.deletion_timestamp.is_none();
        let found = pod.spec.as_ref().and_then(find_collector).filter(|(container, _)| is_ours(container));
        let statuses = match found {
            Some((_, Mode::Native)) => status.init_container_statuses,
            _ => status.container_statuses,
        };
        let of_collector = |status: &&ContainerStatus| status.name == CONTAINER;
        let collector = statuses.iter().flatten().find(of_collector);
        let started = collector.is_some_and(|status| {
            status.started == Some(true) && status.state.as_ref().is_some_and(|state| state.running.is_some())
        });
        let ports = found.into_iter().flat_map(|(container, _)| container.ports.iter().flatten());
        let port = ports
            .filter(|port| port.name.as_deref() == Some(PORT_NAME))
            .map(|port| port.container_port)
            .next();
        let ip = status.pod_ip.filter(|ip| !ip.is_empty());
        let owner =
            pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        Some(Self {
            owner: owner.map(|owner| format!("{}/{}", owner.kind, owner.name)),
            created: pod.metadata.creation_timestamp.map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            is_live,
            intents,
            has_collector: found.is_some(),
            started,
            address: ip.zip(port).map(|(ip, port)| {
                if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
            }),
            namespace: pod.metadata.namespace?,
            name: pod.metadata.name?,
            uid: pod.metadata.uid?,
        })
    }

    /// What is meant for it.
    #[must_use]
    pub fn intent(&self, namespace_asks: bool) -> Intent {
        self.intents[usize::from(namespace_asks)]
    }

    /// Whether it is of no interest whatever its namespace says.
    fn is_dull(&self) -> bool {
        !self.is_live || self.intents[1] == Intent::Unfit(Unfit::Mirror)
    }
}

/// The pods that there are, by uid.
#[derive(Debug, Default)]
pub struct Pods(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    pods: BTreeMap<String, Observed>,
    complete: bool,
}

impl Pods {
    /// Takes in what a watch tells.
    pub fn apply(&self, change: Change<Pod>, config: &Config) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Restart => {
                known.pods.clear();
                known.complete = false;
            }
            Change::Complete => known.complete = true,
            Change::Set(pod) => {
                let Some(observed) = Observed::of(pod, config) else { return };
                if observed.is_dull() {
                    known.pods.remove(&observed.uid);
                } else if known.pods.len() < MAX_PODS {
                    known.pods.insert(observed.uid.clone(), observed);
                }
            }
            Change::Gone(pod) => {
                pod.metadata.uid.and_then(|uid| known.pods.remove(&uid));
            }
        }
    }

    /// All of them, once all have been seen.
    #[must_use]
    pub fn all(&self) -> Option<Vec<Observed>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.complete.then(|| known.pods.values().cloned().collect())
    }
}
