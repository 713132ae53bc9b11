//! Sends the messages of one trail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::look::{Found, Kind, Place};
use super::mark::{Band, CLOCKS};
use super::message::Message;
use super::progress::{LEASE, Progress};
use crate::Context;
use crate::state::{Update, UpdateError, Versions};

/// Messages that are under way at a time.
const AT_ONCE: usize = 16;
/// How often what was told is kept while there is more to tell.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How often digests are looked for.
const DIGESTS_EVERY: Duration = Duration::from_secs(10);
/// How long to wait after a failure: twice as long each time.
const BACKOFF: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(60);
/// How often to look whether another server has stopped.
const HELD: Duration = Duration::from_secs(5);
/// How long the end may take.
const END: Duration = Duration::from_secs(3);

/// A trail with a topic. What is different about it is another subject, with another worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// The trail's name, home region and ARN.
    pub(super) trail: String,
    pub(super) home_region: String,
    pub(super) arn: String,
    /// The topic's ARN, and since when there has been one.
    pub(super) topic: String,
    pub(super) since: Timestamp,
    pub(super) places: Vec<Place>,
}

/// Why it does not go on now.
#[derive(Debug)]
enum Pause {
    /// Another server is at it.
    Held,
    /// The bucket or the state does not answer.
    Store(String),
    /// The endpoint does not take messages.
    Endpoint(Failure),
}

#[derive(Debug)]
pub(super) struct Worker {
    context: Arc<Context>,
    subject: Subject,
    versions: Versions<Progress>,
    /// What this process is called.
    server: String,
    interval: Duration,
    progress: Progress,
    /// Since when nobody else takes it over; `None` while it is not ours.
    held: Option<Instant>,
    kept: Instant,
    dirty: bool,
    looked: BTreeMap<(Place, Band), Instant>,
}

impl Worker {
    pub(super) fn new(
        context: Arc<Context>,
        subject: Subject,
        versions: Versions<Progress>,
        server: String,
    ) -> Self {
        Self {
            interval: context.config.history.interval.unsigned_abs(),
            context,
            subject,
            versions,
            server,
            progress: Progress::default(),
            held: None,
            kept: Instant::now(),
            dirty: false,
            looked: BTreeMap::new(),
        }
    }

