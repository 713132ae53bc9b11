//! The thread that writes digests: one for all trails of the collector, since there is next to nothing to do.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sidetrail_archive::digest::{Digester, Done, Step, StepError, Summary};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Notes;
use super::open::{Keys, Opened};
use crate::environment::Environment;
use crate::metrics::{DigestMetrics, Metrics};
use crate::trail::step_back;

/// After the first failure; doubled with each further one.
const MIN_BACKOFF_MS: i64 = 1_000;
const MAX_BACKOFF_MS: i64 = 300_000;
/// The clock is looked at so often, since it may be changed while there is nothing to do.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// A digest that is so late is worth a note to who asks whether the collector is ready.
const LATE_MS: i64 = 3_600_000;
/// How long the end of the collector, or of a configuration, waits for a token that does not answer.
const LEAVE_AFTER: Duration = Duration::from_secs(5);
/// The most problems of a digest that are logged one by one.
const MAX_SAID: usize = 20;

/// A running writer.
#[derive(Debug)]
pub(super) struct Worker {
    stop: CancellationToken,
    /// Closed when the thread ends.
    ended: oneshot::Receiver<()>,
}

impl Worker {
    pub(super) fn start(
        opened: Opened,
        metrics: &Metrics,
        environment: Arc<dyn Environment>,
        notes: Notes,
    ) -> std::io::Result<Self> {
        let (stop, runtime) = (CancellationToken::new(), Handle::current());
        let (tell, ended) = oneshot::channel();
        let names: Vec<_> =
            opened.trails().map(|name| (name.to_owned(), metrics.digests.trail(name))).collect();
        let run = Run { environment, notes, runtime, stop: stop.clone() };
        let work = move || {
            step_back();
            if let Some(trails) = run.open(opened, names) {
                run.run(trails);
            }
            drop(tell);
        };
        std::thread::Builder::new().name("digests".to_owned()).spawn(work)?;
        Ok(Self { stop, ended })
    }

    /// Ends it, in the middle of a request if need be, and waits for that. What hangs in a token is left there: it writes
    /// nothing any more.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if tokio::time::timeout(LEAVE_AFTER, self.ended).await.is_err() {
            tracing::warn!("the writer of digests waits for its key and is left behind");
        }
    }
}

struct Trail {
    name: String,
    digester: Digester,
    metrics: DigestMetrics,
    /// When there is something to do, milliseconds since the epoch.
    due: i64,
    failures: u32,
    /// What is wrong, while it is.
    failing: Option<String>,
}

struct Run {
    environment: Arc<dyn Environment>,
    notes: Notes,
    runtime: Handle,
    stop: CancellationToken,
}

impl Run {
    /// Asks for the keys until there are, or the end.
    fn open(&self, mut opened: Opened, names: Vec<(String, DigestMetrics)>) -> Option<Vec<Trail>> {
        let mut failures = 0;
        let signers = loop {
            let elsewhere = match &opened.keys {
                Keys::There(signers) => break signers.clone(),
                Keys::Elsewhere(elsewhere) => elsewhere,
            };
            let text = match elsewhere.open() {
                Ok(signers) => {
                    opened.keys = Keys::There(signers);
                    continue;
                }
                Err(error) => crate::chain(&error),
            };
            let again = backoff(failures);
            failures += 1;
            tracing::warn!(error = text, again_ms = again, "cannot write digests now");
            names.iter().for_each(|(_, metrics)| metrics.failed(StepError::SIGNER));
            let note = |(name, _): &(String, DigestMetrics)| cannot(name, &text);
            self.notes.set(names.iter().map(note).collect());
            if self.wait(Duration::from_millis(again.unsigned_abs())) {
                return None;
            }
        };
        if self.stop.is_cancelled() {
            return None;
        }
        let fingerprint = signers.last()?.public_key().fingerprint();
        let now = self.environment.unix_ms();
        let trail = |((name, digester), (_, metrics)): ((String, Digester), (String, DigestMetrics))| {
            tracing::info!(trail = name, key = %fingerprint, "digests are written");
            Trail { name, digester, metrics, due: now, failures: 0, failing: None }
        };
        Some(opened.digesters(&signers).into_iter().zip(names).map(trail).collect())
    }

