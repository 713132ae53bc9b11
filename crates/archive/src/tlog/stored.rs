//! A log as it lies in a bucket.

use std::io::{self, Read};

use super::note::{MAX_NOTE, Note};
use super::tile::{MAX_TILE, Tile, Tiles};
use crate::hash::Sha256;
use crate::key::{TreeObject, TreePlace};
use crate::source::Bucket;

/// The log of one trail in one region of a bucket.
pub struct Stored<'a> {
    bucket: &'a dyn Bucket,
    place: TreePlace,
}

impl<'a> Stored<'a> {
    /// The log at `place`. Nothing is read yet.
    #[must_use]
    pub fn new(bucket: &'a dyn Bucket, place: TreePlace) -> Self {
        Self { bucket, place }
    }

    /// Where it lies.
    #[must_use]
    pub fn place(&self) -> &TreePlace {
        &self.place
    }

    /// The note at one of its checkpoints' keys: not yet believed.
    ///
    /// # Errors
    /// If there is none ([`io::ErrorKind::NotFound`]), it could not be read, or is no note
    /// ([`io::ErrorKind::InvalidData`]).
    pub fn checkpoint(&self, object: TreeObject) -> io::Result<Note> {
        let bytes = self.read(object, MAX_NOTE)?;
        Note::parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn read(&self, object: TreeObject, limit: usize) -> io::Result<Vec<u8>> {
        let key = self.place.key(object).to_string();
        let mut bytes = Vec::new();
        let read = self.bucket.open(&key).and_then(|it| it.take(limit as u64 + 1).read_to_end(&mut bytes));
        // Whoever asked may not know which object it took.
        read.map_err(|error| io::Error::new(error.kind(), format!("{key}: {error}")))?;
        Ok(bytes)
    }
}

impl Tiles for Stored<'_> {
    fn tile(&self, tile: Tile) -> io::Result<Vec<Sha256>> {
        match self.read(TreeObject::Tile(tile), MAX_TILE) {
            // Partial tiles may have been deleted when the full one was there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !tile.is_full() => {
                let mut hashes =
                    tile.filled().decode(&self.read(TreeObject::Tile(tile.filled()), MAX_TILE)?)?;
                hashes.truncate(tile.width());
                Ok(hashes)
            }
            bytes => tile.decode(&bytes?),
        }
    }
}

impl std::fmt::Debug for Stored<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").field("place", &self.place).finish_non_exhaustive()
    }
}
