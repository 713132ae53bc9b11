//! What one digest adds to a tree: the records of its log files, file by file, before anything is stored.
//!
//! A log file is taken whole or not at all, since only its end shows whether it is what it should be.

use super::merkle::{Head, leaf_hash};
use super::tile::{Tile, encode};
use super::tree::Tree;
use crate::hash::Sha256;

/// The most full tiles that are kept until the digest is stored: 8 MiB, for 262,144 records. Beyond it they are made from
/// the log files once more.
const MAX_KEPT: usize = 1024;

/// A tree that grows by log files.
#[derive(Debug, Clone)]
pub struct Growth {
    before: Head,
    tree: Tree,
    /// Full tiles since `before`, unless there were too many.
    kept: Option<Vec<(Tile, Vec<Sha256>)>>,
    leaves: Vec<u64>,
    file: Option<File>,
}

/// What there was before the file that is being read.
#[derive(Debug, Clone)]
struct File {
    tree: Tree,
    kept: Option<usize>,
}

impl Growth {
    /// Nothing added yet to `tree`.
    #[must_use]
    pub fn new(tree: Tree) -> Self {
        Self { before: tree.head(), tree, kept: Some(Vec::new()), leaves: Vec::new(), file: None }
    }

    /// The next log file begins. One that was not ended has no leaves.
    pub fn begin(&mut self) {
        self.end(false);
        self.file = Some(File { tree: self.tree.clone(), kept: self.kept.as_ref().map(Vec::len) });
    }

    /// The next record of the log file that has begun.
    pub fn push(&mut self, record: &[u8]) {
        let (tree, kept) = (&mut self.tree, &mut self.kept);
        tree.push_hash(leaf_hash(record), &mut |tile, hashes| match kept {
            Some(tiles) if tiles.len() < MAX_KEPT => tiles.push((tile, hashes.to_vec())),
            _ => *kept = None,
        });
    }

    /// The log file ends: `whole` if it is what it should be, else none of its records are leaves.
    pub fn end(&mut self, whole: bool) {
        let Some(File { tree, kept }) = self.file.take() else { return };
        if whole {
            self.leaves.push(self.tree.size() - tree.size());
            return;
        }
        self.leaves.push(0);
        self.tree = tree;
        match (&mut self.kept, kept) {
            (Some(tiles), Some(count)) => tiles.truncate(count),
            _ => self.kept = None,
        }
    }

    /// Size and root of the tree before.
    #[must_use]
    pub fn before(&self) -> Head {
        self.before
    }

    /// Size and root of the tree now.
    #[must_use]
    pub fn head(&self) -> Head {
        self.tree.head()
    }

    /// How many leaves each log file has, in order.
    #[must_use]
    pub fn leaves(&self) -> &[u64] {
        &self.leaves
    }

    /// What has to be stored for the tree to be as it is now: the tiles that became full, then the partial ones. None if they
    /// were too many to be kept.
    #[must_use]
    pub fn tiles(&self) -> Option<impl Iterator<Item = (Tile, Vec<u8>)>> {
        let full = self.kept.as_ref()?.iter().map(|(tile, hashes)| (*tile, encode(hashes)));
        Some(full.chain(self.tree.partial().map(|(tile, hashes)| (tile, encode(hashes)))))
    }

    /// The tree, to go on from.
    #[must_use]
    pub fn into_tree(self) -> Tree {
        self.tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_whole_leaves_no_trace() {
        let push = |growth: &mut Growth, range: std::ops::Range<u32>| {
            range.for_each(|record| growth.push(record.to_string().as_bytes()));
        };
        let (mut growth, mut other) = (Growth::new(Tree::new()), Growth::new(Tree::new()));
        for growth in [&mut growth, &mut other] {
            growth.begin();
            push(growth, 0..300);
            growth.end(true);
        }
        growth.begin();
        push(&mut growth, 1000..1700);
        growth.end(false);
        for growth in [&mut growth, &mut other] {
            growth.begin();
            push(growth, 300..600);
            growth.end(true);
        }
        assert_eq!((growth.leaves(), other.leaves()), (&[300, 0, 300][..], &[300, 300][..]));
        assert_eq!(growth.head(), other.head());
        let tiles = |growth: &Growth| growth.tiles().unwrap().collect::<Vec<_>>();
        assert_eq!(tiles(&growth), tiles(&other));
        let names: Vec<String> = tiles(&growth).iter().map(|(tile, _)| tile.to_string()).collect();
        assert_eq!(names, ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"]);
        assert_eq!(growth.before(), Head::empty());
    }

    #[test]
    fn too_many_tiles_are_not_kept() {
        let mut growth = Growth::new(Tree::new());
        growth.begin();
        for _ in 0..MAX_KEPT * 256 {
            growth.tree.push_hash(leaf_hash(b""), &mut |_, _| {});
        }
        growth.end(true);
        assert!(growth.tiles().is_some());
        growth.begin();
        growth.kept = Some(vec![("tile/0/000".parse().unwrap(), Vec::new()); MAX_KEPT]);
        (0..256).for_each(|_| growth.push(b""));
        growth.end(true);
        assert!(growth.tiles().is_none());
        growth.begin();
        growth.end(false);
        assert!(growth.tiles().is_none());
    }
}
