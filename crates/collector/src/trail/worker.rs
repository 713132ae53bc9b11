//! The thread of one trail: takes step after step, waits when there is nothing to do, and backs off when a step fails.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::destination::Destination;
use super::shipper::{Shipper, Step};
use super::state::Progress;
use crate::environment::Environment;
use crate::gateway::HandOver;
use crate::metrics::TrailMetrics;

/// After the first failure; doubled with each further one.
const MIN_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// While shutting down: the deadline is near, and the store may be back.
const MAX_DRAIN_BACKOFF: Duration = Duration::from_secs(1);
/// A worker looks at the clock at least this often, since the clock may be changed while it waits.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Wakes and ends a worker.
#[derive(Debug, Default)]
pub(super) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
    /// The same for a worker that waits for something else too.
    changed_async: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// There may be frames.
    pub(super) woken: bool,
    /// Ship what there is without waiting for its age, then end.
    pub(super) drain: bool,
    /// Leave to the gateway what the store has not taken.
    pub(super) hand_over: bool,
    /// End now. What is left is shipped after the next start.
    pub(super) stop: bool,
}

/// A running trail.
#[derive(Debug)]
pub(crate) struct Worker {
    signal: Arc<Signal>,
    thread: JoinHandle<Option<Progress>>,
    /// Ends requests to the store.
    give_up: CancellationToken,
}

/// What a worker needs besides its shipper.
pub(crate) struct Surroundings {
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) metrics: TrailMetrics,
    /// Events accepted so far.
    pub(crate) accepted: Box<dyn Fn() -> u64 + Send>,
    /// Called when a batch is in the store: segments may go.
    pub(crate) shipped: Box<dyn Fn() + Send>,
    /// Who takes at shutdown what the store does not.
    pub(crate) gateway: Option<Box<dyn HandOver>>,
}

impl Worker {
    pub(crate) fn start<D: Destination + 'static>(
        shipper: Shipper<D>,
        surroundings: Surroundings,
        give_up: CancellationToken,
    ) -> std::io::Result<Self> {
        let worker = Self::spawn(|signal| Run { shipper, surroundings, signal, failures: 0 }.run())?;
        Ok(Self { give_up, ..worker })
    }

    /// Starts a thread that heeds the signal it is given.
    pub(super) fn spawn(
        run: impl FnOnce(Arc<Signal>) -> Option<Progress> + Send + 'static,
    ) -> std::io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let given = Arc::clone(&signal);
        let thread = std::thread::Builder::new().name("trail".to_owned()).spawn(|| run(given))?;
        Ok(Self { signal, thread, give_up: CancellationToken::new() })
    }

    /// Says that there are new frames.
    pub(crate) fn waker(&self) -> impl Fn() + Send + Sync + use<> {
        let signal = Arc::clone(&self.signal);
        move || signal.change(|state| state.woken = true)
    }

    /// Asks the worker to ship what there is, then to end.
    pub(crate) fn drain(&self) {
        self.signal.change(|state| state.drain = true);
    }

    /// Asks the worker not to wait for its store any longer, and to leave the rest to its gateway if it has one.
    pub(crate) fn hand_over(&self) {
        self.signal.change(|state| state.hand_over = true);
        self.give_up.cancel();
    }

    /// Asks the worker to end after the step that it is in.
    pub(crate) fn stop(&self) {
        self.signal.change(|state| state.stop = true);
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end. Where the trail stands if everything is shipped.
    pub(crate) fn join(self) -> Option<Progress> {
        self.thread.join().ok().flatten()
    }
}

impl Signal {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
        self.changed_async.notify_one();
    }

    /// Waits until `end` holds or `wait` is over, and takes back `woken`.
    pub(super) fn wait(&self, wait: Duration, end: impl Fn(&State) -> bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, wait, |state| !end(state));
        waited.unwrap_or_else(PoisonError::into_inner).0.woken = false;
    }

    pub(super) fn get(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change since the last call, if there was none.
    pub(super) async fn changed(&self) {
        self.changed_async.notified().await;
    }
}

struct Run<D> {
    shipper: Shipper<D>,
    surroundings: Surroundings,
    signal: Arc<Signal>,
    failures: u32,
}

impl<D: Destination> Run<D> {
    fn run(mut self) -> Option<Progress> {
        loop {
            let State { drain, stop, hand_over, .. } = self.signal.get();
            if stop {
                return None;
            }
            let now = self.surroundings.environment.unix_ms();
            let gateway = self.surroundings.gateway.as_deref().filter(|_| hand_over);
            let stepped = match gateway {
                Some(gateway) => self.shipper.hand_over(now, gateway),
                None => self.shipper.step(now, drain),
            };
            match stepped {
                Ok(Step::Shipped(shipped)) => {
                    self.failures = 0;
                    tracing::info!(
                        trail = %self.shipper.trail().name,
                        records = shipped.records,
                        bytes = shipped.stored_bytes,
                        log = shipped.log,
                        manifest = shipped.manifest,
                        handed_over = gateway.is_some(),
                        "shipped"
                    );
                    self.surroundings.metrics.shipped(&shipped, now);
                    self.note();
                    (self.surroundings.shipped)();
                }
                Ok(Step::Idle { .. }) if drain => return Some(self.shipper.into_progress()),
                Ok(Step::Idle { until_unix_ms }) => {
                    self.failures = 0;
                    let wait = until_unix_ms.map_or(MAX_WAIT, |until| {
                        Duration::from_millis(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
                    });
                    self.note();
                    self.signal.wait(wait.min(MAX_WAIT), |state| state.woken || state.drain || state.stop);
                }
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    let backoff = backoff(&*self.surroundings.environment, self.failures, drain);
                    tracing::warn!(
                        trail = %self.shipper.trail().name,
                        error = %crate::chain(&error),
                        retry_ms = backoff.as_millis(),
                        "cannot ship; events stay in the spool"
                    );
                    self.surroundings.metrics.failed();
                    self.note();
                    // New frames do not shorten a backoff; a shutdown does.
                    self.signal.wait(backoff, |state| {
                        state.stop || state.drain && !drain || state.hand_over && !hand_over
                    });
                }
            }
        }
    }

    fn note(&self) {
        let progress = self.shipper.progress();
        let queued = progress.queued((self.surroundings.accepted)());
        self.surroundings.metrics.counts(progress.counts(), queued);
    }
}

/// Doubled with each failure up to a cap, half of it by chance: collectors that failed together come back apart.
pub(super) fn backoff(environment: &dyn Environment, failures: u32, drain: bool) -> Duration {
    let cap = if drain { MAX_DRAIN_BACKOFF } else { MAX_BACKOFF };
    let doubled = MIN_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(cap);
    let mut byte = [0];
    if environment.random(&mut byte).is_err() {
        return doubled;
    }
    doubled / 2 + doubled.mul_f64(f64::from(byte[0]) / 510.0)
}
