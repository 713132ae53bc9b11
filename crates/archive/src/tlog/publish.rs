//! Stores tiles and checkpoints, once it is decided which log files the tree has.
//!
//! What the next digest says of the tree is hashed first and stored nowhere. Then the digest is created: of several writers
//! one wins, and with that it is decided which records are leaves. Only then are tiles written, which therefore are the same
//! whoever writes them, and the checkpoint is signed. A writer that ends in between leaves a digest without tiles; whoever
//! makes the next one makes them first, from the log files that the digest lists, so that no more than that is ever
//! missing. Should tiles be deleted or changed, they are made again from as far back as it takes: a tile follows from what
//! digests state, and one that does not is replaced.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::checkpoint::Checkpoint;
use super::growth::Growth;
use super::merkle::Head;
use super::note::{Algorithm, MAX_NOTE, Name, Note, VerifierKey};
use super::tile::{MAX_TILE, Tile, Tiles, encode};
use super::tree::{EdgeError, Tree};
use crate::digest::{self, Digest, MAX_DIGEST, Opened, OpenedError};
use crate::hash::Sha256;
use crate::key::{DigestKey, LogKey, Second, TreeObject, TreePlace};
use crate::log::{MAX_CONTENT, ReadError, content_digest, read_records};
use crate::sign::{SignError, Signer};
use crate::store::{Put, Store, StoreError};

/// Tiles or a checkpoint could not be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A digest that has to be read again is none, or is not the one that the next one names.
    #[error("{key} is not the digest that the next one names")]
    Digest {
        /// Which one.
        key: DigestKey,
        /// Why not, if it could not be read.
        #[source]
        cause: Option<OpenedError>,
    },
    /// A log file has to be read again and is not what it was: the records that are leaves are lost.
    #[error("{key} does not hold the {leaves} records that it held")]
    LogFile {
        /// Which one.
        key: LogKey,
        /// How many leaves it has.
        leaves: u64,
        /// Why not, if it could not be read.
        #[source]
        cause: Option<ReadError>,
    },
    /// The log files lead to another tree than the digest states.
    #[error("the log files of {key} lead to another root hash than it states")]
    Root {
        /// Which digest.
        key: DigestKey,
    },
    /// The checkpoint could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Published {
    /// Objects that were not there before.
    pub created: Vec<String>,
    /// Objects that were there with other bytes than they should have: somebody changed them.
    pub replaced: Vec<String>,
}

/// Writes the log of one trail in one region.
pub struct Publisher<'a> {
    store: &'a Store,
    place: TreePlace,
    origin: Name,
    signer: &'a dyn Signer,
}

impl<'a> Publisher<'a> {
    /// For the log at `place` of a bucket, whose checkpoints `signer` signs.
    #[must_use]
    pub fn new(store: &'a Store, place: TreePlace, origin: Name, signer: &'a dyn Signer) -> Self {
        Self { store, place, origin, signer }
    }

    /// The tree as it is after `previous`, the last digest there is, ready to grow. If its tiles are not all there they are
    /// made first. Of digests without a tree no record is a leaf: it goes on from the last one that has one.
    ///
    /// # Errors
    /// If they cannot be.
    pub async fn resume(&self, previous: Option<&Digest>) -> Result<Growth, PublishError> {
        let mut last = previous.cloned();
        while let Some(digest) = last.take_if(|digest| tree_of(digest).is_none()) {
            if let Some(before) = &digest.previous {
                last = Some(self.digest(&before.object, before.hash).await?);
            }
        }
        let tree = match last {
            Some(last) => self.tree_after(&last, &mut Published::default()).await?,
            None => Tree::new(),
        };
        Ok(Growth::new(tree))
    }

    /// Like [`resume`](Self::resume) after the digest `object`, of which only what it says of the tree is at hand: it is read
    /// if there is more to know.
    ///
    /// # Errors
    /// As there.
    pub async fn resume_after(
        &self,
        object: &DigestKey,
        tree: Option<&digest::Tree>,
    ) -> Result<Growth, PublishError> {
        if let Some(tree) = tree
            && let Ok(tree) = self.load(tree.head()).await?
        {
            return Ok(Growth::new(tree));
        }
        self.resume(Some(&self.reread(object).await?)).await
    }

    /// What the next digest says of the tree.
    #[must_use]
    pub fn statement(&self, growth: &Growth) -> digest::Tree {
        statement(&self.origin, self.signer, growth)
    }

