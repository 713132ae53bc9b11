//! The trails that run, and how they come, change and go while the collector does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sidetrail_spool::{Committer, Position};
use tokio::time::Instant;

use super::open::{Opener, Prepared};
use super::state::Progress;
use super::worker::Worker;
use crate::StartError;
use crate::config::TrailConfig;
use crate::ledger::SharedLedger;

/// How long a trail that was removed may take to ship what had come until then. After that it is given up, and said: it
/// would hold back the spool for ever.
pub(crate) const REMOVAL_TIMEOUT: Duration = Duration::from_secs(600);

/// The cursor that lets the spool go while there are no trails.
pub(super) const IDLE: &str = "idle";

/// Wakes the workers when there is something to ship.
pub(crate) type Wakers = Arc<Mutex<HashMap<String, Box<dyn Fn() + Send>>>>;

/// The trails of a collector.
pub(crate) struct Roster {
    opener: Opener,
    wakers: Wakers,
    running: Vec<Running>,
    /// Removed, and not through yet. There are never more than trails that were removed within the time-out.
    leaving: Vec<Leaving>,
}

struct Running {
    config: TrailConfig,
    key: String,
    worker: Worker,
}

struct Leaving {
    name: String,
    worker: Worker,
    /// What was accepted when it was removed.
    accepted: u64,
    deadline: Instant,
}

/// Trails that can be run as they are configured. Nothing has happened yet.
pub(crate) struct Plan(Vec<(TrailConfig, Prepared)>);

impl Roster {
    pub(crate) fn new(opener: Opener, wakers: Wakers) -> Self {
        Self { opener, wakers, running: Vec::new(), leaving: Vec::new() }
    }

    /// Starts the trails of a collector that takes no events yet.
    pub(crate) fn start(&mut self, trails: &[TrailConfig]) -> Result<(), StartError> {
        for config in trails {
            let prepared = self.opener.prepare(config)?;
            let key = prepared.key().to_owned();
            let worker = self.opener.start(prepared)?;
            self.run(config.clone(), key, worker);
        }
        Ok(())
    }

    /// Opens what `trails` need, and changes nothing.
    pub(crate) fn plan(&self, trails: &[TrailConfig]) -> Result<Plan, StartError> {
        let plan = trails.iter().map(|config| {
            let name = config.name.to_string();
            if self.leaving.iter().any(|leaving| leaving.name == name) {
                let reason =
                    "it was removed a moment ago and still ships what had come until then".to_owned();
                return Err(StartError::Trail { trail: name, reason });
            }
            let running = self.running.iter().find(|running| running.config.name == config.name);
            if running.is_some_and(|running| running.config.forwards() != config.forwards()) {
                let reason =
                    "it cannot begin or cease to forward while it runs: that needs a restart".to_owned();
                return Err(StartError::Trail { trail: name, reason });
            }
            Ok((config.clone(), self.opener.prepare(config)?))
        });
        plan.collect::<Result<_, _>>().map(Plan)
    }

