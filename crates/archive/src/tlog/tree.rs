//! A tree that grows: its right edge, and the tiles that become full.

use std::io;

use super::merkle::{Head, MAX_SIZE, empty_root, leaf_hash, node_hash, perfect_root};
use super::tile::{HEIGHT, Tile, Tiles, WIDTH};
use crate::hash::Sha256;

/// The right edge of a tree, which is all that it takes to append: the last, partial tile of each level, at most 64 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    size: u64,
    /// By level; of each as many hashes as the partial tile has.
    edge: Vec<Vec<Sha256>>,
}

/// A right edge could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EdgeError {
    /// A tile is not there, or could not be read.
    #[error("could not read {tile}")]
    Read {
        /// Which one.
        tile: Tile,
        /// Why.
        source: io::Error,
    },
    /// The tiles are there, and are not those of the tree.
    #[error("the tiles at the edge of {size} leaves have the root hash {found}")]
    Root {
        /// Leaves of the tree.
        size: u64,
        /// The root that the tiles lead to.
        found: Sha256,
    },
}

impl Tree {
    /// A tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree that `head` states, from its stored tiles: at most one a level is read.
    ///
    /// # Errors
    /// If a tile is missing, or they do not lead to the root.
    pub fn load(head: Head, tiles: &dyn Tiles) -> Result<Self, EdgeError> {
        let mut tree = Self { size: head.size, edge: Vec::new() };
        for tile in Tile::partial(head.size) {
            let hashes = tiles.tile(tile).map_err(|source| EdgeError::Read { tile, source })?;
            tree.edge.resize_with(usize::from(tile.level()), Vec::new);
            tree.edge.push(hashes);
        }
        match tree.root() {
            root if root == head.root => Ok(tree),
            found => Err(EdgeError::Root { size: head.size, found }),
        }
    }

    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size and root hash.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { size: self.size, root: self.root() }
    }

    /// The root hash.
    #[must_use]
    pub fn root(&self) -> Sha256 {
        let mut root = None;
        // From the smallest perfect subtree, which is the rightmost one, to the left.
        for hashes in &self.edge {
            let mut left = &hashes[..];
            while !left.is_empty() {
                let (rest, subtree) = left.split_at(left.len() - (1 << left.len().trailing_zeros()));
                root = match (perfect_root(subtree), root) {
                    (Some(left), Some(right)) => Some(node_hash(&left, &right)),
                    (left, right) => left.or(right),
                };
                left = rest;
            }
        }
        root.unwrap_or_else(empty_root)
    }

    /// Appends a record. Each tile that becomes full is given to `full`.
    pub fn push(&mut self, record: &[u8], full: &mut dyn FnMut(Tile, &[Sha256])) {
        self.push_hash(leaf_hash(record), full);
    }

    /// Appends a leaf by its hash. A tree that has [`MAX_SIZE`] leaves stays as it is, which takes centuries to come to.
    pub fn push_hash(&mut self, leaf: Sha256, full: &mut dyn FnMut(Tile, &[Sha256])) {
        if self.size == MAX_SIZE {
            return;
        }
        self.size += 1;
        let (mut hash, mut level) = (leaf, 0_u8);
        loop {
            let at = usize::from(level);
            if self.edge.len() == at {
                self.edge.push(Vec::with_capacity(WIDTH));
            }
            let hashes = &mut self.edge[at];
            hashes.push(hash);
            if hashes.len() < WIDTH {
                return;
            }
            let index = (self.size >> (u32::from(level + 1) * HEIGHT)) - 1;
            full(Tile::full(level, index), hashes);
            let root = perfect_root(hashes);
            hashes.clear();
            // A full tile has a root.
            let Some(root) = root else { return };
            (hash, level) = (root, level + 1);
        }
    }

    /// The partial tiles: what has to be stored beside the full ones for this size.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, &[Sha256])> {
        Tile::partial(self.size).map(|tile| (tile, &self.edge[usize::from(tile.level())][..]))
    }
}
