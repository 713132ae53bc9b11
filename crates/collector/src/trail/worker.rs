//! The thread of one trail: takes step after step, waits when there is nothing to do, and backs off when a step fails.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sidetrail_spool::Position;

use super::destination::{Destination, StoreDestination};
use super::shipper::{Shipper, Step, Trail};
use super::state::Progress;
use crate::environment::Environment;
use crate::metrics::TrailMetrics;

/// After the first failure; doubled with each further one.
const MIN_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// While shutting down: the deadline is near, and the store may be back.
const MAX_DRAIN_BACKOFF: Duration = Duration::from_secs(1);
/// A worker looks at the clock at least this often, since the clock may be changed while it waits.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// How often locks are tried again.
const LOCK_EVERY_MS: i64 = 30_000;

/// Where cores are short, taking events comes first: somebody waits for the ack, and nobody for a log file. It still gets
/// a tenth of a core that intake wants for itself, and all of it once the spool is full.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Wakes, changes and ends a worker.
struct Signal<D> {
    state: Mutex<State>,
    /// What the trail is to become between two batches.
    next: Mutex<Option<(Trail, D)>>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// There may be frames.
    woken: bool,
    /// Ship what there is without waiting for its age, then end.
    drain: bool,
    /// End now. What is left is shipped after the next start.
    stop: bool,
    /// There is something in `next`.
    change: bool,
    /// Take nothing from here on.
    end: Option<Position>,
}

/// A running trail.
pub(crate) struct Worker<D = StoreDestination> {
    signal: Arc<Signal<D>>,
    thread: JoinHandle<Option<Progress>>,
}

/// What a worker needs besides its shipper.
pub(crate) struct Surroundings {
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) metrics: TrailMetrics,
    /// Events accepted so far.
    pub(crate) accepted: Box<dyn Fn() -> u64 + Send>,
    /// Called when a batch is in the store: segments may go.
    pub(crate) shipped: Box<dyn Fn() + Send>,
}

impl<D: Destination + 'static> Worker<D> {
    pub(crate) fn start(shipper: Shipper<D>, surroundings: Surroundings) -> std::io::Result<Self> {
        let signal =
            Arc::new(Signal { state: Mutex::default(), next: Mutex::default(), changed: Condvar::new() });
        let run = Run { shipper, surroundings, signal: Arc::clone(&signal), failures: 0, lock_at_unix_ms: 0 };
        let thread = std::thread::Builder::new().name("trail".to_owned()).spawn(|| run.run())?;
        Ok(Self { signal, thread })
    }

    /// Says that there are new frames.
    pub(crate) fn waker(&self) -> impl Fn() + Send + Sync + use<D> {
        let signal = Arc::clone(&self.signal);
        move || signal.change(|state| state.woken = true)
    }

    /// Asks the worker to go on as another trail of the same name, once the batch that it has decided on is stored where
    /// it was to be. A later wish takes the place of this one.
    pub(crate) fn change(&self, trail: Trail, destination: D) {
        *self.signal.next.lock().unwrap_or_else(PoisonError::into_inner) = Some((trail, destination));
        self.signal.change(|state| state.change = true);
    }

    /// Whether a change waits for a batch to be stored.
    pub(crate) fn is_changing(&self) -> bool {
        self.signal.get().change
    }

    /// Asks the worker to ship what there is up to `end`, then to end.
    pub(crate) fn end_at(&self, end: Position) {
        self.signal.change(|state| (state.end, state.drain) = (Some(end), true));
    }

    /// Asks the worker to ship what there is, then to end.
    pub(crate) fn drain(&self) {
        self.signal.change(|state| state.drain = true);
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

impl<D> std::fmt::Debug for Worker<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("state", &self.signal.get()).finish_non_exhaustive()
    }
}

impl<D> Signal<D> {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Waits until `end` holds or `wait` is over, and takes back `woken`.
    fn wait(&self, wait: Duration, end: impl Fn(&State) -> bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, wait, |state| !end(state));
        waited.unwrap_or_else(PoisonError::into_inner).0.woken = false;
    }

    fn get(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the calling thread a lower priority. Elsewhere than on Linux that would be the whole process.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "shipping goes at the priority of everything else");
    }
}

