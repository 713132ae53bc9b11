//! Between start and end: signals, a configuration that changes, and the service manager that wants to know.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use sidetrail_collector::{Collector, Config, Watch, chain};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::logs::{self, Logs};

/// How often files are looked at, and what the collector looks after.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How it came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A signal, and what could be shipped was.
    Asked,
    /// Another one before that.
    AskedTwice,
    /// The process has to be started anew.
    SpoolFailed,
}

/// What the process is told.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

impl Signals {
    /// Waits to be told to end.
    pub(crate) async fn end(&mut self) {
        end(&mut self.terminate, &mut self.interrupt).await;
    }
}

/// Waits to be told to end.
async fn end(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

enum Event {
    End { failed: bool },
    Announced,
    Reload,
    Look,
    Assigned,
    Watchdog,
}

/// Runs a collector to its end.
pub(crate) async fn run(
    mut collector: Collector,
    (file, mut watch): (&Path, Watch),
    logs: &Logs,
    signals: &mut Signals,
) -> End {
    let mut look = every(LOOK_EVERY);
    let mut senders = Senders::default();
    let mut assignments = collector.assignments();
    // Twice in the time that the service manager gives, as it asks for.
    let mut watchdog = sd_notify::watchdog_enabled().map(|within| every(within / 2));
    tell(&[NotifyState::Ready]);
    let failed = loop {
        let event = tokio::select! {
            () = end(&mut signals.terminate, &mut signals.interrupt) => Event::End { failed: false },
            () = collector.failed() => Event::End { failed: true },
            () = collector.end_announced() => Event::Announced,
            _ = signals.hang_up.recv() => Event::Reload,
            _ = look.tick() => Event::Look,
            () = assignments.changed() => Event::Assigned,
            () = tick(&mut watchdog) => Event::Watchdog,
        };
        match event {
            Event::End { failed } => break failed,
            Event::Announced => {
                tracing::info!("the end is announced: shipping at once");
                collector.flush();
            }
            Event::Watchdog => tell(&[NotifyState::Watchdog]),
            Event::Look => {
                collector.look_after();
                let after = collector.config().end_after_senders;
                if after.is_some_and(|after| {
                    senders.are_gone(collector.senders(), after.unsigned_abs(), Instant::now())
                }) {
                    tracing::info!("all senders have gone");
                    break false;
                }
                // What could not be done then may be possible now.
                collector.obey().await;
                if watch.changed() {
                    reload(&mut collector, file, logs, &mut watch).await;
                }
            }
            Event::Assigned => collector.obey().await,
            Event::Reload => reload(&mut collector, file, logs, &mut watch).await,
        }
    };
    tell(&[NotifyState::Stopping]);
    let timeout = collector.shutdown_timeout();
    tracing::info!(failed, timeout_ms = timeout.as_millis(), "shutting down");
    let ended = tokio::select! {
        ended = collector.shutdown(timeout) => ended,
        // What is acked is on disk, and a batch that was decided is repeated by the next start.
        () = end(&mut signals.terminate, &mut signals.interrupt) => {
            tracing::warn!("told again to end: ended at once; what is left is shipped after the next start");
            return End::AskedTwice;
        }
    };
    tracing::info!(drained = ended.drained, adds_up = ended.adds_up, "ended");
    if failed { End::SpoolFailed } else { End::Asked }
}

/// Whether senders came, and since when none is there.
#[derive(Debug, Default)]
struct Senders {
    came: bool,
    none_since: Option<Instant>,
}

impl Senders {
    /// Takes in how many are connected and whether one ever sent something. Whether all have been gone for `after`.
    fn are_gone(&mut self, (open, sent): (u64, bool), after: Duration, now: Instant) -> bool {
        self.came |= sent || open > 0;
        if open > 0 || !self.came {
            self.none_since = None;
            return false;
        }
        now.duration_since(*self.none_since.get_or_insert(now)) >= after
    }
}

async fn reload(collector: &mut Collector, file: &Path, logs: &Logs, watch: &mut Watch) {
    // A service manager that is told waits for the end of it.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
    // What changes from here on is the next change.
    watch.changed();
    let config = Config::parse(file);
    let mut filter = Ok(());
    if let Ok(config) = &config {
        watch.follow(config);
        filter = logs::check(config.log.as_deref());
    }
    match (collector.reload(config).await, filter) {
        (Ok(()), Ok(())) => {
            let config = collector.config();
            logs.configure(config.log.as_deref());
            tracing::info!(file = %file.display(), hash = config.hash, "configuration taken over");
        }
        (Ok(()), Err(error)) => {
            tracing::warn!(%error, "configuration taken over, but logs go on as they are");
        }
        (Err(error), _) => {
            tracing::error!(error = %chain(&error), "the changed configuration cannot be used; the old one stays in force");
        }
    }
    tell(&[NotifyState::Ready]);
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// The next tick of an interval, never if there is none.
async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// Tells the service manager, if there is one.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_gone_when_they_came_and_stay_away() {
        let start = Instant::now();
        let after = Duration::from_secs(10);
        let mut senders = Senders::default();
        let mut at =
            |open, sent, seconds| senders.are_gone((open, sent), after, start + Duration::from_secs(seconds));
        assert!(!at(0, false, 0), "nobody came");
        assert!(!at(0, false, 100), "nobody came yet");
        assert!(!at(1, false, 102));
        assert!(!at(0, false, 104));
        assert!(!at(1, true, 112), "it came back");
        assert!(!at(0, true, 114));
        assert!(!at(0, true, 123));
        assert!(at(0, true, 124));
    }
}
