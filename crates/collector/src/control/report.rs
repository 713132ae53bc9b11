//! What a server is told of a collector.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sidetrail_archive::key::Id;
use sidetrail_spool::Committer;
use sidetrail_wire::control::v1::{Hello, Source, Status, TrailStatus, Workload};

use crate::config::Config;
use crate::intake::Intake;
use crate::ledger::SharedLedger;
use crate::metrics::{Metrics, TrailReading};
use crate::pressure::Pressure;

/// Sources of a report that are named.
const MAX_NAMED: usize = 32;

/// Looks at what there is to tell.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    pub(crate) committer: Committer<SharedLedger>,
    pub(crate) ledger: SharedLedger,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) intake: Intake,
}

impl Reporter {
    /// How the collector is now.
    pub(crate) fn status(&self) -> Status {
        let (totals, usage) = (self.ledger.totals(), self.committer.usage());
        let (silent_count, silent) = self.intake.silent(MAX_NAMED);
        Status {
            accepted: totals.accepted,
            dropped: totals.dropped,
            spool_bytes: usage.bytes,
            spool_budget: usage.budget,
            full: self.pressure.is_full(),
            streams: self.metrics.open_streams(),
            trails: self.metrics.trail_readings().into_iter().map(TrailStatus::from).collect(),
            silent: silent
                .into_iter()
                .map(|(source, gone)| {
                    let (last_sequence, assigned) = self.ledger.standing(source);
                    Source {
                        source: Bytes::copy_from_slice(&source.0),
                        service: gone.service,
                        instance: gone.instance,
                        since_unix_ms: gone.since_unix_ms,
                        last_sequence,
                        missing: assigned.saturating_sub(last_sequence),
                    }
                })
                .collect(),
            silent_count: silent_count as u64,
        }
    }
}

impl From<TrailReading> for TrailStatus {
    fn from(reading: TrailReading) -> Self {
        let TrailReading { name, shipped, queued, oldest_unix_ms, last_shipped_unix_ms, failing } = reading;
        Self { name, shipped, queued, oldest_unix_ms, last_shipped_unix_ms, failing: failing.to_owned() }
    }
}

/// What a collector says of itself when it comes. `revision` is that of the assignment it goes by.
pub(crate) fn hello(config: &Config, collector: Id, started_unix_ms: i64, revision: String) -> Hello {
    Hello {
        protocol_version: sidetrail_wire::control::v1::PROTOCOL_VERSION,
        collector: Bytes::copy_from_slice(&collector.0),
        account_id: config.account.as_str().to_owned(),
        region: config.region.as_str().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host(Path::new("/proc/sys/kernel/hostname")),
        started_unix_ms,
        takes_trails: config.control.as_ref().is_some_and(|control| control.trails),
        revision,
        workload: config.workload.clone().map(workload),
    }
}

fn workload(configured: crate::config::Workload) -> Workload {
    let crate::config::Workload { namespace, pod, service_account, uid, node } = configured;
    let text = Option::unwrap_or_default;
    Workload {
        namespace: text(namespace),
        pod: text(pod),
        uid: text(uid),
        service_account: text(service_account),
        node: text(node),
    }
}

fn host(path: &Path) -> String {
    std::fs::read_to_string(path).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}