    /// Sends until it is told to end; what was told is kept then.
    pub(super) async fn run(mut self, end: CancellationToken) {
        let (mut failures, mut said) = (0, false);
        loop {
            let round = end.run_until_cancelled(self.round()).await;
            let pause = match round {
                None => break,
                Some(Ok(())) => {
                    if said {
                        tracing::info!(trail = self.subject.arn, "notifications get through again");
                    }
                    (failures, said) = (0, false);
                    self.interval
                }
                Some(Err(Pause::Held)) => {
                    self.held = None;
                    HELD
                }
                Some(Err(pause)) => {
                    failures += 1;
                    said = true;
                    self.say(&pause);
                    backoff(failures)
                }
            };
            if end.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
        if self.held.is_some() {
            self.progress.release();
            // If it is not kept some messages are sent again, and another server waits a little.
            let _ = tokio::time::timeout(END, self.store()).await;
        }
    }

    fn say(&self, pause: &Pause) {
        let (trail, topic) = (&self.subject.arn, &self.subject.topic);
        match pause {
            Pause::Held => {}
            Pause::Store(error) => tracing::warn!(trail, error, "notifications wait for the bucket"),
            Pause::Endpoint(failure) => {
                tracing::warn!(trail, topic, error = %failure, "notifications wait for their endpoint");
            }
        }
    }

    /// Tells all that is there.
    async fn round(&mut self) -> Result<(), Pause> {
        self.hold().await?;
        self.progress.follow(&self.subject.places, Timestamp::now());
        let ended = self.tell_what_is_due().await;
        // Another server has it now.
        if self.dirty && !matches!(ended, Err(Pause::Held)) {
            self.keep().await?;
        }
        ended
    }

    /// Tells what is there of all bands that are to be looked at.
    async fn tell_what_is_due(&mut self) -> Result<(), Pause> {
        for index in 0..self.progress.strands.len() {
            for band in Band::ALL {
                let place = &self.progress.strands[index].place;
                let every = match place.kind {
                    Kind::Log => band.every(),
                    Kind::Digest => band.every().max(DIGESTS_EVERY),
                };
                let last = self.looked.get(&(place.clone(), band));
                if last.is_none_or(|last| last.elapsed() >= every) {
                    self.tell(index, band).await?;
                }
            }
        }
        Ok(())
    }

    /// Tells what is there of a band of a place.
    async fn tell(&mut self, index: usize, band: Band) -> Result<(), Pause> {
        let began = Instant::now();
        loop {
            let now = Timestamp::now();
            let place = self.progress.strands[index].place.clone();
            let trail = (self.subject.trail.as_str(), self.subject.home_region.as_str());
            let Ok(store) = self.context.buckets.get(&place.bucket) else {
                return Err(Pause::Store(format!("bucket {} cannot be opened", place.bucket)));
            };
            let Some(mark) = self.progress.strands[index].marks.get(&band) else { return Ok(()) };
            let looked = place.look(&store, band, mark, trail, now).await;
            let (found, all) = looked.map_err(|error| Pause::Store(crate::chain(&error)))?;
            for some in found.chunks(AT_ONCE) {
                self.hold().await?;
                let sent = join_all(some.iter().map(|found| self.send(&place, &store, found))).await;
                self.account(index, band, some, sent)?;
                if self.kept.elapsed() >= KEEP_EVERY {
                    self.keep().await?;
                }
            }
            if all {
                // What the store takes from now on has no older time than that.
                let time = now.saturating_sub(CLOCKS).unwrap_or(now);
                if let Some(mark) = self.progress.strands[index].marks.get_mut(&band) {
                    mark.advance(time);
                }
                self.looked.insert((place, band), began);
                return Ok(());
            }
        }
    }

    /// Sends the message of an object; `false` if there is none to be sent.
    async fn send(
        &self,
        place: &Place,
        store: &sidetrail_archive::store::Store,
        found: &Found,
    ) -> Result<bool, Pause> {
        let Subject { trail, arn, topic, .. } = &self.subject;
        let delivered = place.delivered(store, found, trail).await;
        match delivered.map_err(|error| Pause::Store(error.to_string()))? {
            None => Ok(false),
            Some(key) => {
                let message = Message::delivered(topic, arn, &place.bucket, &key, found.stored);
                self.context.topics.send(&message).await.map(|()| true).map_err(Pause::Endpoint)
            }
        }
    }

    /// Notes what became of some, which came in this order.
    fn account(
        &mut self,
        index: usize,
        band: Band,
        some: &[Found],
        sent: Vec<Result<bool, Pause>>,
    ) -> Result<(), Pause> {
        let now = Timestamp::now();
        let (mut failed, mut through) = (None, None);
        for (found, sent) in some.iter().zip(sent) {
            match sent {
                Ok(told) => {
                    if let Some(mark) = self.progress.strands[index].marks.get_mut(&band) {
                        mark.told(found.name.clone(), found.stored);
                    }
                    if told {
                        self.progress.attempt(&Ok(()), now);
                    }
                    if failed.is_none() {
                        through = Some(found.stored);
                    }
                }
                Err(pause) => failed = failed.or(Some(pause)),
            }
        }
        if let (Some(through), Some(mark)) = (through, self.progress.strands[index].marks.get_mut(&band)) {
            mark.advance(through);
        }
        self.dirty = true;
        match failed {
            None => Ok(()),
            Some(Pause::Endpoint(failure)) => {
                let sent = Err(failure);
                self.progress.attempt(&sent, now);
                sent.map_err(Pause::Endpoint)
            }
            Some(pause) => Err(pause),
        }
    }

    /// Makes sure that nobody else is at it, for a while.
    async fn hold(&mut self) -> Result<(), Pause> {
        let half = LEASE.unsigned_abs() / 2;
        match self.held {
            Some(since) if since.elapsed() < half => Ok(()),
            Some(_) => self.keep().await,
            None => self.take().await,
        }
    }

    async fn take(&mut self) -> Result<(), Pause> {
        let (began, now) = (Instant::now(), Timestamp::now());
        let Self { subject, server, .. } = &*self;
        let taken = self.versions.update("server", |stored: &mut Progress| {
            if !stored.take(server, subject.since, &subject.places, now) {
                return Err(());
            }
            Ok(Update::Changed(stored.clone()))
        });
        self.progress = taken.await.map_err(paused)?;
        (self.held, self.kept, self.dirty) = (Some(began), began, false);
        Ok(())
    }

    /// Keeps what was told, and says that we are still at it.
    async fn keep(&mut self) -> Result<(), Pause> {
        let (began, now) = (Instant::now(), Timestamp::now());
        self.progress.hold(&self.server, now);
        self.store().await?;
        (self.held, self.kept, self.dirty) = (Some(began), began, false);
        Ok(())
    }

    async fn store(&self) -> Result<(), Pause> {
        let stored = self.versions.update("server", |stored: &mut Progress| {
            if !stored.is_held_by(&self.server) || !stored.is_of(self.subject.since) {
                return Err(());
            }
            stored.clone_from(&self.progress);
            Ok(Update::Changed(()))
        });
        stored.await.map_err(paused)
    }
}

fn paused(error: UpdateError<()>) -> Pause {
    match error {
        UpdateError::Refused(()) => Pause::Held,
        UpdateError::Contended => Pause::Store("too many others change how far notifications are".to_owned()),
        UpdateError::State(error) => Pause::Store(crate::chain(&error)),
    }
}

fn backoff(failures: u32) -> Duration {
    let (least, most) = (*BACKOFF.start(), *BACKOFF.end());
    least.saturating_mul(1 << (failures - 1).min(10)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_its_bound() {
        let pauses = [1, 2, 3, 7, 8, 1000].map(|failures| backoff(failures).as_millis());
        assert_eq!(pauses, [500, 1000, 2000, 32_000, 60_000, 60_000]);
    }
}
