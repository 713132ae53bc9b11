//! A witness: it remembers the last checkpoint of each log that it saw, and cosigns the next one only if that extends it.
//!
//! So a log that was rolled back to an earlier state, or that shows one history here and another there, is found out by
//! anybody who has the witness's cosignature. The rules are those of c2sp.org/tlog-witness.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, CheckpointError};
use super::cosignature;
use super::merkle::{Head, ProofError, verify_consistency};
use super::note::{Name, Note, NoteError, Signature, VerifierKey};
use super::proof::Consistency;
use crate::hash::Sha256;
use crate::sign::{SignError, Signer};

/// The most logs that a witness remembers.
pub const MAX_LOGS: usize = 4096;

/// Why a witness does not cosign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not a checkpoint, or not one of a log that the witness knows.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log had more leaves when it was last seen.
    #[error("{origin} was rolled back: it had {seen} leaves and has {size}")]
    RolledBack {
        /// The log.
        origin: String,
        /// The leaves that it had.
        seen: u64,
        /// The leaves that it says it has.
        size: u64,
    },
    /// It does not begin with what was seen: there are two histories.
    #[error("{origin} was rewritten: its {size} leaves do not extend the {seen} that were seen: {cause}")]
    Forked {
        /// The log.
        origin: String,
        /// The leaves that were seen.
        seen: u64,
        /// The leaves that it says it has.
        size: u64,
        /// What the proof comes to.
        cause: ProofError,
    },
    /// The proof is for another size than the one last seen.
    #[error("the proof is from {old} leaves on, and {seen} were seen")]
    Conflict {
        /// Where the proof begins.
        old: u64,
        /// The leaves that were seen.
        seen: u64,
    },
    /// The witness has as many logs as it can remember.
    #[error("the witness remembers at most {MAX_LOGS} logs")]
    Full,
    /// The witness's key failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// The last checkpoint of each log that a witness saw, with its cosignature. It is kept as JSON,
/// `{"version":1,"checkpoints":{"<origin>":"<note>"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    seen: BTreeMap<String, (Note, Head)>,
}

/// What was kept makes no sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMemory {
    /// Not JSON of this form.
    #[error("not what a witness keeps")]
    Json(#[from] serde_json::Error),
    /// Of a later version.
    #[error("kept by a later version: {0}")]
    Version(u32),
    /// A checkpoint in it is none.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A checkpoint in it is none, or under another log's name.
    #[error("the checkpoint kept for {0} is not one of it")]
    Checkpoint(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    checkpoints: BTreeMap<String, String>,
}

impl Memory {
    /// Reads what was kept.
    ///
    /// # Errors
    /// If that makes no sense.
    pub fn from_json(bytes: &[u8]) -> Result<Self, InvalidMemory> {
        let Kept { version, checkpoints } = serde_json::from_slice(bytes)?;
        if version != 1 {
            return Err(InvalidMemory::Version(version));
        }
        let mut memory = Self::default();
        for (origin, text) in checkpoints {
            match memory.keep(Note::parse(text.as_bytes())?) {
                Ok(()) if memory.seen.contains_key(&origin) => {}
                _ => return Err(InvalidMemory::Checkpoint(origin)),
            }
        }
        Ok(memory)
    }

    /// What has to be kept.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let checkpoints =
            self.seen.iter().map(|(origin, (note, _))| (origin.clone(), note.to_string())).collect();
        serde_json::to_string_pretty(&Kept { version: 1, checkpoints })
    }

    /// The last checkpoint of a log that was seen, with its cosignature.
    #[must_use]
    pub fn last(&self, origin: &str) -> Option<(&Note, Head)> {
        self.seen.get(origin).map(|(note, head)| (note, *head))
    }

    /// All of them, by origin.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Note, Head)> {
        self.seen.iter().map(|(origin, (note, head))| (&**origin, note, *head))
    }

    /// Remembers a checkpoint as it is, whoever signed it.
    ///
    /// # Errors
    /// If it is none.
    pub fn keep(&mut self, note: Note) -> Result<(), CheckpointError> {
        let Checkpoint { origin, head, .. } = note.text.parse()?;
        self.seen.insert(origin, (note, head));
        Ok(())
    }

    /// Looks at the next checkpoint of a log and cosigns it; `keys` are those of the logs that the witness knows, `time` is
    /// now, in seconds since 1970. The memory has the checkpoint then, and has to be kept before the cosignature is given to
    /// anybody.
    ///
    /// # Errors
    /// If the checkpoint does not extend what was seen, in which case nothing is changed.
    pub fn cosign(
        &mut self,
        request: &Consistency,
        keys: &[VerifierKey],
        name: &Name,
        signer: &dyn Signer,
        time: u64,
    ) -> Result<Signature, Refusal> {
        let Checkpoint { origin, head, .. } = Checkpoint::open(&request.checkpoint, keys)?;
        let known = self.last(&origin).map(|(_, head)| head);
        if known.is_none() && self.seen.len() >= MAX_LOGS {
            return Err(Refusal::Full);
        }
        let seen = known.unwrap_or_else(Head::empty);
        check(&origin, seen, request.old, head, &request.hashes)?;

        let text = &request.checkpoint.text;
        let cosignature = cosignature::cosign(text, name, signer, time)?;
        let mut note = Note { text: text.clone(), signatures: Vec::new() };
        // The log's own, and what others said of the same text; an older one of ours goes.
        let others = request.checkpoint.signatures.iter();
        note.signatures
            .extend(others.filter(|it| (&it.name, it.id) != (&cosignature.name, cosignature.id)).cloned());
        note.signatures.push(cosignature.clone());
        self.seen.insert(origin, (note, head));
        Ok(cosignature)
    }
}

/// Whether the tree `new` extends the tree `seen`, by a proof that begins at `old` leaves.
fn check(origin: &str, seen: Head, old: u64, new: Head, hashes: &[Sha256]) -> Result<(), Refusal> {
    if new.size < seen.size {
        return Err(Refusal::RolledBack { origin: origin.to_owned(), seen: seen.size, size: new.size });
    }
    if old != seen.size {
        return Err(Refusal::Conflict { old, seen: seen.size });
    }
    verify_consistency(seen, new, hashes).map_err(|cause| Refusal::Forked {
        origin: origin.to_owned(),
        seen: seen.size,
        size: new.size,
        cause,
    })
}
