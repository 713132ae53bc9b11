//! Where a trail's objects go. A trait, so that tests can cut it, slow it and let it lie.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use sidetrail_archive::store::{self, Put, Store, StoreError};
use sidetrail_wire::spool::v1::Unlocked;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::protection::{Wanted, Watch};

/// Why an object is not known to be in the store. Every one of these is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DestinationError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("could not confirm {key} in {store}")]
    Confirm { key: String, store: String, source: object_store::Error },
    /// The collector ends, and does not wait for it any more.
    #[error("gave up on {store}")]
    GivenUp { store: String },
    /// The store said yes and has something else.
    #[error("{key} in {store} has {found} bytes, stored were {expected}")]
    Size { key: String, store: String, found: u64, expected: u64 },
    /// The store overwrites, and somebody did.
    #[error("{key} in {store} has other bytes than were stored")]
    Changed { key: String, store: String },
}

impl DestinationError {
    /// Whether the store says that there is no such object.
    pub(super) fn is_not_found(&self) -> bool {
        match self {
            Self::Store(error) => error.is_not_found(),
            Self::Confirm { source, .. } => matches!(source, object_store::Error::NotFound { .. }),
            Self::Size { .. } | Self::Changed { .. } | Self::GivenUp { .. } => false,
        }
    }

    /// Whether there is more of the object than was asked for.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_too_large())
    }

    /// What kind of failure it is.
    pub(super) fn failure(&self) -> store::Failure {
        match self {
            Self::Store(error) => error.failure(),
            Self::Confirm { source, .. } => store::Failure::of(source),
            Self::Size { .. } | Self::Changed { .. } => store::Failure::Conflict,
            Self::GivenUp { .. } => store::Failure::Unreachable,
        }
    }
}

/// A store of objects that are written once.
pub(crate) trait Destination: Send {
    /// Stores an object unless there is one of that name.
    fn create(&self, key: &str, bytes: &Bytes) -> Result<Put, DestinationError>;

    /// Asks the store whether it has the object whole.
    fn confirm(&self, key: &str, size: u64) -> Result<(), DestinationError>;

    /// Reads an object of at most `limit` bytes.
    fn read(&self, key: &str, limit: usize) -> Result<Bytes, DestinationError>;

    /// Is told whether a second create of the same name was refused. Where it was not, creating has to look first.
    fn refuses_second(&self, refused: bool) {
        let _ = refused;
    }

    /// Locks an object that was delivered at `created_unix_s`, where that is asked for. One that could not be locked now
    /// is named, to be tried again; an error is for where nothing may be stored without.
    fn lock(&self, key: &str, created_unix_s: i64) -> Result<Option<Unlocked>, DestinationError> {
        let _ = (key, created_unix_s);
        Ok(None)
    }

    /// Tries again to lock an object.
    fn lock_again(&self, unlocked: &Unlocked) -> Result<(), DestinationError> {
        let _ = unlocked;
        Ok(())
    }
}

/// An archive store, called from a thread that may block.
#[derive(Debug)]
pub(crate) struct StoreDestination {
    store: Store,
    runtime: Handle,
    wanted: Wanted,
    /// Ends requests, also those that are under way.
    give_up: CancellationToken,
    /// Looks at the bucket for as long as it is shipped to.
    watch: Option<AbortOnDropHandle<()>>,
    /// The store takes a second create for an overwrite, or may.
    overwrites: AtomicBool,
}

impl StoreDestination {
    pub(crate) fn new(store: Store, runtime: Handle, wanted: Wanted, give_up: CancellationToken) -> Self {
        Self { store, runtime, wanted, give_up, watch: None, overwrites: AtomicBool::new(false) }
    }

    /// Looks before and after each put, without knowing whether the store needs that: for who puts seldom and asks nothing
    /// of the store before.
    pub(crate) fn looking_always(mut self) -> Self {
        self.overwrites = AtomicBool::new(true);
        self
    }

    /// Has the bucket looked at, too.
    pub(super) fn watched(mut self, watch: Watch) -> Self {
        self.watch = Some(AbortOnDropHandle::new(self.runtime.spawn(watch.run())));
        self
    }

    fn wait<T>(&self, request: impl Future<Output = T>) -> Result<T, DestinationError> {
        let given_up = || DestinationError::GivenUp { store: self.store.name().to_owned() };
        self.runtime.block_on(self.give_up.run_until_cancelled(request)).ok_or_else(given_up)
    }
}