struct Run<D> {
    shipper: Shipper<D>,
    surroundings: Surroundings,
    signal: Arc<Signal<D>>,
    failures: u32,
    /// When locks are tried again.
    lock_at_unix_ms: i64,
}

impl<D: Destination> Run<D> {
    fn run(mut self) -> Option<Progress> {
        step_back();
        loop {
            let State { drain, stop, end, change, .. } = self.signal.get();
            if stop {
                return None;
            }
            if change && self.shipper.is_between_batches() {
                self.become_next();
            }
            if let Some(end) = end {
                self.shipper.end_at(end);
            }
            let now = self.surroundings.environment.unix_ms();
            if !drain {
                self.lock_rest(now);
            }
            let began = Instant::now();
            match self.shipper.step(now, drain) {
                Ok(Step::Shipped(shipped)) => {
                    self.failures = 0;
                    self.surroundings.metrics.ship_took(began.elapsed());
                    tracing::info!(
                        trail = %self.shipper.trail().name,
                        records = shipped.records,
                        bytes = shipped.stored_bytes,
                        log = shipped.log,
                        manifest = shipped.manifest,
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
                    self.signal.wait(wait.min(MAX_WAIT), |state| {
                        state.woken || state.drain || state.stop || state.change
                    });
                }
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    let backoff = self.backoff(drain);
                    tracing::warn!(
                        trail = %self.shipper.trail().name,
                        kind = error.kind(),
                        error = %crate::chain(&error),
                        retry_ms = backoff.as_millis(),
                        "cannot ship; events stay in the spool"
                    );
                    self.surroundings.metrics.failed(error.kind());
                    self.surroundings.metrics.backoff(backoff);
                    self.note();
                    // New frames do not shorten a backoff; a shutdown does, and a change that can be made now.
                    let settled = self.shipper.is_between_batches();
                    self.signal.wait(backoff, |state| {
                        state.stop || state.drain && !drain || state.change && settled
                    });
                    self.surroundings.metrics.backoff(Duration::ZERO);
                }
            }
        }
    }

    /// Tries again to lock what is stored without a lock. It is no reason to ship less.
    fn lock_rest(&mut self, now_unix_ms: i64) {
        // A clock that was set back makes it too early at most once.
        let is_due =
            now_unix_ms >= self.lock_at_unix_ms || now_unix_ms < self.lock_at_unix_ms - LOCK_EVERY_MS;
        if self.shipper.unlocked() == 0 || !is_due {
            return;
        }
        self.lock_at_unix_ms = now_unix_ms.saturating_add(LOCK_EVERY_MS);
        if let Err(error) = self.shipper.lock_rest() {
            let (trail, unlocked) = (&self.shipper.trail().name, self.shipper.unlocked());
            tracing::warn!(%trail, unlocked, error = %crate::chain(&error), "objects are stored without a lock");
        }
        self.note();
    }

    fn note(&self) {
        let progress = self.shipper.progress();
        let queued = progress.queued((self.surroundings.accepted)());
        self.surroundings.metrics.counts(progress.counts(), queued);
        self.surroundings.metrics.unlocked(self.shipper.unlocked());
        self.surroundings.metrics.ahead(progress.ahead_s(self.surroundings.environment.unix_ms()));
        if let Some(honoured) = self.shipper.conditional() {
            self.surroundings.metrics.conditional(honoured);
        }
        self.surroundings.metrics.oldest(self.shipper.oldest_unix_ms());
    }

    fn become_next(&mut self) {
        let next = {
            // Both at once: a wish that comes now is the next one.
            let mut state = self.signal.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.change = false;
            self.signal.next.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        if let Some((trail, destination)) = next {
            tracing::info!(trail = %trail.name, "trail changed");
            self.shipper.change(trail, destination);
            self.failures = 0;
        }
    }

    /// Doubled with each failure up to a cap, half of it by chance: collectors that failed together come back apart.
    fn backoff(&self, drain: bool) -> Duration {
        let cap = if drain { MAX_DRAIN_BACKOFF } else { MAX_BACKOFF };
        let doubled = MIN_BACKOFF.saturating_mul(1 << self.failures.saturating_sub(1).min(16)).min(cap);
        let mut byte = [0];
        if self.surroundings.environment.random(&mut byte).is_err() {
            return doubled;
        }
        doubled / 2 + doubled.mul_f64(f64::from(byte[0]) / 510.0)
    }
}
