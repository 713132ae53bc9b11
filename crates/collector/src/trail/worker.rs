//! The thread of one trail: takes step after step, waits when there is nothing to do, and backs off when a step fails.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sidetrail_spool::Position;

use tokio::sync::Notify;

use super::destination::{Destination, StoreDestination};
use super::shipper::{Shipper, Step, Trail};
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
/// While the end is announced, and there is load: a log file every so often and not one for each frame.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// How often locks are tried again.
const LOCK_EVERY_MS: i64 = 30_000;

/// Where cores are short, taking events comes first: somebody waits for the ack, and nobody for a log file. It still gets
/// a tenth of a core that intake wants for itself, and all of it once the spool is full.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

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
    /// Ship what there is without waiting for its age.
    pub(super) flush: bool,
    /// The same, then end.
    pub(super) drain: bool,
    /// Leave to the gateway what the store has not taken.
    pub(super) hand_over: bool,
    /// End now. What is left is shipped after the next start.
    pub(super) stop: bool,
    /// There is something that the trail is to become.
    change: bool,
    /// Take nothing from here on.
    pub(super) end: Option<Position>,
}

/// What a trail is to become between two batches.
pub(crate) struct Next<D> {
    pub(crate) trail: Trail,
    pub(crate) destination: D,
    pub(crate) gateway: Option<Box<dyn HandOver>>,
}

type Wish<D> = Arc<Mutex<Option<Next<D>>>>;

/// A running trail.
pub(crate) struct Worker<D = StoreDestination> {
    signal: Arc<Signal>,
    next: Wish<D>,
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
    /// Who takes at shutdown what the store does not.
    pub(crate) gateway: Option<Box<dyn HandOver>>,
}

impl<D: Destination + 'static> Worker<D> {
    pub(crate) fn start(shipper: Shipper<D>, surroundings: Surroundings) -> std::io::Result<Self> {
        Self::spawn(|signal, next| {
            Run { shipper, surroundings, signal, next, failures: 0, lock_at_unix_ms: 0, flushed: None }.run()
        })
    }

    /// Starts a thread that heeds the signal it is given, and what it is to become.
    pub(super) fn spawn(
        run: impl FnOnce(Arc<Signal>, Wish<D>) -> Option<Progress> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (signal, next) = (Arc::new(Signal::default()), Wish::default());
        let given = (Arc::clone(&signal), Arc::clone(&next));
        let thread = std::thread::Builder::new().name("trail".to_owned()).spawn(|| run(given.0, given.1))?;
        Ok(Self { signal, next, thread })
    }

    /// Says that there are new frames.
    pub(crate) fn waker(&self) -> impl Fn() + Send + Sync + use<D> {
        let signal = Arc::clone(&self.signal);
        move || signal.change(|state| state.woken = true)
    }

    /// Asks the worker to go on as another trail of the same name, once the batch that it has decided on is stored where
    /// it was to be. A later wish takes the place of this one.
    pub(crate) fn change(&self, next: Next<D>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
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

    /// Asks the worker to ship without waiting for ages and sizes, or to wait again.
    pub(crate) fn flush(&self, flush: bool) {
        self.signal.change(|state| state.flush = flush);
    }

    /// Asks the worker to leave the rest to its gateway, if it has one.
    pub(crate) fn hand_over(&self) {
        self.signal.change(|state| state.hand_over = true);
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

/// Gives the calling thread a lower priority. Elsewhere than on Linux that would be the whole process.
pub(crate) fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "shipping goes at the priority of everything else");
    }
}

struct Run<D> {
    shipper: Shipper<D>,
    surroundings: Surroundings,
    signal: Arc<Signal>,
    next: Wish<D>,
    failures: u32,
    /// When locks are tried again.
    lock_at_unix_ms: i64,
    /// When the last batch was shipped that did not wait for its age.
    flushed: Option<Instant>,
}

impl<D: Destination> Run<D> {
    fn run(mut self) -> Option<Progress> {
        step_back();
        loop {
            let State { flush, drain, stop, hand_over, end, change, .. } = self.signal.get();
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
            let at_once = drain || flush && self.flushed.is_none_or(|then| then.elapsed() >= FLUSH_EVERY);
            let gateway = self.surroundings.gateway.as_deref().filter(|_| hand_over);
            let stepped = match gateway {
                Some(gateway) => self.shipper.hand_over(now, gateway),
                None => self.shipper.step(now, at_once),
            };
            match stepped {
                Ok(Step::Shipped(shipped)) => {
                    self.failures = 0;
                    self.flushed = flush.then_some(began);
                    self.surroundings.metrics.ship_took(began.elapsed());
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
                    // What comes during a flush has its turn with the next look, and wakes nobody.
                    self.signal.wait(wait.min(MAX_WAIT), |state| {
                        state.woken && !flush
                            || state.flush != flush
                            || state.drain
                            || state.stop
                            || state.change
                    });
                }
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    let backoff = backoff(&*self.surroundings.environment, self.failures, drain || flush);
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
                        state.stop
                            || state.flush && !flush
                            || state.drain && !drain
                            || state.hand_over && !hand_over
                            || state.change && settled
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
            self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        if let Some(Next { trail, destination, gateway }) = next {
            tracing::info!(trail = %trail.name, "trail changed");
            self.shipper.change(trail, destination);
            self.surroundings.gateway = gateway;
            self.failures = 0;
        }
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
