//! What an injector reports. It comes from another program, maybe of another version: what is not known is left out, and
//! everything has a bound.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Findings of one report.
const MAX_FINDINGS: usize = 5000;
/// Pods whose collectors should be in touch.
const MAX_EXPECTED: usize = 20_000;
/// Reasons that a report explains.
const MAX_REASONS: usize = 32;
/// Bytes of a name, which Kubernetes bounds by 253, and of what made it.
const MAX_NAME: usize = 512;
/// Bytes of an explanation.
const MAX_ADVICE: usize = 1024;

/// A report as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    /// When it came.
    pub(super) received: Timestamp,
    /// From which pod.
    pub(super) from: String,
    pub(super) report: Report,
}

/// All pods of a cluster that are not audited, and those that are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Report {
    /// How many are audited, say that they are not to be, and are not audited.
    pub(super) audited: u64,
    pub(super) opted_out: u64,
    pub(super) unaudited: u64,
    /// The first of the last.
    pub(super) findings: Vec<Finding>,
    /// What their reasons mean.
    pub(super) reasons: Vec<Explained>,
    /// Pods whose collectors have started and should be in touch with a server.
    pub(super) expected: Vec<Pod>,
    /// How many more of these there are.
    pub(super) expected_omitted: u64,
}

/// A pod that is not audited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finding {
    #[serde(flatten)]
    pub(super) pod: Pod,
    /// Why, in a word.
    pub(super) reason: String,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) uid: String,
    /// What made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    /// When it was made.
    pub(super) created: Timestamp,
}

/// What a reason means, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Explained {
    pub(super) reason: String,
    pub(super) title: String,
    pub(super) advice: String,
}

impl Report {
    /// The same, if it keeps to the bounds.
    pub(super) fn checked(self) -> Result<Self, String> {
        for (member, count, most) in [
            ("findings", self.findings.len(), MAX_FINDINGS),
            ("expected", self.expected.len(), MAX_EXPECTED),
            ("reasons", self.reasons.len(), MAX_REASONS),
        ] {
            if count > most {
                return Err(format!("{member} has {count} entries, allowed are {most}"));
            }
        }
        let pods = self.findings.iter().map(|finding| &finding.pod).chain(&self.expected);
        let names =
            pods.flat_map(|pod| [Some(&pod.namespace), Some(&pod.pod), Some(&pod.uid), pod.owner.as_ref()]);
        let reasons = self.reasons.iter().flat_map(|it| [&it.reason, &it.title]);
        let names = names.flatten().chain(self.findings.iter().map(|finding| &finding.reason)).chain(reasons);
        if names.into_iter().any(|name| name.len() > MAX_NAME) {
            return Err(format!("a name in it is longer than {MAX_NAME} bytes"));
        }
        if self.reasons.iter().any(|it| it.advice.len() > MAX_ADVICE) {
            return Err(format!("an advice in it is longer than {MAX_ADVICE} bytes"));
        }
        Ok(self)
    }
}