    /// Stores tiles and checkpoint of a digest that is in the bucket; `growth` is what led to it, if it is ours.
    ///
    /// # Errors
    /// If something could not be stored; what is missing is made up for with the next digest.
    pub async fn publish(&self, digest: &Digest, growth: Option<Growth>) -> Result<Published, PublishError> {
        let mut done = Published::default();
        let Some(stated) = tree_of(digest) else { return Ok(done) };
        match growth.as_ref().filter(|growth| growth.head() == stated.head()).and_then(Growth::tiles) {
            Some(tiles) => {
                for (tile, bytes) in tiles {
                    self.store(TreeObject::Tile(tile), bytes, &mut done).await?;
                }
            }
            None => {
                self.tree_after(digest, &mut done).await?;
            }
        }
        let object = TreeObject::Checkpoint(Second::of(digest.end));
        // The digest may name another key than ours, if another writer made it: its checkpoint is that one's to sign, and
        // the newest one of the log by a key that no digest names would be believed by nobody.
        let note = if stated.key.public_key() == self.signer.public_key() && stated.origin == self.origin {
            let note = Checkpoint::sign(&self.origin, stated.head(), self.signer)?;
            self.store(object, note.to_string().into_bytes(), &mut done).await?;
            Some(note)
        } else {
            self.signed_by(object, stated).await?
        };
        if let Some(note) = note {
            self.latest(stated.head(), &note).await?;
        }
        Ok(done)
    }

    /// The checkpoint that another writer signed, if it did before it ended.
    async fn signed_by(
        &self,
        object: TreeObject,
        stated: &digest::Tree,
    ) -> Result<Option<Note>, PublishError> {
        let bytes = match self.store.get(&self.place.key(object).to_string(), MAX_NOTE).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() || error.is_too_large() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let is_its = |note: &Note| {
            let opened = Checkpoint::open(note, std::slice::from_ref(&stated.key));
            opened.is_ok_and(|checkpoint| checkpoint.head == stated.head())
        };
        Ok(Note::parse(&bytes).ok().filter(is_its))
    }

    /// Stores an object that never changes.
    async fn store(
        &self,
        object: TreeObject,
        bytes: Vec<u8>,
        done: &mut Published,
    ) -> Result<(), PublishError> {
        let key = self.place.key(object).to_string();
        let bytes = Bytes::from(bytes);
        match self.store.put_create(&key, bytes.clone()).await? {
            Put::Created => done.created.push(key),
            Put::AlreadyExists => match self.store.get(&key, MAX_TILE.max(MAX_NOTE)).await {
                Ok(stored) if stored == bytes => {}
                Err(error) if !error.is_too_large() => return Err(error.into()),
                _ => {
                    self.store.replace(&key, bytes).await?;
                    done.replaced.push(key);
                }
            },
        }
        Ok(())
    }

