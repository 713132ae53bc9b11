//! Proofs, made from tiles.
//!
//! What is made from tiles that were changed does not verify: nothing is checked here that the proof's reader checks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::merkle::{Head, ProofError, empty_root, node_hash, perfect_root};
use super::range::Range;
use super::tile::{HEIGHT, Tile, Tiles};
use crate::hash::Sha256;

/// Tiles that are kept for the next proof: 2 MiB.
const KEPT: usize = 256;

/// Makes proofs in the tree of one size. A proof takes at most two tiles a level, which are kept for the next one.
pub struct Prover<'a> {
    tiles: &'a dyn Tiles,
    size: u64,
    kept: RefCell<HashMap<Tile, Arc<[Sha256]>>>,
}

impl<'a> Prover<'a> {
    /// For the tree of `size` leaves.
    #[must_use]
    pub fn new(tiles: &'a dyn Tiles, size: u64) -> Self {
        Self { tiles, size, kept: RefCell::default() }
    }

    /// The root hash, and that of any smaller tree.
    ///
    /// # Errors
    /// If a tile could not be read, or the tree has fewer leaves.
    pub fn root(&self, size: u64) -> io::Result<Sha256> {
        self.within(size)?;
        if size == 0 { Ok(empty_root()) } else { self.subtree(0, size) }
    }

    /// Proves that a leaf is in the tree.
    ///
    /// # Errors
    /// If a tile could not be read, or there is no such leaf.
    pub fn inclusion(&self, index: u64) -> io::Result<Vec<Sha256>> {
        if index >= self.size {
            return Err(refused(ProofError::Index { index, size: self.size }));
        }
        let (mut low, mut high, mut proof) = (0, self.size, Vec::new());
        while high - low > 1 {
            let middle = low + split(high - low);
            if index < middle {
                proof.push(self.subtree(middle, high)?);
                high = middle;
            } else {
                proof.push(self.subtree(low, middle)?);
                low = middle;
            }
        }
        proof.reverse();
        Ok(proof)
    }

    /// Proves that the tree extends that of `old` leaves.
    ///
    /// # Errors
    /// If a tile could not be read, or the tree has fewer leaves.
    pub fn consistency(&self, old: u64) -> io::Result<Vec<Sha256>> {
        self.within(old)?;
        let mut proof = Vec::new();
        if old == 0 || old == self.size {
            return Ok(proof);
        }
        // Down to the perfect subtree that the old tree ends with.
        let (mut low, mut high) = (0, self.size);
        while high != old {
            let middle = low + split(high - low);
            if old <= middle {
                proof.push(self.subtree(middle, high)?);
                high = middle;
            } else {
                proof.push(self.subtree(low, middle)?);
                low = middle;
            }
        }
        // The root of the old tree is known to who has it.
        if low > 0 {
            proof.push(self.subtree(low, high)?);
        }
        proof.reverse();
        Ok(proof)
    }

    /// The first `size` leaves of the tree, to which others can be appended.
    ///
    /// # Errors
    /// If a tile could not be read, or the tree has fewer leaves.
    pub fn range(&self, size: u64) -> io::Result<Range> {
        self.within(size)?;
        let mut range = Range::new(0);
        while range.end() < size {
            let height = (size - range.end()).ilog2();
            range.push_node(height, self.node(height, range.end() >> height)?);
        }
        Ok(range)
    }

    fn within(&self, size: u64) -> io::Result<()> {
        if size > self.size {
            return Err(refused(ProofError::Shrunk { old: size, new: self.size }));
        }
        Ok(())
    }

    /// The hash over the leaves from `low` up to `high`, which is a node of the tree or of one that ends there.
    fn subtree(&self, low: u64, high: u64) -> io::Result<Sha256> {
        let size = high - low;
        if size.is_power_of_two() {
            let height = size.trailing_zeros();
            return self.node(height, low >> height);
        }
        let middle = low + split(size);
        Ok(node_hash(&self.subtree(low, middle)?, &self.subtree(middle, high)?))
    }

    /// The root of the perfect subtree at `index` of those that are `height` high.
    fn node(&self, height: u32, index: u64) -> io::Result<Sha256> {
        let (level, height) = (height / HEIGHT, height % HEIGHT);
        let first = index << height;
        let tile = u8::try_from(level).ok().and_then(|level| Tile::of(self.size, level, first >> HEIGHT));
        let tile = tile.ok_or(io::ErrorKind::InvalidInput)?;
        let hashes = self.tile(tile)?;
        let first = (first % (1 << HEIGHT)) as usize;
        let hash = hashes.get(first..first + (1 << height)).and_then(perfect_root);
        hash.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{tile} is too short")))
    }

    fn tile(&self, tile: Tile) -> io::Result<Arc<[Sha256]>> {
        if let Some(hashes) = self.kept.borrow().get(&tile) {
            return Ok(hashes.clone());
        }
        let hashes: Arc<[Sha256]> = self.tiles.tile(tile)?.into();
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(tile, hashes.clone());
        Ok(hashes)
    }
}

impl std::fmt::Debug for Prover<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prover").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Checks that the stored tiles lead to the root that `head` states.
///
/// # Errors
/// If a tile could not be read, or they lead to another root ([`io::ErrorKind::InvalidData`]).
pub fn check_root(tiles: &dyn Tiles, head: Head) -> io::Result<()> {
    match Prover::new(tiles, head.size).root(head.size)? {
        root if root == head.root => Ok(()),
        root => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the tiles of {} leaves have the root hash {root}, not {}", head.size, head.root),
        )),
    }
}

/// How many leaves the left child of a tree of so many, at least two, has.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

fn refused(error: ProofError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
