//! Where things stand, from the digests in the bucket.

use futures_util::TryStreamExt;
use jiff::Timestamp;

use super::super::heads::Heads;
use super::super::selection::weight;
use super::super::statement::{ChainRange, Head as ChainHead};
use super::store::Found;
use super::{Digester, Head, State, StepError};
use crate::key::DigestKey;

/// The most digests that are read back from the newest on. Every 24th says where all chains stand.
const MAX_BACK: usize = 10_000;

/// The most digests that are not believed and are looked at, from the newest on.
const MAX_DISBELIEVED: usize = 64;

impl Digester {
    /// Finds the newest digest that is believed, and reads back from it where chains stand. What else `state` remembers
    /// is kept.
    pub(super) async fn recover(&mut self, mut state: State) -> Result<State, StepError> {
        (state.head, state.heads, state.orphaned, state.passed, state.taken) =
            (None, Heads::default(), false, None, None);
        state.start = None;
        let mut disbelieved = 0;
        let mut days = self.days().await?;
        'days: while let Some(day) = days.pop() {
            let mut keys = self.digests_of(&day).await?;
            while let Some(object) = keys.pop() {
                match self.find(&object).await? {
                    Found::Believed { opened, signature } => {
                        state.head = Some(Head::of(&opened, signature));
                        let chains =
                            opened.digest.statement.as_ref().map_or(0, |statement| {
                                weight(&statement.chains, opened.digest.log_files.len())
                            });
                        state.behind = chains >= self.limit / 2;
                        break 'days;
                    }
                    Found::Nothing => {}
                    // Its writer died before the companion: it is signed again when its period is due.
                    Found::Unsigned(_) => {}
                    Found::Other => {
                        state.orphaned = true;
                        disbelieved += 1;
                        if disbelieved == MAX_DISBELIEVED {
                            break 'days;
                        }
                    }
                }
            }
        }
        if state.head.is_none() {
            state.start = self.read_start().await?;
        }
        if let Some(head) = &state.head {
            state.orphaned = false;
            state.heads = self.read_back(head.previous.object.clone()).await?;
        }
        Ok(state)
    }

    /// Reads back from a digest that is believed to one that says where all chains stand, or to the first.
    async fn read_back(&mut self, newest: DigestKey) -> Result<Heads, StepError> {
        let mut ranges: Vec<(Timestamp, Vec<ChainRange>)> = Vec::new();
        let mut snapshot: Option<Vec<ChainHead>> = None;
        let (mut object, mut expected) = (newest, None);
        for _ in 0..MAX_BACK {
            let Found::Believed { opened, .. } = self.find(&object).await? else {
                self.warn(format!("the digest {object} is gone or changed: log files may be listed again"));
                break;
            };
            if expected.is_some_and(|expected| expected != opened.content_sha256) {
                self.warn(format!("the digest {object} is not the one that was signed"));
            }
            let digest = opened.digest;
            self.lock_found(&object, digest.end);
            let Some(statement) = digest.statement else { break };
            if let Some(heads) = statement.heads {
                snapshot = Some(heads);
                break;
            }
            let without_sources = |range| ChainRange { sources: Vec::new(), ..range };
            ranges.push((digest.end, statement.chains.into_iter().map(without_sources).collect()));
            let Some(previous) = digest.previous else { break };
            (object, expected) = (previous.object, Some(previous.hash));
        }
        let mut heads = Heads::of(snapshot.as_deref().unwrap_or_default());
        for (end, ranges) in ranges.iter().rev() {
            ranges.iter().for_each(|range| heads.cover(range, *end));
        }
        heads.bound();
        Ok(heads)
    }

    /// The days that have digests of this region, oldest first, as the prefixes of their keys.
    async fn days(&self) -> Result<Vec<String>, StepError> {
        let prefix = DigestKey::prefix(&self.settings.home, &self.settings.region);
        Ok(self.folders_below(prefix, 3).await?)
    }

    /// The digests of this trail on a day, oldest first.
    async fn digests_of(&self, day: &str) -> Result<Vec<DigestKey>, StepError> {
        let mut listed = self.store.below(day);
        let mut keys = Vec::new();
        while let Some((name, _)) = listed.try_next().await? {
            if let Ok(key) = name.parse::<DigestKey>()
                && key == self.settings.key(key.end.start())
            {
                keys.push(key);
            }
        }
        keys.sort_unstable_by_key(|key| key.end);
        Ok(keys)
    }
}