    /// Replaces the newest checkpoint, unless that is newer.
    async fn latest(&self, head: Head, note: &Note) -> Result<(), PublishError> {
        let key = self.place.key(TreeObject::Latest).to_string();
        let known = match self.store.get(&key, MAX_NOTE).await {
            Ok(bytes) => Note::parse(&bytes).ok().and_then(|note| note.text.parse::<Checkpoint>().ok()),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        // Whatever else is there, somebody put it there who is not us.
        if known.is_none_or(|known| known.origin != self.origin.as_str() || known.head.size <= head.size) {
            self.store.replace(&key, note.to_string().into()).await?;
        }
        Ok(())
    }

    /// The tree after a digest, from its tiles, which are made where they are missing.
    async fn tree_after(&self, digest: &Digest, done: &mut Published) -> Result<Tree, PublishError> {
        // Back to a digest whose tiles are there. Of those on the way only the names are kept.
        let (mut missing, mut current) = (Vec::new(), digest.clone());
        let mut tree = loop {
            match tree_of(&current).map(digest::Tree::head) {
                Some(head) if head.size == 0 => break Tree::new(),
                Some(head) => match self.load(head).await? {
                    Ok(tree) => break tree,
                    Err(_) => missing.push(current.object.clone()),
                },
                None => {}
            }
            let Some(previous) = &current.previous else { break Tree::new() };
            current = self.digest(&previous.object, previous.hash).await?;
        };
        while let Some(key) = missing.pop() {
            let again = if key == digest.object { digest.clone() } else { self.reread(&key).await? };
            self.replay(&again, &mut tree, done).await?;
        }
        Ok(tree)
    }

    /// The edge of the tree, or why its tiles do not give it.
    async fn load(&self, head: Head) -> Result<Result<Tree, EdgeError>, PublishError> {
        let mut tiles = Fetched::default();
        for tile in Tile::partial(head.size) {
            let key = self.place.key(TreeObject::Tile(tile)).to_string();
            match self.store.get(&key, MAX_TILE).await {
                Ok(bytes) => tiles.0.insert(tile, bytes.to_vec()),
                Err(error) if error.is_not_found() => break,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(Tree::load(head, &tiles))
    }

    /// The digest that another one names.
    async fn digest(&self, key: &DigestKey, hash: Sha256) -> Result<Digest, PublishError> {
        let stored = self.store.get(&key.to_string(), MAX_DIGEST).await?;
        match Opened::read(&stored) {
            Ok(opened) if opened.content_sha256 == hash => Ok(opened.digest),
            Ok(_) => Err(PublishError::Digest { key: key.clone(), cause: None }),
            Err(cause) => Err(PublishError::Digest { key: key.clone(), cause: Some(cause) }),
        }
    }

    /// A digest that was read a moment ago and has proved to be the right one; its root shows if it has changed since.
    async fn reread(&self, key: &DigestKey) -> Result<Digest, PublishError> {
        let stored = self.store.get(&key.to_string(), MAX_DIGEST).await?;
        let opened = Opened::read(&stored);
        opened
            .map(|opened| opened.digest)
            .map_err(|cause| PublishError::Digest { key: key.clone(), cause: Some(cause) })
    }

    /// Appends the records of a digest's log files and stores the tiles.
    async fn replay(
        &self,
        digest: &Digest,
        tree: &mut Tree,
        done: &mut Published,
    ) -> Result<(), PublishError> {
        let Some(stated) = tree_of(digest) else { return Ok(()) };
        for (file, leaves) in digest.log_files.iter().zip(&stated.leaves).filter(|(_, leaves)| **leaves > 0) {
            let stored = self.store.get(&file.object.to_string(), MAX_STORED).await?;
            let (key, leaves) = (file.object.clone(), *leaves);
            match content_digest(&stored, MAX_CONTENT) {
                Ok((hash, _)) if hash == file.hash => {}
                Ok(_) => return Err(PublishError::LogFile { key, leaves, cause: None }),
                Err(cause) => return Err(PublishError::LogFile { key, leaves, cause: Some(cause) }),
            }
            let (mut full, before) = (Vec::new(), tree.size());
            let read = read_records(&stored[..], MAX_CONTENT, |record| {
                tree.push(record.as_bytes(), &mut |tile, hashes| full.push((tile, encode(hashes))));
                ControlFlow::<()>::Continue(())
            });
            if let Err(cause) = read {
                return Err(PublishError::LogFile { key, leaves, cause: Some(cause) });
            }
            if tree.size() - before != leaves {
                return Err(PublishError::LogFile { key, leaves, cause: None });
            }
            for (tile, bytes) in full {
                self.store(TreeObject::Tile(tile), bytes, done).await?;
            }
        }
        if tree.head() != stated.head() {
            return Err(PublishError::Root { key: digest.object.clone() });
        }
        for (tile, hashes) in tree.partial() {
            self.store(TreeObject::Tile(tile), encode(hashes), done).await?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Publisher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// What the next digest says of a tree.
pub(super) fn statement(origin: &Name, signer: &dyn Signer, growth: &Growth) -> digest::Tree {
    let Head { size, root } = growth.head();
    let key = VerifierKey::new(origin.clone(), Algorithm::Ed25519, signer.public_key().clone());
    digest::Tree { origin: origin.clone(), size, root_hash: root, key, leaves: growth.leaves().to_vec() }
}

/// The most stored bytes of a log file that are read.
const MAX_STORED: usize = MAX_CONTENT as usize + (1 << 20);

fn tree_of(digest: &Digest) -> Option<&digest::Tree> {
    digest.statement.as_ref()?.tree.as_ref()
}

/// Tiles that were fetched before.
#[derive(Default)]
struct Fetched(HashMap<Tile, Vec<u8>>);

impl Tiles for Fetched {
    fn tile(&self, tile: Tile) -> io::Result<Vec<Sha256>> {
        tile.decode(self.0.get(&tile).ok_or(io::ErrorKind::NotFound)?)
    }
}

#[cfg(test)]
mod tests;
