//! Writes the digests of one trail in one region: a loop without a clock of its own.
//!
//! [`Digester::step`] does what is due at the time it is given and says when to come again. Everything it needs to know is
//! in the bucket: it can be dropped at any time, and another one, here or elsewhere, goes on. Any number of them may
//! write digests of the same trail. They make the same names, creating is conditional, so one of them is first, and the
//! others go on from what that one stored.
//!
//! ```text
//! recover   newest digest ─ previous … ─▶ where each chain stands           at the start, and when somebody else was first
//! look      listing of manifests ─▶ those that no digest covers             by their names; few have to be read for that
//! select    read, believe, chain by chain in the order of indices
//! check     read each log file, hash it, show its records to the commitment
//! store     render, sign, create; whoever finds one there takes it over
//! ```
//!
//! What never happens: a log file in two digests (each manifest has one place in one chain, and digests cover chains from
//! their beginning); one left out for ever (chains are covered in order, so what is late is next); two digests that name
//! the same one before them, both believed (creating is conditional, and who comes second goes on from the first).
//!
//! A digest that is late, an hour or a week, loses nothing: each period gets its own, one by one. A final digest at
//! shutdown is not needed, and not written.

mod check;
mod commitment;
mod error;
mod keys;
mod lock;
mod look;
mod recover;
mod settings;
mod start;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

pub use self::commitment::{Before, Commitment, CommitmentError, NoCommitment};
pub use self::error::StepError;
use self::keys::Keys;
pub use self::look::PATIENCE;
pub use self::settings::{DEFAULT_KEY_VALIDITY, DEFAULT_SETTLE, Retention, Settings};
use self::store::Found;
use super::format::{Digest, Previous};
use super::heads::Heads;
use super::period::Period;
use super::sealed::Opened;
use super::selection::{Selection, weight};
use super::statement::{Problem, Statement, Tree};
use crate::key::{DigestKey, Id, Trail, Unique};
use crate::sign::{DigestSigner, RsaSignature};
use crate::store::Store;

/// How long something else at the place of a digest is waited for to go away, before its period is passed over.
pub const TAKEN_PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// The most warnings of a step.
const MAX_WARNINGS: usize = 64;

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What came of it.
    pub done: Done,
    /// When there is something to do again.
    pub next: Timestamp,
    /// What somebody should look at, and does not stop anything.
    pub warnings: Vec<String>,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// No digest is due.
    Nothing,
    /// A digest was stored.
    Wrote(Summary),
    /// Another writer had stored it.
    Adopted(Summary),
    /// Something else lies at the place of the digest, for too long: its period is part of the next one.
    PassedOver(DigestKey),
}

/// A digest in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The digest.
    pub object: DigestKey,
    /// The end of its period.
    pub end: Timestamp,
    /// Log files in it.
    pub log_files: u64,
    /// Log files in it that were delivered in an earlier period.
    pub late_log_files: u64,
    /// Manifests that it covers.
    pub manifests: u64,
    /// What it found not to be as it should.
    pub problems: Vec<Problem>,
}

/// Writes the digests of one trail in one region.
#[derive(Debug)]
pub struct Digester {
    store: Store,
    settings: Settings,
    keys: Keys,
    commitment: Box<dyn Commitment>,
    state: Option<State>,
    unlocked: Vec<(String, Timestamp)>,
    warnings: Vec<String>,
    /// [`MAX_WEIGHT`](super::MAX_WEIGHT).
    limit: usize,
}

/// What is remembered from step to step. All of it can be had again from the bucket.
#[derive(Debug, Default)]
struct State {
    head: Option<Head>,
    heads: Heads,
    /// There are digests of this trail that no key of ours is known to follow.
    orphaned: bool,
    /// The last digest may not have taken all that there was.
    behind: bool,
    /// Nothing has been looked at yet.
    fresh: bool,
    /// Where the digests of the trail begin, while there is none.
    start: Option<Period>,
    /// The end of the last period that was passed over.
    passed: Option<Timestamp>,
    /// The period whose place is taken, and since when that is known.
    taken: Option<(Timestamp, Timestamp)>,
    /// Chains that go on after manifests which are missing: the first one missing, and since when that is known.
    waiting: BTreeMap<Id, (u64, Timestamp)>,
    /// Chains of other trails in the same place, and an index of each.
    strangers: HashMap<(Id, Trail), u64>,
    /// Manifests that were read once and are no use.
    useless: HashSet<Unique>,
}

