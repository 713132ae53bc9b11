//! What a trail remembers over a restart: the payload of its cursor.

use prost::Message;
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::manifest;
use sidetrail_spool::{Cursors, Error, Position};
use sidetrail_wire::spool::v1::{BatchPlan, Taken, TrailState, Unlocked};

use super::retired::{Retired, RetiredError};

/// A trail's cursor, its chain, its counts, and the batch that it has decided on.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    name: String,
    pub(super) position: Position,
    state: TrailState,
}

/// Names found taken that a manifest lists.
const MAX_TAKEN: usize = 8;
/// Objects without a lock that a trail remembers: at most 40 KiB of the cursor's payload.
const MAX_UNLOCKED: usize = 64;

/// A decided batch: up to where, when that was, and which of its names were found taken since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) end: Position,
    pub(super) created_unix_s: i64,
    pub(super) attempt: u32,
    pub(super) taken: Vec<manifest::Taken>,
}

/// What became of the events of a batch, or of all of a trail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) shipped: u64,
    pub(crate) filtered: u64,
    pub(crate) dropped: u64,
    pub(crate) intents: u64,
}

impl Counts {
    pub(crate) fn total(self) -> u64 {
        let Self { shipped, filtered, dropped, intents } = self;
        [shipped, filtered, dropped, intents].into_iter().fold(0, u64::saturating_add)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.shipped = self.shipped.saturating_add(other.shipped);
        self.filtered = self.filtered.saturating_add(other.filtered);
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.intents = self.intents.saturating_add(other.intents);
    }
}