    /// Adds, changes and removes trails, so that there are those of the plan.
    pub(crate) async fn apply(&mut self, Plan(plan): Plan) -> Result<(), StartError> {
        let names: Vec<_> = plan.iter().map(|(config, _)| config.name.clone()).collect();
        for (config, prepared) in plan {
            let key = prepared.key().to_owned();
            match self.running.iter_mut().find(|running| running.config.name == config.name) {
                Some(running) if running.config == config && running.key == key => {}
                Some(running) => {
                    prepared.take_over(&running.worker);
                    (running.config, running.key) = (config, key);
                }
                None => {
                    let worker = self.opener.add(prepared).await?;
                    self.run(config, key, worker);
                }
            }
        }
        if !self.running.is_empty() && self.opener.committer.cursors().positions().contains_key(IDLE) {
            // It would hold the spool back from now on.
            let removed = self.opener.committer.cursors().remove(IDLE);
            removed.map_err(|error| StartError::Trail {
                trail: IDLE.to_owned(),
                reason: crate::chain(&error),
            })?;
        }
        // Last: should the spool not take a new trail, none is gone.
        let (stay, leave) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|running: &Running| names.contains(&running.config.name));
        self.running = stay;
        for Running { config, worker, .. } in leave {
            self.see_off(config.name.to_string(), worker);
        }
        Ok(())
    }

    /// Sees to trails that are leaving: those that are through, and those that take too long. Call it now and then.
    pub(crate) fn look_after(&mut self) {
        let (ended, leaving): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.leaving).into_iter().partition(|leaving| leaving.worker.is_finished());
        self.leaving = leaving;
        for leaving in &self.leaving {
            if leaving.deadline <= Instant::now() {
                // It ends with the request that it is at.
                leaving.worker.stop();
            }
        }
        for leaving in ended {
            self.forget(leaving);
        }
        if self.running.is_empty() && self.leaving.is_empty() {
            self.idle();
        }
    }

    /// Nobody will ship what is in the spool: no trail took it. A trail that is added begins at its end.
    fn idle(&self) {
        let committer = &self.opener.committer;
        let (cursors, end) = (committer.cursors(), committer.durable());
        if cursors.positions().get(IDLE) == Some(&end) {
            return;
        }
        match cursors.set(IDLE, end, &[]) {
            Ok(()) => committer.release(),
            Err(error) => tracing::warn!(error = %crate::chain(&error), "cannot let the spool go"),
        }
    }

    /// Has all trails ship at once, or as they are configured again.
    pub(crate) fn flush(&self, flush: bool) {
        self.workers().for_each(|worker| worker.flush(flush));
    }

    /// Gives up on the stores: what they have not taken is left to the gateway.
    pub(crate) fn hand_over(&self) {
        self.workers().for_each(Worker::hand_over);
        self.opener.give_up.cancel();
    }

    /// Trails that wait for a batch to be stored before they change, and those that are leaving.
    pub(crate) fn unsettled(&self) -> usize {
        self.running.iter().filter(|running| running.worker.is_changing()).count() + self.leaving.len()
    }

    /// The names and workers of those that stay, to be joined.
    pub(crate) fn into_workers(mut self) -> Vec<(String, Worker)> {
        self.look_after();
        let running =
            self.running.into_iter().map(|running| (running.config.name.to_string(), running.worker));
        running.collect()
    }

    /// The workers of all, of those that leave too.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Worker> {
        let running = self.running.iter().map(|running| &running.worker);
        running.chain(self.leaving.iter().map(|leaving| &leaving.worker))
    }

    fn run(&mut self, config: TrailConfig, key: String, worker: Worker) {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.insert(config.name.to_string(), Box::new(worker.waker()));
        drop(wakers);
        self.running.push(Running { config, key, worker });
    }

    fn see_off(&mut self, name: String, worker: Worker) {
        let Opener { committer, ledger, .. } = &self.opener;
        let (accepted, end): (u64, Position) = (ledger.totals().accepted, committer.durable());
        tracing::info!(trail = name, "trail removed; it ships what has come until now");
        worker.end_at(end);
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        self.leaving.push(Leaving { name, worker, accepted, deadline: Instant::now() + REMOVAL_TIMEOUT });
    }

    fn forget(&self, leaving: Leaving) {
        let Leaving { name, worker, accepted, .. } = leaving;
        let committer: &Committer<SharedLedger> = &self.opener.committer;
        let (cursor, cursors) = (Progress::cursor_name(&name), committer.cursors());
        let is_through = worker.join().is_some();
        let left = Progress::left(&cursors, &cursor, accepted);
        if let Err(error) = Progress::retire(&cursors, &self.opener.retired, &cursor) {
            tracing::error!(trail = name, error = %crate::chain(&error), "cannot remove the cursor; the next start does");
        }
        self.opener.metrics.forget_trail(&name);
        committer.release();
        if is_through {
            tracing::info!(trail = name, "trail ended: all that had come is in the store");
        } else {
            tracing::error!(
                trail = name,
                given_up = left,
                "trail ended: what it had not shipped is given up"
            );
            self.opener.metrics.given_up(left.unwrap_or(0));
        }
    }
}

impl std::fmt::Debug for Roster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |running: &Running| running.config.name.to_string();
        f.debug_struct("Roster")
            .field("running", &self.running.iter().map(names).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
