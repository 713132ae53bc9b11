//! Everything that was read, to the collector's disk, over as many connections as it takes.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use indicatif::ProgressBar;
use sidetrail_wire::ingest::v1::deliver_response::Message as Response;
use sidetrail_wire::ingest::v1::{Hello, Refusal};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::read::Found;
use super::record::too_large;
use super::session::{Lost, Session};
use super::window::Window;
use crate::exit::Exit;
use crate::print::{complain, count};
use sidetrail_wire::connect::Address;

/// The first pause before connecting again, and the longest one.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often a sender that waits for its input says that it is there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Records on the collector's disk.
    pub(super) acked: u64,
    /// Records that could not be sent, or that the collector refused.
    pub(super) refused: u64,
    /// Files that could not be read, or not to their end.
    pub(super) failed_files: u64,
}

pub(super) struct Delivery {
    pub(super) address: Address,
    pub(super) hello: Hello,
    pub(super) timeout: Duration,
    pub(super) found: Receiver<Found>,
    pub(super) bar: ProgressBar,
    pub(super) window: Window,
    pub(super) tally: Tally,
    pub(super) exit: Exit,
    /// Whether everything was read.
    exhausted: bool,
    /// Whether the latest connection came up.
    connected: bool,
    /// Without progress until then, it gives up.
    deadline: Instant,
}

impl Delivery {
    pub(super) fn new(
        address: Address,
        hello: Hello,
        timeout: Duration,
        found: Receiver<Found>,
        bar: ProgressBar,
    ) -> Self {
        Self {
            address,
            hello,
            timeout,
            found,
            bar,
            window: Window::default(),
            tally: Tally::default(),
            exit: Exit::Done,
            exhausted: false,
            connected: false,
            deadline: Instant::now() + timeout,
        }
    }

    /// Ends well once everything that was read is acked or refused.
    pub(super) async fn run(&mut self) -> Result<()> {
        self.deadline = Instant::now() + self.timeout;
        let mut backoff = BACKOFF.0;
        loop {
            let acked = self.tally.acked;
            let lost = match self.connection().await {
                Ok(()) => return Ok(()),
                Err(Lost::Refused(error)) => return Err(error).with_context(|| self.gave_up("refused")),
                Err(Lost::Retry(error)) => error,
            };
            if std::mem::take(&mut self.connected) && self.window.is_empty() {
                // It was idle, for as long as its input was.
                self.deadline = Instant::now() + self.timeout;
            }
            if self.tally.acked > acked {
                backoff = BACKOFF.0;
            }
            let next = Instant::now() + backoff;
            if next >= self.deadline {
                return Err(lost).with_context(|| self.gave_up("made no progress"));
            }
            self.bar.set_message("connecting again");
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    fn gave_up(&self, why: &str) -> String {
        let (name, acked, left) = (self.address.as_str(), self.tally.acked, self.window.len());
        let acked = count(acked, "record");
        format!("gave up: the collector at {name} {why}; {acked} acked, {left} read and not acked")
    }

    async fn connection(&mut self) -> Result<(), Lost> {
        let opening = timeout_at(self.deadline, Session::open(&self.address, self.hello.clone()));
        let (mut session, welcome) =
            opening.await.map_err(|_| Lost::Retry(anyhow!("no answer in time")))??;
        let on_disk = self.window.resume(welcome.acked_sequence)?;
        self.connected = true;
        if on_disk > 0 {
            self.progress(on_disk);
        }
        self.bar.set_message("");
        let mut heartbeat = Instant::now() + HEARTBEAT_EVERY;
        loop {
            while session.has_room() {
                let full = !session.is_idle() && !self.exhausted;
                let Some((batch, last)) = self.window.next_batch(session.limits, full) else { break };
                session.send(batch, last)?;
                heartbeat = Instant::now() + HEARTBEAT_EVERY;
            }
            if self.exhausted && self.window.is_empty() {
                session.goodbye(self.window.last()).await;
                return Ok(());
            }
            tokio::select! {
                answer = session.answer() => self.answer(answer?)?,
                found = self.found.recv(), if !self.exhausted && self.window.has_room() => {
                    self.take(found, session.max_record);
                    // What is there already is taken without a round through the select.
                    while self.window.has_room() && let Ok(found) = self.found.try_recv() {
                        self.take(Some(found), session.max_record);
                    }
                }
                () = sleep_until(heartbeat) => {
                    heartbeat = Instant::now() + HEARTBEAT_EVERY;
                    if session.is_idle() {
                        session.heartbeat(self.window.last())?;
                    }
                }
                () = sleep_until(self.deadline), if !self.window.is_empty() => {
                    return Err(Lost::Retry(anyhow!("no ack came in time")));
                }
            }
        }
    }

    fn answer(&mut self, answer: Response) -> Result<(), Lost> {
        match answer {
            Response::Ack(ack) => {
                let before = self.window.len();
                let on_disk = self.window.ack(ack.sequence)?;
                if self.window.len() < before {
                    self.progress(on_disk);
                }
                Ok(())
            }
            Response::Refusal(Refusal { sequence, field, reason }) => {
                if let Some(place) = self.window.refuse(sequence) {
                    let text = format!("{place}: {field} {reason}");
                    self.refused(&text);
                }
                Ok(())
            }
            Response::Welcome(_) => Err(Lost::Refused(anyhow!("the collector said welcome twice"))),
        }
    }

    /// Takes what was read; nothing is the end.
    fn take(&mut self, found: Option<Found>, max_record: usize) {
        match found {
            Some(Found::Record(record)) if record.text.len() > max_record => {
                self.refused(&format!("{}: {}", record.place, too_large(&record.text, max_record)));
            }
            Some(Found::Record(record)) => {
                if self.window.is_empty() {
                    // Waiting for input is not the collector's fault.
                    self.deadline = Instant::now() + self.timeout;
                }
                self.window.push(record);
            }
            Some(Found::Refused(place, what)) => self.refused(&format!("{place}: {what}")),
            Some(Found::Damaged(file, what)) => self.failed(Exit::Wrong, &format!("{file}: {what}")),
            Some(Found::Unreadable(file, what)) => self.failed(Exit::CouldNot, &format!("{file}: {what}")),
            None => self.exhausted = true,
        }
    }

    fn progress(&mut self, on_disk: u64) {
        self.tally.acked += on_disk;
        self.bar.set_position(self.tally.acked);
        self.bar.set_message("");
        self.deadline = Instant::now() + self.timeout;
    }

    fn refused(&mut self, text: &str) {
        self.tally.refused += 1;
        self.exit = self.exit.and(Exit::Wrong);
        self.bar.suspend(|| complain(format_args!("{text}")));
    }

    fn failed(&mut self, exit: Exit, text: &str) {
        self.tally.failed_files += 1;
        self.exit = self.exit.and(exit);
        self.bar.suspend(|| complain(format_args!("{text}")));
    }
}
