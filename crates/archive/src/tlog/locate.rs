//! Which leaf a record is: digests say it.
//!
//! They are read here as they are, without a look at their signatures: a digest that was changed leads to a leaf that the
//! record is not, and the proof does not verify.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::digest::{Digest, Opened};
use crate::hash::Sha256;
use crate::key::{DigestKey, Home, LogKey, Region, Second, TreePlace};
use crate::source::Bucket;

/// The most stored bytes of a digest that are read.
pub const MAX_STORED: usize = 16 << 20;

/// Digests that are kept for the next question.
const KEPT: usize = 16;

/// Where the records of a log file are in its log.
#[derive(Debug, Clone)]
pub struct Located {
    /// Which log it is.
    pub place: TreePlace,
    /// The digest that lists the file.
    pub digest: Arc<Digest>,
    /// The SHA-256 of the file's content, as the digest has it.
    pub content_sha256: Sha256,
    /// Which leaf its first record is, and how many are leaves; none if the digest has no tree.
    pub leaves: Option<(u64, u64)>,
}

/// Finds digests of log files in a bucket, and remembers the last ones.
pub struct Locator<'a> {
    bucket: &'a dyn Bucket,
    /// By place, in the order of their ends.
    listed: HashMap<(Home, Region), Vec<DigestKey>>,
    kept: BTreeMap<DigestKey, Arc<Digest>>,
}

impl<'a> Locator<'a> {
    /// For the digests of `bucket`.
    #[must_use]
    pub fn new(bucket: &'a dyn Bucket) -> Self {
        Self { bucket, listed: HashMap::new(), kept: BTreeMap::new() }
    }

    /// The digest that lists `file`, and where in the log its records are. Nothing if none does, as before the next one is
    /// made.
    ///
    /// # Errors
    /// If digests could not be listed, or one is none.
    pub fn find(&mut self, file: &LogKey) -> io::Result<Option<Located>> {
        let home = file.0.home.clone();
        // No digest lists a file that was delivered after its end.
        let first = Second::of(file.0.minute.start());
        let mut keys = self.keys(&home, &file.0.region)?;
        let begin = keys.partition_point(|key| key.end < first);
        for key in keys.split_off(begin) {
            let digest = self.digest(&key)?;
            let Some(at) = digest.log_files.iter().position(|listed| listed.object == *file) else {
                continue;
            };
            let tree = digest.statement.as_ref().and_then(|statement| statement.tree.as_ref());
            let leaves = tree.and_then(|tree| {
                let before: u64 = tree.leaves.get(..at)?.iter().sum();
                Some((tree.first_leaf()?.checked_add(before)?, *tree.leaves.get(at)?))
            });
            let DigestKey { home, region, trail, .. } = digest.object.clone();
            let place = TreePlace { home, region, trail };
            let content_sha256 = digest.log_files[at].hash;
            return Ok(Some(Located { place, digest, content_sha256, leaves }));
        }
        Ok(None)
    }

    /// The keys of all digests of a region, by end.
    ///
    /// # Errors
    /// If they could not be listed.
    pub fn keys(&mut self, home: &Home, region: &Region) -> io::Result<Vec<DigestKey>> {
        let place = (home.clone(), region.clone());
        if let Some(keys) = self.listed.get(&place) {
            return Ok(keys.clone());
        }
        let mut keys: Vec<DigestKey> = Vec::new();
        self.bucket.list(&DigestKey::prefix(home, region), &mut |entry| {
            keys.extend(entry.key.parse().ok());
            ControlFlow::Continue(())
        })?;
        keys.sort_by_key(|key| key.end);
        self.listed.insert(place, keys.clone());
        Ok(keys)
    }

    /// A digest as it is stored.
    ///
    /// # Errors
    /// If it could not be read, or is none.
    pub fn digest(&mut self, key: &DigestKey) -> io::Result<Arc<Digest>> {
        if let Some(digest) = self.kept.get(key) {
            return Ok(digest.clone());
        }
        let mut bytes = Vec::new();
        self.bucket.open(&key.to_string())?.take(MAX_STORED as u64 + 1).read_to_end(&mut bytes)?;
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{key}: {what}"));
        let opened = Opened::read(&bytes).map_err(|error| invalid(crate::causes::chain(&error)))?;
        if opened.digest.object != *key {
            return Err(invalid(format!("it belongs at {}", opened.digest.object)));
        }
        let digest = Arc::new(opened.digest);
        if self.kept.len() >= KEPT {
            self.kept.pop_first();
        }
        self.kept.insert(key.clone(), digest.clone());
        Ok(digest)
    }
}

impl std::fmt::Debug for Locator<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Locator").field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}

impl Located {
    /// The leaves of the file, and what the digest says of the tree; none if it has none.
    #[must_use]
    pub fn tree(&self) -> Option<((u64, u64), &crate::digest::Tree)> {
        self.leaves.zip(self.digest.statement.as_ref().and_then(|statement| statement.tree.as_ref()))
    }
}