/// The state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error(transparent)]
    Spool(#[from] Error),
    #[error(transparent)]
    Retired(#[from] RetiredError),
    #[error("the state of trail cursor {name} is damaged: {reason}")]
    Damaged { name: String, reason: String },
}

impl Progress {
    /// The name of the cursor of a trail: trail names have letters that cursor names do not.
    pub(crate) fn cursor_name(trail: &str) -> String {
        let digest = Sha256::of(trail.as_bytes()).to_string();
        format!("trail-{}", &digest[..32])
    }

    /// The same where no trail ever went.
    #[cfg(test)]
    pub(crate) fn load(
        cursors: &Cursors,
        trail: &str,
        end: Position,
        accepted: u64,
    ) -> Result<Self, StateError> {
        Self::resume(cursors, trail, end, accepted, None)
    }

    /// Reads the state of a trail. A trail that has none begins at `end`, where the ledger has `accepted` events; one that
    /// had been there before goes on with its chain.
    pub(crate) fn resume(
        cursors: &Cursors,
        trail: &str,
        end: Position,
        accepted: u64,
        retired: Option<TrailState>,
    ) -> Result<Self, StateError> {
        let name = Self::cursor_name(trail);
        match cursors.get(&name)? {
            Some(cursor) => {
                let damaged = |reason: String| StateError::Damaged { name: name.clone(), reason };
                let state = TrailState::decode(cursor.payload.as_slice())
                    .map_err(|error| damaged(error.to_string()))?;
                let progress = Self { name: name.clone(), position: cursor.position, state };
                progress.previous().map_err(damaged)?;
                progress.plan().map_err(damaged)?;
                Ok(progress)
            }
            None => {
                let before = Self { name: name.clone(), position: end, state: retired.unwrap_or_default() };
                before.previous().map_err(|reason| StateError::Damaged { name: name.clone(), reason })?;
                let state = TrailState {
                    base: accepted,
                    away: before.state.away.saturating_add(before.queued(accepted)),
                    chain_index: before.state.chain_index,
                    previous_manifest: before.state.previous_manifest,
                    last_created_unix_s: before.state.last_created_unix_s,
                    ..TrailState::default()
                };
                let progress = Self { name, position: end, state };
                progress.store(cursors)?;
                Ok(progress)
            }
        }
    }

    /// How many of `accepted` events a trail still has before it, by the name of its cursor; `None` if that is not known.
    pub(super) fn left(cursors: &Cursors, name: &str, accepted: u64) -> Option<u64> {
        let cursor = cursors.get(name).ok()??;
        let state = TrailState::decode(cursor.payload.as_slice()).ok()?;
        Some(Self { name: name.to_owned(), position: cursor.position, state }.queued(accepted))
    }

    /// Removes the cursor of a trail that is gone, by its name, and keeps what its chain needs to go on.
    pub(super) fn retire(cursors: &Cursors, retired: &Retired, name: &str) -> Result<(), RetiredError> {
        if let Some(cursor) = cursors.get(name)? {
            // What cannot be read is no chain that could go on.
            let state = TrailState::decode(cursor.payload.as_slice()).unwrap_or_default();
            if !state.unlocked.is_empty() {
                let unlocked = state.unlocked.len();
                tracing::error!(cursor = name, unlocked, "objects stay without a lock: their trail is gone");
            }
            if state.chain_index > 0 {
                let state = TrailState { plan: None, unlocked: Vec::new(), forwarding: false, ..state };
                retired.put(name, &state)?;
            }
        }
        Ok(cursors.remove(name)?)
    }

    pub(super) fn plan(&self) -> Result<Option<Plan>, String> {
        let Some(BatchPlan { end, created_unix_s, attempt, taken }) = &self.state.plan else {
            return Ok(None);
        };
        let end = end.parse().map_err(|_| format!("plan ends at {end:?}, which is no position"))?;
        let taken = taken.iter().map(|Taken { key, sha256 }| {
            let sha256 = match sha256.as_ref() {
                [] => None,
                hash => Some(
                    <[u8; 32]>::try_from(hash).map_err(|_| "a taken name has no SHA-256".to_owned())?.into(),
                ),
            };
            Ok::<_, String>(manifest::Taken { key: key.clone(), sha256 })
        });
        let taken = taken.collect::<Result<_, _>>()?;
        Ok(Some(Plan { end, created_unix_s: *created_unix_s, attempt: *attempt, taken }))
    }

    /// Decides on a batch up to `end`: after this it is what will be done, whatever happens.
    pub(super) fn decide(
        &mut self,
        cursors: &Cursors,
        end: Position,
        now_unix_s: i64,
    ) -> Result<Plan, Error> {
        let created_unix_s = now_unix_s.max(self.state.last_created_unix_s);
        self.update(cursors, |next| {
            next.state.plan =
                Some(BatchPlan { end: end.to_string(), created_unix_s, ..BatchPlan::default() });
            next.state.last_created_unix_s = created_unix_s;
        })?;
        Ok(Plan { end, created_unix_s, attempt: 0, taken: Vec::new() })
    }

    /// The batch needs another name: what lies under those that it has is `taken`, and is somebody else's.
    pub(super) fn evade(&mut self, cursors: &Cursors, taken: Vec<manifest::Taken>) -> Result<(), Error> {
        self.update(cursors, |next| {
            let Some(plan) = &mut next.state.plan else { return };
            plan.attempt = plan.attempt.saturating_add(1);
            let taken = taken.into_iter().map(|manifest::Taken { key, sha256 }| {
                let sha256 = sha256.map_or(Vec::new(), |hash| hash.as_bytes().to_vec());
                Taken { key, sha256: sha256.into() }
            });
            plan.taken.extend(taken);
            plan.taken.truncate(MAX_TAKEN);
        })
    }

    /// Objects that are stored and could not be locked.
    pub(super) fn unlocked(&self) -> &[Unlocked] {
        &self.state.unlocked
    }

    /// The first of them is locked now.
    pub(super) fn locked_first(&mut self, cursors: &Cursors) -> Result<(), Error> {
        self.update(cursors, |next| {
            next.state.unlocked.drain(..1.min(next.state.unlocked.len()));
        })
    }

    /// The batch is in the store: moves on.
    pub(super) fn complete(
        &mut self,
        cursors: &Cursors,
        end: Position,
        manifest: Sha256,
        counts: Counts,
        unlocked: Vec<Unlocked>,
    ) -> Result<(), Error> {
        self.update(cursors, |next| {
            next.position = end;
            let state = &mut next.state;
            state.unlocked.extend(unlocked);
            let beyond = state.unlocked.len().saturating_sub(MAX_UNLOCKED);
            for Unlocked { key, .. } in state.unlocked.drain(..beyond) {
                tracing::error!(key, "this object stays without a lock: too many others wait for theirs");
            }
            state.plan = None;
            state.away = 0;
            state.chain_index += 1;
            state.previous_manifest = manifest.as_bytes().to_vec().into();
            state.shipped = state.shipped.saturating_add(counts.shipped);
            state.filtered = state.filtered.saturating_add(counts.filtered);
            state.dropped = state.dropped.saturating_add(counts.dropped);
            state.intents = state.intents.saturating_add(counts.intents);
        })
    }

    /// How many events the collector had accepted when the trail began, or while it was gone, for the manifest that
    /// comes next.
    pub(super) fn events_before(&self) -> u64 {
        if self.state.chain_index == 0 { self.state.base } else { self.state.away }
    }

    /// Frames after the cursor are about to be sent to a gateway.
    pub(super) fn begin_forwarding(&mut self, cursors: &Cursors) -> Result<(), Error> {
        if self.state.forwarding { Ok(()) } else { self.update(cursors, |next| next.state.forwarding = true) }
    }

    /// The gateway has nothing that the cursor is not past.
    pub(super) fn end_forwarding(&mut self, cursors: &Cursors) -> Result<(), Error> {
        if self.state.forwarding {
            self.update(cursors, |next| next.state.forwarding = false)
        } else {
            Ok(())
        }
    }

    /// Whether the gateway may have frames that the cursor is not past.
    pub(super) fn is_forwarding(&self) -> bool {
        self.state.forwarding
    }

    /// The gateway has everything up to `end` on disk: moves on.
    pub(super) fn forwarded(
        &mut self,
        cursors: &Cursors,
        end: Position,
        counts: Counts,
    ) -> Result<(), Error> {
        let mut all = self.counts();
        all.add(counts);
        self.update(cursors, |next| {
            next.position = end;
            let Counts { shipped, filtered, dropped, intents } = all;
            next.state = TrailState { shipped, filtered, dropped, intents, ..next.state.clone() };
        })
    }

    pub(super) fn chain_index(&self) -> u64 {
        self.state.chain_index
    }

    /// The hash of the last manifest, if there is one.
    pub(super) fn previous(&self) -> Result<Option<Sha256>, String> {
        if self.state.chain_index == 0 {
            return Ok(None);
        }
        let hash = <[u8; 32]>::try_from(self.state.previous_manifest.as_ref());
        hash.map(|hash| Some(hash.into())).map_err(|_| "the previous manifest has no SHA-256".to_owned())
    }

    /// How many seconds the chain is ahead of the clock, which went forward and then back.
    pub(crate) fn ahead_s(&self, now_unix_ms: i64) -> u64 {
        let ahead = self.state.last_created_unix_s.saturating_sub(now_unix_ms.div_euclid(1000));
        u64::try_from(ahead).unwrap_or(0)
    }

    pub(crate) fn counts(&self) -> Counts {
        let TrailState { shipped, filtered, dropped, intents, .. } = self.state;
        Counts { shipped, filtered, dropped, intents }
    }

    /// Of `accepted` events, how many this trail still has before it.
    pub(crate) fn queued(&self, accepted: u64) -> u64 {
        accepted.saturating_sub(self.state.base).saturating_sub(self.counts().total())
    }

    /// Whether what the trail has done adds up to what the ledger has accepted: true of a trail that is through.
    pub(crate) fn adds_up(&self, accepted: u64) -> bool {
        self.state.base.saturating_add(self.counts().total()) == accepted
    }

    /// Changes the state on disk first, and in memory only once it is there.
    fn update(&mut self, cursors: &Cursors, change: impl FnOnce(&mut Self)) -> Result<(), Error> {
        let mut next = self.clone();
        change(&mut next);
        next.store(cursors)?;
        *self = next;
        Ok(())
    }

    fn store(&self, cursors: &Cursors) -> Result<(), Error> {
        cursors.set(&self.name, self.position, &self.state.encode_to_vec())
    }
}