    fn run(&self, mut trails: Vec<Trail>) {
        loop {
            let mut next = i64::MAX;
            for trail in &mut trails {
                let now = self.environment.unix_ms();
                // A clock that was set back must not make it wait for the time that was.
                if trail.due <= now || trail.due > now.saturating_add(2 * 86_400_000) {
                    let at = Timestamp::from_millisecond(now).unwrap_or(Timestamp::UNIX_EPOCH);
                    let step = self.stop.run_until_cancelled(trail.digester.step(at));
                    match self.runtime.block_on(step) {
                        Some(Ok(step)) => trail.did(step),
                        Some(Err(error)) => trail.failed(&error, now),
                        None => return,
                    }
                }
                trail.look(self.environment.unix_ms());
                next = next.min(trail.due);
            }
            let notes = trails.iter().filter_map(|trail| trail.note(self.environment.unix_ms()));
            self.notes.set(notes.collect());
            let wait = next.saturating_sub(self.environment.unix_ms()).max(0).unsigned_abs();
            if self.wait(Duration::from_millis(wait).min(MAX_WAIT)) {
                return;
            }
        }
    }

    /// Whether it is the end.
    fn wait(&self, time: Duration) -> bool {
        // A thread that was left behind may come here after the runtime.
        if self.stop.is_cancelled() {
            return true;
        }
        let wait = async { tokio::time::timeout(time, self.stop.cancelled()).await };
        self.runtime.block_on(wait).is_ok()
    }
}

/// Milliseconds after so many failures and one more.
fn backoff(failures: u32) -> i64 {
    MIN_BACKOFF_MS.saturating_mul(1 << failures.min(20)).min(MAX_BACKOFF_MS)
}

fn cannot(trail: &str, text: &str) -> String {
    format!("digests of trail {trail} cannot be written: {text}")
}

impl Trail {
    fn did(&mut self, step: Step) {
        if self.failing.take().is_some() {
            tracing::info!(trail = self.name, "digests go on");
        }
        self.failures = 0;
        self.due = step.next.as_millisecond();
        for warning in &step.warnings {
            tracing::warn!(trail = self.name, warning, "looked at what digests cover");
        }
        match step.done {
            Done::Nothing => {}
            Done::Wrote(summary) => self.say(&summary, "wrote", "digest stored"),
            Done::Adopted(summary) => self.say(&summary, "adopted", "another writer had stored the digest"),
            Done::PassedOver(object) => {
                self.metrics.digest("passed_over", 0, 0, 0);
                tracing::error!(trail = self.name, %object, "something else is at the place of a digest: its period is part of the next one");
            }
        }
    }

    fn say(&self, summary: &Summary, outcome: &'static str, text: &'static str) {
        let Summary { object, log_files, late_log_files, manifests, problems, .. } = summary;
        self.metrics.digest(outcome, *log_files, *late_log_files, problems.len() as u64);
        tracing::info!(trail = self.name, %object, log_files, late_log_files, manifests, problems = problems.len(), "{text}");
        for problem in problems.iter().take(MAX_SAID) {
            tracing::error!(
                trail = self.name,
                object = problem.key,
                reason = problem.reason,
                "the digest names a problem"
            );
        }
    }

    fn failed(&mut self, error: &StepError, now: i64) {
        self.metrics.failed(error.kind());
        let backoff = backoff(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.due = now.saturating_add(backoff);
        let text = crate::chain(error);
        // Once, and again when it is something else.
        if self.failing.as_ref() == Some(&text) {
            tracing::debug!(trail = self.name, error = text, again_ms = backoff, "cannot write digests");
        } else {
            tracing::warn!(trail = self.name, error = text, kind = error.kind(), "cannot write digests now");
        }
        self.failing = Some(text);
    }

    /// When the period ended whose digest is missing longest: a little ago, if all is well.
    fn behind(&self, now: i64) -> i64 {
        let settings = self.digester.settings();
        let length = settings.cadence.length();
        let last = self.digester.last_end().map(Timestamp::as_millisecond);
        let due = last.map(|end| end.saturating_add((length + settings.settle).as_millis() as i64));
        due.map_or(0, |due| now.saturating_sub(due).max(0))
    }

    fn look(&self, now: i64) {
        let last = self.digester.last_end().map_or(0, Timestamp::as_second);
        self.metrics.stands(u64::try_from(last).unwrap_or(0), self.behind(now));
    }

    fn note(&self, now: i64) -> Option<String> {
        let behind = self.behind(now);
        match &self.failing {
            Some(failing) => Some(cannot(&self.name, failing)),
            None if behind > LATE_MS => {
                Some(format!("digests of trail {} are {} minutes late", self.name, behind / 60_000))
            }
            None => None,
        }
    }
}
