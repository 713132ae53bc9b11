//! A range of leaves, as the roots of the perfect subtrees that it is made of.
//!
//! Ranges that follow each other can be joined, so parts of a tree can be hashed at the same time; the range that begins
//! at leaf 0 has the root. Of n leaves there are at most two times log2(n) hashes.

use super::merkle::{Head, empty_root, leaf_hash, node_hash};
use crate::hash::Sha256;

/// Consecutive leaves of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    start: u64,
    end: u64,
    /// From the left; each is a subtree of `1 << height` leaves that begins at a multiple of that.
    nodes: Vec<(u32, Sha256)>,
}

/// Two ranges do not follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("leaves {end} and {start} do not follow each other")]
pub struct NotAdjacent {
    end: u64,
    start: u64,
}

impl Range {
    /// The range without leaves that begins at leaf `start`.
    #[must_use]
    pub fn new(start: u64) -> Self {
        Self { start, end: start, nodes: Vec::new() }
    }

    /// The leaf after its last one.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.end - self.start
    }

    /// Appends a record.
    pub fn push(&mut self, record: &[u8]) {
        self.push_node(0, leaf_hash(record));
    }

    /// Appends a subtree that begins at the end of the range, which is a multiple of its size.
    pub(super) fn push_node(&mut self, mut height: u32, mut hash: Sha256) {
        self.end += 1 << height;
        // A right child whose left sibling is here makes a node of the next level.
        while let Some((before, left)) = self.nodes.last()
            && *before == height
            && self.end.trailing_zeros() > height
        {
            (height, hash) = (height + 1, node_hash(left, &hash));
            self.nodes.pop();
        }
        self.nodes.push((height, hash));
    }

    /// Appends the range that begins where this one ends.
    ///
    /// # Errors
    /// If it begins elsewhere.
    pub fn join(&mut self, next: &Self) -> Result<(), NotAdjacent> {
        if self.end != next.start {
            return Err(NotAdjacent { end: self.end, start: next.start });
        }
        next.nodes.iter().for_each(|(height, hash)| self.push_node(*height, *hash));
        Ok(())
    }

    /// Size and root of the tree whose leaves these are, if they begin at leaf 0.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        let root =
            self.nodes.iter().rev().map(|(_, hash)| *hash).reduce(|right, left| node_hash(&left, &right));
        (self.start == 0).then(|| Head { size: self.end, root: root.unwrap_or_else(empty_root) })
    }
}
