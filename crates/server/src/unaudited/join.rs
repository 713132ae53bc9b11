//! A report and what the server knows of collectors, put together.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sidetrail_api::shape::{Collector, Standing};

use super::report::{Explained, Finding, Kept, Report};

/// A report comes every half minute by default; one that is older than this is said to be old.
pub(super) const OLD: SignedDuration = SignedDuration::from_mins(5);
/// The collector of a pod has never been in touch.
const NEVER: &str = "never_joined";
/// It was, and is not any more.
const LOST: &str = "out_of_touch";
/// Pods of these two that are shown.
const MAX_SHOWN: usize = 5000;

/// What is shown.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// When the report came, and from which pod.
    pub(super) report: Option<(Timestamp, String)>,
    /// As in the report.
    pub(super) audited: u64,
    pub(super) opted_out: u64,
    pub(super) unaudited: u64,
    /// Pods whose collectors are not in touch with a server.
    pub(super) untouched: u64,
    /// How many pods nobody looked at for that.
    pub(super) expected_omitted: u64,
    pub(super) findings: Vec<Finding>,
    pub(super) reasons: Vec<Explained>,
}

impl Shown {
    pub(super) fn new(kept: Option<&Kept>, collectors: &[Collector]) -> Self {
        let Report { audited, opted_out, unaudited, mut findings, mut reasons, expected, expected_omitted } =
            kept.map(|kept| kept.report.clone()).unwrap_or_default();
        // Where a pod's collector began anew with another id, one that is in touch is enough.
        let mut by_uid: HashMap<&str, bool> = HashMap::new();
        for collector in collectors {
            if let Some(workload) = &collector.workload {
                *by_uid.entry(&workload.uid).or_default() |= collector.standing == Standing::Connected;
            }
        }
        let mut untouched = 0;
        for pod in expected {
            let reason = match by_uid.get(pod.uid.as_str()) {
                Some(true) => continue,
                Some(false) => LOST,
                None => NEVER,
            };
            untouched += 1;
            if untouched <= MAX_SHOWN as u64 {
                findings.push(Finding { pod, reason: reason.to_owned() });
            }
        }
        let explained = |reason: &str, title: &str, advice: &str| Explained {
            reason: reason.to_owned(),
            title: title.to_owned(),
            advice: advice.to_owned(),
        };
        reasons.push(explained(
            NEVER,
            "Collector never in touch",
            "The pod's collector has started and has never said hello to a server: its log says why (kubectl logs -c \
             sidetrail-collector). Is an entry of control.kubernetes.workloads for the pod, and no NetworkPolicy in between?",
        ));
        reasons.push(explained(
            LOST,
            "Collector out of touch",
            "The pod's collector was in touch and is not any more. It goes on by what it was told last; its log says why.",
        ));
        let report = kept.map(|kept| (kept.received, kept.from.clone()));
        Self { report, audited, opted_out, unaudited, untouched, expected_omitted, findings, reasons }
    }

    /// Those of one namespace, or all.
    pub(super) fn of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Finding> {
        self.findings.iter().filter(move |it| namespace.is_empty() || it.pod.namespace == namespace)
    }

    /// How old the report is, if there is one.
    pub(super) fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        self.report.as_ref().map(|(received, _)| now.duration_since(*received).max(SignedDuration::ZERO))
    }

    /// Pods that are not in the list, although they are not audited.
    pub(super) fn omitted(&self) -> u64 {
        (self.unaudited + self.untouched).saturating_sub(self.findings.len() as u64)
    }

    /// For programs. The counts are those of the cluster.
    pub(super) fn json(&self, namespace: &str, now: Timestamp) -> Value {
        let report = self.report.as_ref().zip(self.age(now)).map(|((received, from), age)| {
            json!({ "received": received, "from": from, "ageSeconds": age.as_secs(), "old": age > OLD })
        });
        json!({
            "report": report,
            "audited": self.audited,
            "optedOut": self.opted_out,
            "unaudited": self.unaudited,
            "notInTouch": self.untouched,
            "notLookedAt": self.expected_omitted,
            "omitted": self.omitted(),
            "findings": self.of(namespace).collect::<Vec<_>>(),
        })
    }
}