/// The newest digest.
#[derive(Debug, Clone)]
struct Head {
    end: Timestamp,
    previous: Previous,
    tree: Option<Tree>,
}

impl State {
    /// Whether what a chain needs at `index` has not been there for long enough.
    fn has_waited(&mut self, collector: Id, index: u64, now: Timestamp) -> bool {
        if self.waiting.len() >= super::heads::MAX_CHAINS {
            self.waiting.clear();
        }
        let (missing, since) = self.waiting.entry(collector).or_insert((index, now));
        if *missing != index {
            (*missing, *since) = (index, now);
        }
        now.duration_since(*since) >= look::PATIENCE
    }
}

impl Head {
    fn of(opened: &Opened, signature: RsaSignature) -> Self {
        Self {
            end: opened.digest.end,
            previous: opened.as_previous(signature),
            tree: opened.digest.statement.as_ref().and_then(|statement| statement.tree.clone()),
        }
    }
}

impl Digester {
    /// A writer with the key that signs, and after older ones that it follows, newest last: those that are not published
    /// yet are published by it, and signed by the one before.
    #[must_use]
    pub fn new(store: Store, settings: Settings, signers: Vec<Arc<dyn DigestSigner>>) -> Self {
        Self {
            store,
            settings,
            keys: Keys::new(signers),
            commitment: Box::new(NoCommitment),
            state: None,
            unlocked: Vec::new(),
            warnings: Vec::new(),
            limit: super::MAX_WEIGHT,
        }
    }

    /// Has digests commit to what `commitment` makes of the records, too.
    #[must_use]
    pub fn with_commitment(self, commitment: Box<dyn Commitment>) -> Self {
        Self { commitment, ..self }
    }

    /// What is written.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The end of the newest digest that is known of.
    #[must_use]
    pub fn last_end(&self) -> Option<Timestamp> {
        self.state.as_ref()?.head.as_ref().map(|head| head.end)
    }

