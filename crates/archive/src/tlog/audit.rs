//! Whether a log is what digests state: its tiles, its checkpoints, the records themselves, and what a witness saw.
//!
//! The digests are the caller's to believe; here they are given in order. Tiles and checkpoints of the newest one may not
//! be there yet: they are written after it.

use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::checkpoint::Checkpoint;
use super::locate::Locator;
use super::merkle::{Head, perfect_root};
use super::note::VerifierKey;
use super::prove::Prover;
use super::range::Range;
use super::stored::Stored;
use super::tile::{HEIGHT, Tile, Tiles as _, WIDTH};
use crate::causes::chain;
use crate::digest::Tree;
use crate::key::{DigestKey, LogKey, TreeObject, TreePlace};
use crate::log::{MAX_CONTENT, read_records};
use crate::source::Bucket;

/// What a digest states of a log.
#[derive(Debug, Clone)]
pub struct Stated {
    /// The digest.
    pub digest: DigestKey,
    /// What it says.
    pub tree: Tree,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The object, or what its key begins with.
    pub object: String,
    /// What is wrong.
    pub wrong: Wrong,
    /// The same for a reader, with what was expected.
    pub detail: String,
}

/// What can be wrong with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
    /// The object is not there.
    Missing,
    /// The object, or what it is made from, is not what a digest states.
    Modified,
    /// A digest does not go on from the one before it.
    Contradicts,
    /// The log has fewer leaves than a witness saw.
    RolledBack {
        /// The leaves that were seen.
        seen: u64,
        /// The leaves that there are.
        size: u64,
    },
    /// The log does not begin with what a witness saw.
    Rewritten {
        /// The leaves that were seen.
        seen: u64,
    },
    /// The store failed: this says nothing about the object.
    CouldNotCheck,
}

/// Checks one log.
pub struct Audit<'a> {
    bucket: &'a dyn Bucket,
    stored: Stored<'a>,
    /// By end.
    states: &'a [Stated],
    threads: NonZeroUsize,
}

impl<'a> Audit<'a> {
    /// Of the log at `place`, of which digests state `states`, in their order. So many objects are read at the same time.
    #[must_use]
    pub fn new(
        bucket: &'a dyn Bucket,
        place: TreePlace,
        states: &'a [Stated],
        threads: NonZeroUsize,
    ) -> Self {
        Self { bucket, stored: Stored::new(bucket, place), states, threads }
    }

    /// Whether each digest goes on from the one before it, and tiles and checkpoints are what digests state.
    #[must_use]
    pub fn tiles(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for pair in self.states.windows(2) {
            let [before, next] = pair else { continue };
            let first = next.tree.first_leaf();
            if first != Some(before.tree.size) || next.tree.origin != before.tree.origin {
                let (first, size) = (first.unwrap_or_default(), before.tree.size);
                let detail =
                    format!("its tree goes on from {first} leaves, that of {} has {size}", before.digest);
                faults.push(fault(&next.digest, Wrong::Contradicts, detail));
            }
        }
        let found = Mutex::new(Vec::new());
        self.each(self.states.len(), &|index| {
            let mut faults = self.state(index);
            found.lock().unwrap_or_else(PoisonError::into_inner).append(&mut faults);
        });
        faults.extend(found.into_inner().unwrap_or_else(PoisonError::into_inner));
        faults.extend(self.full_tiles());
        faults.extend(self.latest());
        // A tile may be a part of many trees.
        faults.sort_by(|one, other| (&one.object, &one.detail).cmp(&(&other.object, &other.detail)));
        faults.dedup();
        faults
    }

    /// Whether the hash of each full tile is in the tile above it, from the first leaf of the range on. With the roots, which
    /// the uppermost ones lead to, that makes every tile the one that digests state.
    fn full_tiles(&self) -> Vec<Fault> {
        let [first, .., newest] = self.states else { return self.full_tiles_of(self.states.first(), 0) };
        self.full_tiles_of(Some(newest), first.tree.first_leaf().unwrap_or_default())
    }

