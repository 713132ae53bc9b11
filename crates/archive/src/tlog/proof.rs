//! Files with a proof in them that can be checked without the log.
//!
//! [`Inclusion`] is c2sp.org/tlog-proof: that a record is in a log. The record's bytes are its `extra` data, so that one
//! file is all there is to hand over. [`Consistency`] is what c2sp.org/tlog-witness has its `add-checkpoint` take: that a
//! checkpoint extends a tree that its reader knows.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::merkle::{Head, MAX_PROOF, ProofError, leaf_hash, verify_consistency, verify_inclusion};
use super::note::{self, MAX_NOTE, Note, VerifierKey};
use crate::hash::Sha256;

/// The first line of a file with an inclusion proof.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The most bytes of a file with a proof in it: a record of 256 KiB in base64, 63 hashes, and a note.
pub const MAX_FILE: usize = (512 << 10) + MAX_PROOF * 64 + MAX_NOTE;

/// Why a file proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProof {
    /// Not a file of this form.
    #[error("not a file with a proof: {0}")]
    Malformed(&'static str),
    /// There is no record in it, and none was given.
    #[error("the record is not in the file, and has to be given")]
    NoRecord,
    /// The checkpoint in it is not to be believed.
    #[error("its checkpoint is not to be believed: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not prove it.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// That a record is in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    /// The record, if it comes along.
    pub record: Option<Vec<u8>>,
    /// Which leaf of the tree it is, from 0.
    pub index: u64,
    /// From the leaf's sibling up to the root's child.
    pub hashes: Vec<Sha256>,
    /// The checkpoint of the tree.
    pub checkpoint: Note,
}

impl Inclusion {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is not one of these.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidProof> {
        let (mut lines, checkpoint) = parts(bytes)?;
        if lines.next() != Some(HEADER) {
            return Err(InvalidProof::Malformed("the first line is not c2sp.org/tlog-proof@v1"));
        }
        let mut line = lines.next().unwrap_or_default();
        let record = match line.strip_prefix("extra ") {
            Some(extra) => {
                line = lines.next().unwrap_or_default();
                let record = STANDARD.decode(extra);
                Some(record.map_err(|_| InvalidProof::Malformed("its extra data is not base64"))?)
            }
            None => None,
        };
        let index = line.strip_prefix("index ").and_then(note::parse_number);
        let index = index.ok_or(InvalidProof::Malformed("there is no index"))?;
        Ok(Self { record, index, hashes: hashes(lines)?, checkpoint })
    }

    /// Checks that `record`, or else the one in the file, is in the log whose key is among `keys`; returns the record and
    /// the checkpoint that says so.
    ///
    /// # Errors
    /// If that is not proved.
    pub fn verify<'a>(
        &'a self,
        record: Option<&'a [u8]>,
        keys: &[VerifierKey],
    ) -> Result<(&'a [u8], Checkpoint), InvalidProof> {
        let record = record.or(self.record.as_deref()).ok_or(InvalidProof::NoRecord)?;
        let checkpoint = Checkpoint::open(&self.checkpoint, keys)?;
        let Head { size, root } = checkpoint.head;
        verify_inclusion(self.index, size, &leaf_hash(record), &self.hashes, &root)?;
        Ok((record, checkpoint))
    }
}

impl fmt::Display for Inclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(record) = &self.record {
            writeln!(f, "extra {}", STANDARD.encode(record))?;
        }
        writeln!(f, "index {}", self.index)?;
        write(f, &self.hashes, &self.checkpoint)
    }
}

/// That a checkpoint extends an older tree of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// How many leaves the older tree had.
    pub old: u64,
    /// The proof, as RFC 6962 has it.
    pub hashes: Vec<Sha256>,
    /// The newer checkpoint.
    pub checkpoint: Note,
}

impl Consistency {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is not one of these.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidProof> {
        let (mut lines, checkpoint) = parts(bytes)?;
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(note::parse_number);
        let old = old.ok_or(InvalidProof::Malformed("the first line is not the old size"))?;
        Ok(Self { old, hashes: hashes(lines)?, checkpoint })
    }

    /// Checks that the checkpoint, signed by one of `keys`, extends `old`; returns the checkpoint.
    ///
    /// # Errors
    /// If that is not proved.
    pub fn verify(&self, old: Head, keys: &[VerifierKey]) -> Result<Checkpoint, InvalidProof> {
        let checkpoint = Checkpoint::open(&self.checkpoint, keys)?;
        if old.size != self.old {
            return Err(InvalidProof::Malformed("it is a proof for another old size"));
        }
        verify_consistency(old, checkpoint.head, &self.hashes)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        write(f, &self.hashes, &self.checkpoint)
    }
}

/// The lines before the first empty one, and the note after it.
fn parts(bytes: &[u8]) -> Result<(std::str::Split<'_, char>, Note), InvalidProof> {
    if bytes.len() > MAX_FILE {
        return Err(InvalidProof::Malformed("it is too large"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| InvalidProof::Malformed("not UTF-8"))?;
    let (lines, note) = text.split_once("\n\n").ok_or(InvalidProof::Malformed("there is no checkpoint"))?;
    let note = Note::parse(note.as_bytes()).map_err(|error| InvalidProof::Checkpoint(error.into()))?;
    Ok((lines.split('\n'), note))
}

fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Sha256>, InvalidProof> {
    let hashes: Option<Vec<Sha256>> = lines.take(MAX_PROOF + 1).map(note::parse_hash).collect();
    let hashes = hashes.ok_or(InvalidProof::Malformed("a line is not the base64 of a hash"))?;
    if hashes.len() > MAX_PROOF {
        return Err(InvalidProof::Malformed("it has too many hashes"));
    }
    Ok(hashes)
}

fn write(f: &mut fmt::Formatter<'_>, hashes: &[Sha256], checkpoint: &Note) -> fmt::Result {
    hashes.iter().try_for_each(|hash| writeln!(f, "{}", note::hash_line(hash)))?;
    write!(f, "\n{checkpoint}")
}
