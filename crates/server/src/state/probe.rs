//! Whether a store keeps what servers write at the same time apart.

use bytes::Bytes;
use futures_util::future::join_all;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use sidetrail_archive::store::Store;

use super::versions::{create, random_id};

/// Creations of the same name at the same time.
const RACERS: usize = 4;

/// The store cannot hold the state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("{store} cannot be written: {cause}")]
    Request { store: String, cause: object_store::Error },
    #[error(
        "{store} created the same object {times} times: it does not know conditional puts (If-None-Match), and several \
         servers, or one, would lose changes on it"
    )]
    Unconditional { store: String, times: usize },
    #[error("random numbers cannot be had")]
    Random,
}

/// Creates an object several times at once, and once more after that.
pub(crate) async fn probe(store: &Store) -> Result<(), ProbeError> {
    let name = || store.name().to_owned();
    let prefix = store.prefix().map_or_else(String::new, |prefix| format!("{prefix}/"));
    let id = random_id().map_err(|_| ProbeError::Random)?;
    let key = format!("{prefix}Sidetrail-State/probe/{id}.json");
    let once = || create(store, &key, Bytes::from_static(b"{}"));
    let failed = |cause| ProbeError::Request { store: name(), cause };

    let mut results = join_all((0..RACERS).map(|_| once())).await;
    results.push(once().await);
    let mut created = 0;
    let mut failure = None;
    for result in results {
        match result {
            Ok(done) => created += usize::from(done),
            // A service may answer those who race that there is a conflict.
            Err(cause) => failure = Some(cause),
        }
    }
    if let Ok(path) = Path::parse(&key) {
        // Who may not delete leaves a few bytes.
        let _ = store.object_store().delete(&path).await;
    }
    match (created, failure) {
        (1, _) => Ok(()),
        (0, Some(cause)) => Err(failed(cause)),
        (times, _) => Err(ProbeError::Unconditional { store: name(), times }),
    }
}
