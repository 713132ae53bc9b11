//! What a digest commits to beside files: the seam for the tree of records.

use std::error::Error;
use std::fmt;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::super::content::Records;
use super::super::format::{Digest, LoggedFile};
use super::super::statement::Tree;
use crate::key::DigestKey;
use crate::store::Store;

/// Why a commitment could not be made.
pub type CommitmentError = Box<dyn Error + Send + Sync>;

/// The digest that the next one goes on from.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// Its key.
    pub object: &'a DigestKey,
    /// Its end.
    pub end: Timestamp,
    /// What it says of the tree.
    pub tree: Option<&'a Tree>,
}

/// Makes the member `tree` of digests. For each digest, in this order: [`begin`](Self::begin), then for each log file in the
/// order in which the digest lists them [`file`](Self::file), its records, and [`file_end`](Self::file_end), then
/// [`tree`](Self::tree), and [`stored`](Self::stored) once the digest is in the bucket.
///
/// A digest may be begun and never stored, when a request fails or another writer was first: then it is begun again. Only
/// what `stored` is told of is in the log, so objects beside the digests are to be written there. A writer may die before
/// or during it: `begin` is where what the digest before commits to and is not in the bucket has to be made good.
pub trait Commitment: Send + fmt::Debug {
    /// A digest is begun that goes on from `before`; none for the first.
    fn begin<'a>(
        &'a mut self,
        store: &'a Store,
        before: Option<Before<'a>>,
    ) -> BoxFuture<'a, Result<(), CommitmentError>>;

    /// The next log file; its records follow.
    fn file(&mut self, file: &LoggedFile);

    /// The exact bytes of a record.
    fn record(&mut self, record: &[u8]);

    /// The file is at its end. One that is not whole is not what its manifest states, or is missing: its records since
    /// [`file`](Self::file) do not count.
    fn file_end(&mut self, whole: bool);

    /// The member for this digest. It may block.
    ///
    /// # Errors
    /// If it cannot be made now; then the digest is not either.
    fn tree(&mut self) -> Result<Option<Tree>, CommitmentError>;

    /// A digest is in the bucket: this writer's, or that of another which was first.
    fn stored<'a>(
        &'a mut self,
        store: &'a Store,
        digest: &'a Digest,
        ours: bool,
    ) -> BoxFuture<'a, Result<(), CommitmentError>>;
}

/// Commits to nothing more.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCommitment;

impl Commitment for NoCommitment {
    fn begin<'a>(
        &'a mut self,
        _: &'a Store,
        _: Option<Before<'a>>,
    ) -> BoxFuture<'a, Result<(), CommitmentError>> {
        Box::pin(async { Ok(()) })
    }

    fn file(&mut self, _: &LoggedFile) {}

    fn record(&mut self, _: &[u8]) {}

    fn file_end(&mut self, _: bool) {}

    fn tree(&mut self) -> Result<Option<Tree>, CommitmentError> {
        Ok(None)
    }

    fn stored<'a>(
        &'a mut self,
        _: &'a Store,
        _: &'a Digest,
        _: bool,
    ) -> BoxFuture<'a, Result<(), CommitmentError>> {
        Box::pin(async { Ok(()) })
    }
}

/// A commitment as what is shown records.
pub(super) struct Shown<'a>(pub(super) &'a mut dyn Commitment);

impl Records for Shown<'_> {
    fn record(&mut self, record: &[u8]) {
        self.0.record(record);
    }
}
