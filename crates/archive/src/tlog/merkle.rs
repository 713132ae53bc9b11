//! The Merkle tree of RFC 6962: hashes, and what proofs over them must come to.

use crate::hash::{Hasher, Sha256};

/// The most hashes that a proof can have: trees have fewer than 2^63 leaves.
pub const MAX_PROOF: usize = 63;

/// The most leaves that a tree can have.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// Why a proof does not prove what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// There is no such leaf in a tree of that size.
    #[error("a tree of {size} leaves has no leaf {index}")]
    Index {
        /// The leaf, counted from 0.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// A tree of fewer leaves cannot extend one of more.
    #[error("a tree of {new} leaves does not extend one of {old}")]
    Shrunk {
        /// Leaves of the older tree.
        old: u64,
        /// Leaves of the newer tree.
        new: u64,
    },
    /// A proof for these sizes has more or fewer hashes.
    #[error("the proof has not the number of hashes that it should have")]
    Length,
    /// The hashes do not lead to the root of the tree, or of the newer one.
    #[error("the proof does not lead to the root hash")]
    Root,
    /// The hashes do not lead to the root of the older tree: the newer one does not extend it.
    #[error("the proof does not lead to the root hash of the older tree")]
    OldRoot,
}

/// The hash of a leaf: SHA-256 over a zero byte and the record.
#[must_use]
pub fn leaf_hash(record: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(&[0]);
    hasher.update(record);
    hasher.finish()
}

/// The hash of an inner node: SHA-256 over a one byte and the hashes of its two children.
#[must_use]
pub fn node_hash(left: &Sha256, right: &Sha256) -> Sha256 {
    let mut node = [1; 65];
    node[1..33].copy_from_slice(left.as_bytes());
    node[33..].copy_from_slice(right.as_bytes());
    Sha256::of(&node)
}

/// The root of a tree without leaves: the hash of nothing.
#[must_use]
pub fn empty_root() -> Sha256 {
    Sha256::of(b"")
}

/// The root of the perfect tree over `hashes`, of which there are a power of two.
pub(crate) fn perfect_root(hashes: &[Sha256]) -> Option<Sha256> {
    debug_assert!(hashes.len().is_power_of_two(), "a perfect tree has a power of two leaves");
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level.as_chunks().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    level.first().copied()
}

/// Checks that the leaf with the hash `leaf` is at `index` of the tree of `size` leaves and that root.
///
/// # Errors
/// If the proof does not show it.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Sha256,
    proof: &[Sha256],
    root: &Sha256,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Index { index, size });
    }
    // At each level: our node, and the last one. The last one has no sibling where its number is even.
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    let mut proof = proof.iter();
    while last > 0 {
        if node & 1 == 1 {
            hash = node_hash(proof.next().ok_or(ProofError::Length)?, &hash);
        } else if node < last {
            hash = node_hash(&hash, proof.next().ok_or(ProofError::Length)?);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match proof.next() {
        Some(_) => Err(ProofError::Length),
        None if hash == *root => Ok(()),
        None => Err(ProofError::Root),
    }
}

/// A size and the root that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Leaves of the tree.
    pub size: u64,
    /// Its root hash.
    pub root: Sha256,
}

impl Head {
    /// That of a tree without leaves.
    #[must_use]
    pub fn empty() -> Self {
        Self { size: 0, root: empty_root() }
    }
}

/// Checks that the tree `new` begins with the leaves of the tree `old`. Every tree extends the empty one.
///
/// # Errors
/// If the proof does not show it, or a size and a root do not belong together where that can be seen without a proof.
pub fn verify_consistency(old: Head, new: Head, proof: &[Sha256]) -> Result<(), ProofError> {
    if old.size > new.size {
        return Err(ProofError::Shrunk { old: old.size, new: new.size });
    }
    if old.size == 0 && old.root != empty_root() {
        return Err(ProofError::OldRoot);
    }
    if old.size == 0 || old.size == new.size {
        return match () {
            () if !proof.is_empty() => Err(ProofError::Length),
            () if old.size == new.size && old.root != new.root => Err(ProofError::Root),
            () => Ok(()),
        };
    }
    // Up from the last leaf of the old tree, as long as it is a right child: that far the old tree is perfect, and a node
    // of the new one.
    let (mut node, mut last) = (old.size - 1, new.size - 1);
    let perfect = node.trailing_ones();
    (node, last) = (node >> perfect, last >> perfect);

    let mut proof = proof.iter();
    // If that is all of the old tree, its root is not repeated in the proof.
    let start = if node == 0 { old.root } else { *proof.next().ok_or(ProofError::Length)? };
    let (mut old_hash, mut new_hash) = (start, start);
    while last > 0 {
        if node & 1 == 1 {
            let left = proof.next().ok_or(ProofError::Length)?;
            (old_hash, new_hash) = (node_hash(left, &old_hash), node_hash(left, &new_hash));
        } else if node < last {
            new_hash = node_hash(&new_hash, proof.next().ok_or(ProofError::Length)?);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match proof.next() {
        Some(_) => Err(ProofError::Length),
        None if old_hash != old.root => Err(ProofError::OldRoot),
        None if new_hash != new.root => Err(ProofError::Root),
        None => Ok(()),
    }
}
