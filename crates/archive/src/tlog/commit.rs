//! The log as what digests commit to.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::growth::Growth;
use super::note::{KeyError, Name};
use super::publish::{PublishError, Publisher};
use crate::causes::chain;
use crate::digest::{Before, Commitment, CommitmentError, Digest, LoggedFile, Tree};
use crate::key::TreePlace;
use crate::sign::Signer;
use crate::store::Store;

/// Is told what somebody should look at.
type Tell = Box<dyn Fn(&str) + Send>;

/// Has digests commit to the records of their log files, and keeps the log beside them.
///
/// A log that cannot go on, because tiles and log files that it takes are gone, holds up no digest: these have no `tree` until
/// it can.
pub struct LogCommitment {
    place: TreePlace,
    origin: Name,
    signer: Arc<dyn Signer>,
    growth: Option<Growth>,
    tell: Tell,
}

impl LogCommitment {
    /// The log at `place` of what digests call `bucket`. `signer` signs its checkpoints; `tell` is told what was not as it
    /// should be.
    ///
    /// # Errors
    /// If the name of the log would be none.
    pub fn new(
        place: TreePlace,
        bucket: &str,
        signer: Arc<dyn Signer>,
        tell: Tell,
    ) -> Result<Self, KeyError> {
        Ok(Self { origin: place.origin(bucket)?, place, signer, growth: None, tell })
    }

    fn publisher<'a>(&'a self, store: &'a Store) -> Publisher<'a> {
        Publisher::new(store, self.place.clone(), self.origin.clone(), &*self.signer)
    }

    /// What the store did not do is tried again with the digest; what cannot be had is said.
    fn settle<T>(&self, outcome: Result<T, PublishError>) -> Result<Option<T>, CommitmentError> {
        match outcome {
            Ok(done) => Ok(Some(done)),
            Err(PublishError::Store(error)) if !error.is_not_found() => Err(error.into()),
            Err(error) => {
                (self.tell)(&format!("the log {} does not go on: {}", self.origin, chain(&error)));
                Ok(None)
            }
        }
    }
}

impl Commitment for LogCommitment {
    fn begin<'a>(
        &'a mut self,
        store: &'a Store,
        before: Option<Before<'a>>,
    ) -> BoxFuture<'a, Result<(), CommitmentError>> {
        Box::pin(async move {
            self.growth = None;
            let publisher = self.publisher(store);
            let resumed = match before {
                Some(before) => publisher.resume_after(before.object, before.tree).await,
                None => publisher.resume(None).await,
            };
            self.growth = self.settle(resumed)?;
            Ok(())
        })
    }

    fn file(&mut self, _: &LoggedFile) {
        if let Some(growth) = &mut self.growth {
            growth.begin();
        }
    }

    fn record(&mut self, record: &[u8]) {
        if let Some(growth) = &mut self.growth {
            growth.push(record);
        }
    }

    fn file_end(&mut self, whole: bool) {
        if let Some(growth) = &mut self.growth {
            growth.end(whole);
        }
    }

    fn tree(&mut self) -> Result<Option<Tree>, CommitmentError> {
        Ok(self.growth.as_ref().map(|growth| super::publish::statement(&self.origin, &*self.signer, growth)))
    }

    fn stored<'a>(
        &'a mut self,
        store: &'a Store,
        digest: &'a Digest,
        ours: bool,
    ) -> BoxFuture<'a, Result<(), CommitmentError>> {
        Box::pin(async move {
            let growth = self.growth.take().filter(|_| ours);
            let published = self.publisher(store).publish(digest, growth).await;
            if let Some(published) = self.settle(published)? {
                for key in published.replaced {
                    (self.tell)(&format!("{key} held other bytes than it should, and was replaced"));
                }
            }
            Ok(())
        })
    }
}

impl fmt::Debug for LogCommitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogCommitment").field("origin", &self.origin).finish_non_exhaustive()
    }
}