    fn full_tiles_of(&self, newest: Option<&Stated>, first: u64) -> Vec<Fault> {
        let Some(newest) = newest else { return Vec::new() };
        // What the newest digest alone has may be on its way.
        let settled = self.states.iter().rev().nth(1).map_or(0, |state| state.tree.size);
        let found = Mutex::new(Vec::new());
        for level in 1..Tile::LEVELS {
            let hashes = |size: u64| size >> (u32::from(level) * HEIGHT);
            let (low, high) = (hashes(first), hashes(newest.tree.size));
            let parents: Vec<u64> = (low / WIDTH as u64..high.div_ceil(WIDTH as u64)).collect();
            self.each(parents.len(), &|index| {
                let Some(parent) = Tile::of(newest.tree.size, level, parents[index]) else { return };
                let faults = self.children(parent, low, hashes(settled));
                found.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
            });
        }
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tiles below one, from the one at `low` on. Those before `settled` have to be there.
    fn children(&self, parent: Tile, low: u64, settled: u64) -> Vec<Fault> {
        let place = self.stored.place();
        let start = parent.index() * WIDTH as u64;
        let pending = |at: u64, error: &io::Error| error.kind() == io::ErrorKind::NotFound && at >= settled;
        let read = |tile: Tile| {
            self.stored.tile(tile).map_err(|error| {
                (fault(&place.key(TreeObject::Tile(tile)), unreadable(&error), chain(&error)), error)
            })
        };
        let hashes = match read(parent) {
            Ok(hashes) => hashes,
            // Of a partial one the settled part is in a narrower one, which the root of its digest was made with.
            Err((_, error)) if pending(start, &error) || !parent.is_full() => return Vec::new(),
            Err((fault, _)) => return vec![fault],
        };
        let mut faults = Vec::new();
        for (at, expected) in (start..).zip(&hashes).filter(|(at, _)| *at >= low) {
            let child = Tile::full(parent.level() - 1, at);
            match read(child) {
                Ok(hashes) if perfect_root(&hashes) == Some(*expected) => {}
                Ok(_) => {
                    let detail = format!("its hash is not the one in {parent}");
                    faults.push(fault(&place.key(TreeObject::Tile(child)), Wrong::Modified, detail));
                }
                Err((_, error)) if pending(at, &error) => {}
                Err((fault, _)) => faults.push(fault),
            }
        }
        faults
    }

    /// Tiles and checkpoint of one digest.
    fn state(&self, index: usize) -> Vec<Fault> {
        let Some(Stated { digest, tree }) = self.states.get(index) else { return Vec::new() };
        let newest = index + 1 == self.states.len();
        let place = self.stored.place();
        let mut faults = Vec::new();
        match Prover::new(&self.stored, tree.size).root(tree.size) {
            Ok(root) if root == tree.root_hash => {}
            Ok(root) => {
                let detail =
                    format!("tiles lead to the root hash {root}, {digest} states {}", tree.root_hash);
                faults.push(fault(&format!("{place}tile/"), Wrong::Modified, detail));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && newest => {}
            Err(error) => {
                let wrong = unreadable(&error);
                faults.push(fault(
                    &format!("{place}tile/"),
                    wrong,
                    format!("{}, for {digest}", chain(&error)),
                ));
            }
        }
        let object = TreeObject::Checkpoint(digest.end);
        match self.checkpoint(object, std::slice::from_ref(&tree.key)) {
            Ok(head) if head == tree.head() => {}
            Ok(_) => {
                let detail = format!("it is not of the tree that {digest} states");
                faults.push(fault(&place.key(object), Wrong::Modified, detail));
            }
            // A writer may have ended before it signed one; the digest says the same.
            Err(Fault { wrong: Wrong::Missing, .. }) => {}
            Err(fault) => faults.push(fault),
        }
        faults
    }

    /// The newest checkpoint has at least what the newest digest states of which there is a checkpoint: a writer that ended
    /// before it signed one did not come to this one either. Those of the newest digest may be on their way.
    fn latest(&self) -> Option<Fault> {
        let [before @ .., _] = self.states else { return None };
        let has_checkpoint = |state: &&Stated| {
            let object = TreeObject::Checkpoint(state.digest.end);
            self.checkpoint(object, std::slice::from_ref(&state.tree.key)).is_ok()
        };
        let before = before.iter().rev().find(has_checkpoint)?;
        // Digests may name several keys: each writer has its own.
        let reaches = |state: &&Stated| state.tree.size >= before.tree.size;
        let reached: Vec<&Stated> = self.states.iter().rev().take_while(reaches).collect();
        let mut keys: Vec<VerifierKey> = Vec::new();
        for Stated { tree, .. } in &reached {
            if !keys.contains(&tree.key) {
                keys.push(tree.key.clone());
            }
        }
        let object = TreeObject::Latest;
        let key = self.stored.place().key(object);
        let head = match self.checkpoint(object, &keys) {
            Ok(head) => head,
            Err(fault) => return Some(fault),
        };
        if head.size < before.tree.size {
            let detail =
                format!("it has {} leaves, {} states {}", head.size, before.digest, before.tree.size);
            return Some(fault(&key, Wrong::RolledBack { seen: before.tree.size, size: head.size }, detail));
        }
        let known = reached.iter().find(|state| state.tree.size == head.size);
        known.filter(|state| state.tree.root_hash != head.root).map(|state| {
            let detail = format!("it is not of the tree that {} states", state.digest);
            fault(&key, Wrong::Modified, detail)
        })
    }

    fn checkpoint(&self, object: TreeObject, keys: &[VerifierKey]) -> Result<Head, Fault> {
        let key = self.stored.place().key(object);
        let note = self.stored.checkpoint(object);
        let note = note.map_err(|error| fault(&key, unreadable(&error), chain(&error)))?;
        let opened = Checkpoint::open(&note, keys);
        opened.map(|checkpoint| checkpoint.head).map_err(|error| fault(&key, Wrong::Modified, chain(&error)))
    }

    /// Whether the records of all log files that the digests list are the leaves of the tree: each is read and hashed again.
    #[must_use]
    pub fn records(&self) -> Vec<Fault> {
        let Some(first) = self.states.first().and_then(|state| state.tree.first_leaf()) else {
            return Vec::new();
        };
        let mut faults = Vec::new();
        let before = match Prover::new(&self.stored, first).range(first) {
            Ok(before) => before,
            Err(error) => {
                let detail = format!("{}: what was before the range is needed", chain(&error));
                return vec![fault(&format!("{}tile/", self.stored.place()), unreadable(&error), detail)];
            }
        };
        let (mut whole, mut locator) = (before, Locator::new(self.bucket));
        for Stated { digest: key, tree } in self.states {
            let digest = match locator.digest(key) {
                Ok(digest) => digest,
                Err(error) => {
                    faults.push(fault(key, unreadable(&error), chain(&error)));
                    return faults;
                }
            };
            let mut first = whole.end();
            let files: Vec<(LogKey, u64, u64)> = digest
                .log_files
                .iter()
                .zip(&tree.leaves)
                .map(|(file, leaves)| {
                    first = first.saturating_add(*leaves);
                    (file.object.clone(), first - leaves, *leaves)
                })
                .collect();
            let hashed: Mutex<Vec<Option<Result<Range, Fault>>>> = Mutex::new(vec![None; files.len()]);
            self.each(files.len(), &|index| {
                let (file, first, leaves) = &files[index];
                let range = self.file(file, *first, *leaves);
                hashed.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(range);
            });
            for range in hashed.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten() {
                let joined = range.and_then(|range| {
                    whole.join(&range).map_err(|error| fault(key, Wrong::Contradicts, chain(&error)))
                });
                if let Err(fault) = joined {
                    // What comes after has no place then.
                    faults.push(fault);
                    return faults;
                }
            }
            if whole.head() != Some(tree.head()) {
                let detail =
                    "the records of its log files lead to another root hash than it states".to_owned();
                faults.push(fault(key, Wrong::Contradicts, detail));
                return faults;
            }
        }
        faults
    }

    fn file(&self, file: &LogKey, first: u64, leaves: u64) -> Result<Range, Fault> {
        let mut range = Range::new(first);
        if leaves == 0 {
            return Ok(range);
        }
        let object = self.bucket.open(&file.to_string());
        let object = object.map_err(|error| fault(file, unreadable(&error), chain(&error)))?;
        let read = read_records(object, MAX_CONTENT, |record| {
            range.push(record.as_bytes());
            if range.size() > leaves { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let read = read.map_err(|error| fault(file, Wrong::Modified, chain(&error)))?;
        if read.is_break() || range.size() != leaves {
            let detail =
                format!("it does not have the {leaves} records that it had when its digest was made");
            return Err(fault(file, Wrong::Modified, detail));
        }
        Ok(range)
    }

    /// Whether the log extends `seen`, which a witness saw.
    #[must_use]
    pub fn witnessed(&self, seen: Head) -> Option<Fault> {
        let newest = self.states.last()?;
        let key = self.stored.place().key(TreeObject::Latest);
        // The newest checkpoint, or else what the newest digest states.
        let keys = std::slice::from_ref(&newest.tree.key);
        let head = self.checkpoint(TreeObject::Latest, keys).unwrap_or_else(|_| newest.tree.head());
        let head = if head.size < newest.tree.size { newest.tree.head() } else { head };
        if head.size < seen.size {
            let detail = format!("the log has {} leaves, and a witness saw {}", head.size, seen.size);
            return Some(fault(&key, Wrong::RolledBack { seen: seen.size, size: head.size }, detail));
        }
        // Tiles lead to what the log states, and from there to what it was.
        let prover = Prover::new(&self.stored, head.size);
        let roots = prover.root(head.size).and_then(|root| Ok((root, prover.root(seen.size)?)));
        match roots {
            Ok((root, old)) if root == head.root && old == seen.root => None,
            Ok((root, _)) if root != head.root => {
                let detail = format!("tiles lead to another root hash than that of {} leaves", head.size);
                Some(fault(&format!("{}tile/", self.stored.place()), Wrong::Modified, detail))
            }
            Ok(_) => {
                let detail =
                    format!("the log does not begin with the {} leaves that a witness saw", seen.size);
                Some(fault(&key, Wrong::Rewritten { seen: seen.size }, detail))
            }
            Err(error) => Some(fault(&key, Wrong::CouldNotCheck, chain(&error))),
        }
    }

    /// Does `work` for each index, several at a time.
    fn each(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..self.threads.get().min(count) {
                scope.spawn(|| {
                    loop {
                        match next.fetch_add(1, Ordering::Relaxed) {
                            index if index < count => work(index),
                            _ => return,
                        }
                    }
                });
            }
        });
    }
}

impl std::fmt::Debug for Audit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").field("stored", &self.stored).finish_non_exhaustive()
    }
}

fn fault(object: &dyn std::fmt::Display, wrong: Wrong, detail: String) -> Fault {
    Fault { object: object.to_string(), wrong, detail }
}

fn unreadable(error: &io::Error) -> Wrong {
    match error.kind() {
        io::ErrorKind::NotFound => Wrong::Missing,
        io::ErrorKind::InvalidData => Wrong::Modified,
        _ => Wrong::CouldNotCheck,
    }
}
