//! The writer of digests, in a collector that has the key: a thread beside the trails, which needs nothing of them.
//!
//! What it writes follows from what is in the bucket. It takes no part in shipping, holds nothing back, and can be away for
//! any time: the next one, here or elsewhere, goes on. So it ends at once when the collector does, and writes no last
//! digest; the period that was begun gets its digest from whoever comes next.

mod open;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};

pub use open::DigestError;
pub(crate) use open::{check, open};
use worker::Worker;

use crate::StartError;
use crate::config::Config;
use crate::environment::Environment;
use crate::metrics::Metrics;

/// What somebody should know who asks whether the collector is ready. It is ready without: digests come later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(crate) fn get(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, notes: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = notes;
    }
}

/// The digests of a collector: written, if it has a key.
#[derive(Debug)]
pub(crate) struct Digests {
    metrics: Arc<Metrics>,
    environment: Arc<dyn Environment>,
    notes: Notes,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    /// What it does, in words: two that are the same need no change.
    told: String,
    worker: Worker,
}

/// Digests that can be written as they are configured. Nothing has happened yet.
pub(crate) struct Plan(Option<open::Opened>);

impl Digests {
    pub(crate) fn new(metrics: Arc<Metrics>, environment: Arc<dyn Environment>) -> Self {
        Self { metrics, environment, notes: Notes::default(), running: None }
    }

    pub(crate) fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Opens what the configuration names, and changes nothing.
    pub(crate) fn plan(config: &Config) -> Result<Plan, StartError> {
        Ok(Plan(config.digest.as_ref().map(|digest| open(config, digest)).transpose()?))
    }

    /// Writes digests by the plan from now on.
    pub(crate) async fn apply(&mut self, Plan(opened): Plan) -> Result<(), StartError> {
        let told = opened.as_ref().map(|opened| opened.told.clone());
        if self.running.as_ref().map(|running| &running.told) == told.as_ref() {
            return Ok(());
        }
        self.stop().await;
        let Some(opened) = opened else { return Ok(()) };
        let told = opened.told.clone();
        let worker = Worker::start(opened, &self.metrics, Arc::clone(&self.environment), self.notes.clone())
            .map_err(StartError::Thread)?;
        self.running = Some(Running { told, worker });
        Ok(())
    }

    /// Ends with the request that it is at.
    pub(crate) async fn stop(&mut self) {
        if let Some(Running { worker, .. }) = self.running.take() {
            worker.stop().await;
        }
        self.metrics.digests.forget();
        self.notes.set(Vec::new());
    }
}
