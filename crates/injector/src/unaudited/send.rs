//! The report as a server gets it, which shows it to more people, and joins it with what it knows of collectors.

use std::path::PathBuf;

use http::Uri;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pods::Observed;
use super::report::{Finding, Reason, Report, State};
use crate::kube::{ApiError, Client, ClientError};

/// Where a server takes reports.
const PATH: &str = "/sidetrail/v1/unaudited";
/// Pods whose collectors should be in touch, of one report.
const MAX_EXPECTED: usize = 20_000;

/// A server that is told of unaudited pods.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportTo {
    /// Its address for collectors, e.g. `https://sidetrail-server.sidetrail.svc:8422`.
    pub server: String,
    /// PEM file of the authorities that may vouch for it.
    pub ca: PathBuf,
    /// File with a projected token of this pod's ServiceAccount, for the audience that the server wants.
    pub token: PathBuf,
}

impl ReportTo {
    /// What is wrong with it, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        let uri = self.server.parse::<Uri>().ok().filter(|uri| uri.authority().is_some());
        match uri.as_ref().and_then(Uri::scheme_str) {
            Some("https") => Ok(()),
            _ => Err(format!("{:?} must be https://host:port: a token is sent there", self.server)),
        }
    }
}

/// A report cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The authorities.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is needed for a call.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The call.
    #[error("the server does not take it: {0}")]
    Call(#[from] ApiError),
}

/// One of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct One {
    namespace: String,
    pod: String,
    uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    created: Timestamp,
}

/// Pods whose collectors should be in touch with a server.
#[derive(Debug, Default)]
pub struct Expected {
    pods: Vec<One>,
    omitted: usize,
}

impl Expected {
    /// Adds a pod, if its collector has run for long enough to be in touch.
    pub fn add(&mut self, pod: &Observed, state: State, now: Timestamp, grace: SignedDuration) {
        // Of the others it is said already what is wrong.
        let runs = matches!(state, State::Audited | State::Unaudited(Reason::NoLayer));
        if !runs || !pod.has_collector || !pod.started || now.duration_since(pod.created) < grace {
            return;
        }
        if self.pods.len() == MAX_EXPECTED {
            self.omitted += 1;
            return;
        }
        self.pods.push(One {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            owner: pod.owner.clone(),
            created: pod.created,
        });
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    at: Timestamp,
    audited: usize,
    opted_out: usize,
    unaudited: usize,
    findings: &'a [Finding],
    reasons: Vec<Explained>,
    expected: &'a [One],
    expected_omitted: usize,
}

/// What a reason means: the server knows none of them.
#[derive(Serialize)]
struct Explained {
    reason: Reason,
    title: &'static str,
    advice: &'static str,
}

/// Sends a report. Files are read each time: they are renewed.
///
/// # Errors
/// If a file cannot be read, or the server does not take it.
pub async fn send(
    to: &ReportTo,
    report: &Report,
    expected: &Expected,
    now: Timestamp,
) -> Result<(), SendError> {
    let authorities =
        std::fs::read(&to.ca).map_err(|source| SendError::Read { path: to.ca.clone(), source })?;
    let client = Client::new(&to.server, &authorities, Some(to.token.clone()))?;
    let explained = |reason: Reason| Explained { reason, title: reason.title(), advice: reason.advice() };
    let sent = Sent {
        at: now,
        audited: report.audited,
        opted_out: report.opted_out,
        unaudited: report.unaudited,
        findings: &report.findings,
        reasons: Reason::ALL.map(explained).into(),
        expected: &expected.pods,
        expected_omitted: expected.omitted,
    };
    client.post::<Value>(PATH, &sent).await?;
    Ok(())
}