/// Creates an object in a store that overwrites: with a look before, which sees what is there, and one after, which sees
/// what came in between. `None` if that was something else. A chain has one writer and its names are its own, so it can
/// only be this batch, from before a time-out, and that has the same bytes.
fn looking(
    read: impl Fn(usize) -> Result<Bytes, DestinationError>,
    put: impl FnOnce() -> Result<Put, DestinationError>,
    bytes: &Bytes,
) -> Result<Option<Put>, DestinationError> {
    match read(0) {
        Err(error) if error.is_not_found() => {}
        Err(error) if !error.is_too_large() => return Err(error),
        _ => return Ok(Some(Put::AlreadyExists)),
    }
    put()?;
    match read(bytes.len()) {
        Ok(stored) if stored == *bytes => Ok(Some(Put::Created)),
        Err(error) if !error.is_too_large() => Err(error),
        _ => Ok(None),
    }
}

impl Destination for StoreDestination {
    fn create(&self, key: &str, bytes: &Bytes) -> Result<Put, DestinationError> {
        let put = || Ok(self.wait(self.store.put_create(key, bytes.clone()))??);
        if !self.overwrites.load(Ordering::Relaxed) {
            return put();
        }
        looking(|limit| self.read(key, limit), put, bytes)?.ok_or_else(|| DestinationError::Changed {
            key: key.to_owned(),
            store: self.store.name().to_owned(),
        })
    }

    fn lock(&self, key: &str, created_unix_s: i64) -> Result<Option<Unlocked>, DestinationError> {
        let Some(lock) = self.wanted.lock(created_unix_s, None) else { return Ok(None) };
        match self.wait(self.store.lock(key, lock))? {
            Ok(()) => Ok(None),
            Err(error) if self.wanted.object_lock.as_ref().is_some_and(|lock| lock.require) => {
                Err(error.into())
            }
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), "an object is stored without a lock; it is tried again");
                Ok(Some(Unlocked { key: key.to_owned(), retain_until_unix_s: lock.until.as_second() }))
            }
        }
    }

    fn lock_again(&self, unlocked: &Unlocked) -> Result<(), DestinationError> {
        // Where nothing is to be locked any more, nothing waits for it.
        let Some(lock) = self.wanted.lock(0, Some(unlocked.retain_until_unix_s)) else { return Ok(()) };
        match self.wait(self.store.lock(&unlocked.key, lock))? {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn refuses_second(&self, refused: bool) {
        self.overwrites.store(!refused, Ordering::Relaxed);
        if refused {
            tracing::info!(store = self.store.name(), "the store honours conditional create");
        } else {
            tracing::warn!(
                store = self.store.name(),
                "the store ignores conditional create (If-None-Match); every put is checked before and after instead"
            );
        }
    }

    fn confirm(&self, key: &str, size: u64) -> Result<(), DestinationError> {
        let (key, store) = (key.to_owned(), self.store.name().to_owned());
        match self.wait(self.store.size(&key))? {
            Ok(found) if found == size => Ok(()),
            Ok(found) => Err(DestinationError::Size { key, store, found, expected: size }),
            Err(source) => Err(DestinationError::Confirm { key, store, source }),
        }
    }

    fn read(&self, key: &str, limit: usize) -> Result<Bytes, DestinationError> {
        Ok(self.wait(self.store.get(key, limit))??)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn not_found() -> DestinationError {
        let source = object_store::Error::NotFound { path: "a".to_owned(), source: "no".into() };
        DestinationError::Confirm { key: "a".to_owned(), store: "memory".to_owned(), source }
    }

    /// A store that takes every put, and one that another put comes to in between.
    #[test]
    fn a_store_that_overwrites_is_looked_at_before_and_after() {
        let create = |stored: &RefCell<Option<Bytes>>, between: Option<Bytes>| {
            let puts = RefCell::new(0);
            let read = |_| stored.borrow().clone().ok_or_else(not_found);
            let put = || {
                *puts.borrow_mut() += 1;
                *stored.borrow_mut() = Some(between.unwrap_or("ours".into()));
                Ok(Put::Created)
            };
            (looking(read, put, &"ours".into()).unwrap(), puts.into_inner())
        };
        assert_eq!(create(&RefCell::new(None), None), (Some(Put::Created), 1));
        let theirs = RefCell::new(Some("theirs".into()));
        assert_eq!(create(&theirs, None), (Some(Put::AlreadyExists), 0));
        assert_eq!(theirs.into_inner().unwrap(), "theirs");
        assert_eq!(create(&RefCell::new(None), Some("theirs".into())), (None, 1));
    }
}