    /// Does what is due at `now`: at most one digest.
    ///
    /// The future needs a tokio runtime, as those of [`Store`] do; it may be dropped at any time.
    ///
    /// # Errors
    /// If something failed. It is to be tried again later, as often as it takes.
    pub async fn step(&mut self, now: Timestamp) -> Result<Step, StepError> {
        self.warnings.clear();
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.recover(State { fresh: true, ..State::default() }).await?,
        };
        let outcome = Box::pin(self.step_from(&mut state, now)).await;
        // What was learnt is kept, whatever came of it; a future that was dropped begins again.
        let next = self.due(&state, now).map_or_else(|ready| ready, |_| now);
        self.state = Some(state);
        Ok(Step { done: outcome?, next, warnings: std::mem::take(&mut self.warnings) })
    }

    /// The period whose digest is due at `now`, or when the next one is.
    fn due(&self, state: &State, now: Timestamp) -> Result<Period, Timestamp> {
        let Settings { cadence, settle, .. } = self.settings;
        let start = state.head.as_ref().map(|head| head.end);
        let period = match (start, state.passed) {
            (None, None) => match state.start {
                Some(start) => start,
                None => {
                    let settled = now.saturating_sub(settle).unwrap_or(Timestamp::MIN);
                    return Ok(cadence.last_ended(settled));
                }
            },
            (start, passed) => {
                let from = passed.into_iter().chain(start).max().unwrap_or(now);
                let period = cadence.from(from);
                Period { start: start.unwrap_or(period.start), ..period }
            }
        };
        let ready = period.end.saturating_add(settle).unwrap_or(Timestamp::MAX);
        if now < ready { Err(ready) } else { Ok(period) }
    }

    async fn step_from(&mut self, state: &mut State, now: Timestamp) -> Result<Done, StepError> {
        self.lock_again().await;
        if self.due(state, now).is_err() {
            return Ok(Done::Nothing);
        }
        self.confirm_head(state).await?;
        // The head may be another one now.
        let Ok(period) = self.due(state, now) else { return Ok(Done::Nothing) };
        self.keys.read_revocations(&self.store, &self.settings).await?;
        let object = self.settings.key(period.end);
        match self.find(&object).await? {
            Found::Nothing => self.write(state, period, now).await,
            Found::Believed { opened, signature } => self.adopt(state, *opened, signature).await,
            Found::Unsigned(opened) => match self.sign_again(state, period, now, &opened).await? {
                Some(done) => Ok(done),
                None => self.pass_over(state, object, period.end, now),
            },
            Found::Other => self.pass_over(state, object, period.end, now),
        }
    }

    /// Makes and stores the digest of a period.
    async fn write(&mut self, state: &mut State, period: Period, now: Timestamp) -> Result<Done, StepError> {
        if state.head.is_none() {
            let signer = self.keys.first(&self.store, &self.settings, state.orphaned).await?;
            if state.start.is_none() {
                let start = self.agree_on_start(period, &signer).await?;
                state.start = Some(start);
                if start != period {
                    // Another writer was first, and begins elsewhere.
                    return Ok(Done::Nothing);
                }
            }
        }
        let signer = self.keys.publish(&self.store, &self.settings, period).await?;
        let (digest, selection) = self.make(state, period, now, &signer, None).await?;
        let object = digest.object.clone();
        let (digest, sealed) = blocking(move || {
            let sealed = digest.seal(&*signer);
            (digest, sealed)
        })
        .await?;
        let sealed = sealed.map_err(|source| StepError::Seal { object: object.to_string(), source })?;
        self.store.put_digest(&object, &sealed).await?;
        // Whether the store refused the put or took it for an overwrite: what counts is what is there now.
        match self.find(&object).await? {
            Found::Believed { opened, .. } if opened.content_sha256 == sealed.content_sha256 => {
                let head = Head::of(&opened, sealed.signature);
                self.stored(state, head, &digest, selection, period).await
            }
            Found::Believed { opened, signature } => self.adopt(state, *opened, signature).await,
            Found::Nothing | Found::Unsigned(_) | Found::Other => Err(StepError::Taken(object.to_string())),
        }
    }

    /// A digest in a directory whose companion is missing: its writer died between the two. If it says exactly what this
    /// one would say of the same manifests, its signature is made again.
    async fn sign_again(
        &mut self,
        state: &mut State,
        period: Period,
        now: Timestamp,
        found: &Opened,
    ) -> Result<Option<Done>, StepError> {
        let signer = self.keys.publish(&self.store, &self.settings, period).await?;
        let (digest, selection) = self.make(state, period, now, &signer, Some(&found.digest)).await?;
        if digest != found.digest {
            return Ok(None);
        }
        let object = digest.object.clone();
        let (digest, sealed) = blocking(move || {
            let sealed = digest.seal(&*signer);
            (digest, sealed)
        })
        .await?;
        let sealed = sealed.map_err(|source| StepError::Seal { object: object.to_string(), source })?;
        let metadata = super::Metadata::new(sealed.signature.clone());
        self.store.put_companion(&object, &metadata).await?;
        let head = Head::of(found, sealed.signature);
        self.stored(state, head, &digest, selection, period).await.map(Some)
    }

    /// Makes the digest of a period. With `as_in` it takes no manifest that is not covered there.
    async fn make(
        &mut self,
        state: &mut State,
        period: Period,
        now: Timestamp,
        signer: &Arc<dyn DigestSigner>,
        as_in: Option<&Digest>,
    ) -> Result<(Digest, Selection), StepError> {
        let mut selection = self.select(state, period, now, as_in).await?;
        let before = state.head.as_ref().map(|head| Before {
            object: &head.previous.object,
            end: head.end,
            tree: head.tree.as_ref(),
        });
        self.commitment.begin(&self.store, before).await.map_err(StepError::Commitment)?;
        self.check_files(&mut selection).await?;
        let tree = self.commitment.tree().map_err(StepError::Commitment)?;
        if let Some(passed) = state.passed {
            let reason = "taken: something else lies at the place of a digest".to_owned();
            selection.problem(self.settings.key(passed).to_string(), reason);
        }

        let bucket = &self.settings.bucket;
        let log_files: Vec<_> = selection.files().iter().map(|file| file.listed(bucket)).collect();
        let (chains, keys, problems) = selection.statement();
        let has_heads = state.head.is_none() || self.settings.cadence.has_heads(period.end);
        let heads = has_heads.then(|| selection.heads.snapshot());
        let digest = Digest {
            account: self.settings.home.account.clone(),
            start: period.start,
            end: period.end,
            bucket: bucket.clone(),
            object: self.settings.key(period.end),
            fingerprint: signer.public_key().fingerprint(),
            newest_event_time: log_files.iter().filter_map(|file| file.newest_event_time).max(),
            oldest_event_time: log_files.iter().filter_map(|file| file.oldest_event_time).min(),
            previous: state.head.as_ref().map(|head| head.previous.clone()),
            log_files,
            statement: Some(Statement { version: Statement::VERSION, chains, keys, tree, problems, heads }),
        };
        Ok((digest, selection))
    }

    /// Our digest is in the bucket.
    async fn stored(
        &mut self,
        state: &mut State,
        head: Head,
        digest: &Digest,
        selection: Selection,
        period: Period,
    ) -> Result<Done, StepError> {
        let summary = summary(digest, selection.manifests(), period.start);
        state.behind = selection.is_full();
        state.heads = selection.heads;
        state.heads.bound();
        state.waiting.retain(|collector, (index, _)| {
            state.heads.get(*collector).is_none_or(|chain| chain.next <= *index)
        });
        self.settle_on(state, head, digest, true).await?;
        Ok(Done::Wrote(summary))
    }

    /// Another writer's digest is in the bucket: goes on from that.
    async fn adopt(
        &mut self,
        state: &mut State,
        opened: Opened,
        signature: RsaSignature,
    ) -> Result<Done, StepError> {
        let digest = &opened.digest;
        let follows = digest.previous.as_ref() == state.head.as_ref().map(|head| &head.previous);
        if !follows {
            // It knows of a digest that we do not: look at all of them again.
            let end = digest.end;
            let summary = summary(digest, manifests(digest), digest.start);
            *state = self.recover(std::mem::take(state)).await?;
            if state.head.as_ref().is_none_or(|head| head.end < end) {
                return Err(StepError::Taken(self.settings.key(end).to_string()));
            }
            return Ok(Done::Adopted(summary));
        }
        let chains = digest.statement.as_ref().map_or(&[][..], |statement| &statement.chains);
        chains.iter().for_each(|range| state.heads.cover(range, digest.end));
        state.heads.bound();
        state.behind = weight(chains, digest.log_files.len()) >= self.limit / 2;
        let summary = summary(digest, manifests(digest), digest.start);
        let head = Head::of(&opened, signature);
        self.settle_on(state, head, &opened.digest, false).await?;
        Ok(Done::Adopted(summary))
    }

    /// Goes on from a digest that is in the bucket.
    async fn settle_on(
        &mut self,
        state: &mut State,
        head: Head,
        digest: &Digest,
        ours: bool,
    ) -> Result<(), StepError> {
        (state.passed, state.taken, state.fresh) = (None, None, false);
        state.head = Some(head);
        self.lock(digest).await;
        self.commitment.stored(&self.store, digest, ours).await.map_err(StepError::Commitment)
    }

    /// Something that is not to be believed lies at the place of a digest.
    fn pass_over(
        &mut self,
        state: &mut State,
        object: DigestKey,
        end: Timestamp,
        now: Timestamp,
    ) -> Result<Done, StepError> {
        let since = match state.taken {
            Some((taken, since)) if taken == end => since,
            _ => now,
        };
        state.taken = Some((end, since));
        if now.duration_since(since) < TAKEN_PATIENCE {
            return Err(StepError::Taken(object.to_string()));
        }
        state.passed = Some(end);
        Ok(Done::PassedOver(object))
    }

    fn warn(&mut self, text: String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(text);
        }
    }
}

fn manifests(digest: &Digest) -> u64 {
    let chains = digest.statement.iter().flat_map(|statement| &statement.chains);
    chains.map(|chain| chain.last - chain.first + 1).sum()
}

fn summary(digest: &Digest, manifests: u64, start: Timestamp) -> Summary {
    let late = digest.log_files.iter().filter(|file| file.object.0.minute.start() < start);
    Summary {
        object: digest.object.clone(),
        end: digest.end,
        log_files: digest.log_files.len() as u64,
        late_log_files: late.count() as u64,
        manifests,
        problems: digest.statement.as_ref().map_or_else(Vec::new, |statement| statement.problems.clone()),
    }
}

/// Runs what may block where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StepError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StepError::Ending)
}
