//! Where a trail's objects go. A trait, so that tests can cut it, slow it and let it lie.

use bytes::Bytes;
use object_store::ObjectStoreExt;
use sidetrail_archive::store::{Put, Store, StoreError};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

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
}

/// A store of objects that are written once.
pub(crate) trait Destination: Send {
    /// Stores an object unless there is one of that name.
    fn create(&self, key: &str, bytes: &Bytes) -> Result<Put, DestinationError>;

    /// Asks the store whether it has the object whole.
    fn confirm(&self, key: &str, size: u64) -> Result<(), DestinationError>;

    /// Reads an object of at most `limit` bytes.
    fn read(&self, key: &str, limit: usize) -> Result<Bytes, DestinationError>;
}

/// An archive store, called from a thread that may block.
#[derive(Debug)]
pub(crate) struct StoreDestination {
    store: Store,
    runtime: Handle,
    /// Ends requests, also those that are under way.
    give_up: CancellationToken,
}

impl StoreDestination {
    pub(crate) fn new(store: Store, runtime: Handle, give_up: CancellationToken) -> Self {
        Self { store, runtime, give_up }
    }

    fn wait<T>(&self, request: impl Future<Output = T>) -> Result<T, DestinationError> {
        let given_up = || DestinationError::GivenUp { store: self.store.name().to_owned() };
        self.runtime.block_on(self.give_up.run_until_cancelled(request)).ok_or_else(given_up)
    }
}

impl Destination for StoreDestination {
    fn create(&self, key: &str, bytes: &Bytes) -> Result<Put, DestinationError> {
        Ok(self.wait(self.store.put_create(key, bytes.clone()))??)
    }

    fn confirm(&self, key: &str, size: u64) -> Result<(), DestinationError> {
        let (key, store) = (key.to_owned(), self.store.name().to_owned());
        let path = object_store::path::Path::from(key.as_str());
        match self.wait(self.store.object_store().head(&path))? {
            Ok(meta) if meta.size == size => Ok(()),
            Ok(meta) => Err(DestinationError::Size { key, store, found: meta.size, expected: size }),
            Err(source) => Err(DestinationError::Confirm { key, store, source }),
        }
    }

    fn read(&self, key: &str, limit: usize) -> Result<Bytes, DestinationError> {
        Ok(self.wait(self.store.get(key, limit))??)
    }
}
