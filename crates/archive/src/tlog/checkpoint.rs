//! Checkpoints (c2sp.org/tlog-checkpoint): what a log says of its tree, in three lines.
//!
//! ```text
//! audit/AWSLogs/111122223333/Sidetrail-Log/us-east-1/default
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```
//!
//! A log's key has the log's origin as its name, and a key of another name does not speak for it.

use std::fmt;
use std::str::FromStr;

use super::merkle::{Head, MAX_SIZE};
use super::note::{self, Algorithm, Name, Note, NoteError, VerifierKey};
use crate::sign::{SignError, Signer};

/// The text is not that of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a checkpoint: {0}")]
pub struct InvalidCheckpoint(&'static str);

/// Why a checkpoint is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text.
    #[error(transparent)]
    Text(#[from] InvalidCheckpoint),
    /// Whoever signed it, none of the given keys is its log's.
    #[error("none of the given keys is that of the log {0}")]
    KeyUnknown(String),
}

/// Size and root of a log's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log it is.
    pub origin: String,
    /// Its tree.
    pub head: Head,
    /// Lines that say more; we write none and read them as they are.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// The checkpoint of a log's tree.
    #[must_use]
    pub fn new(origin: &Name, head: Head) -> Self {
        Self { origin: origin.to_string(), head, extensions: Vec::new() }
    }

    /// Signs it with the log's key. The same key makes the same bytes of it.
    ///
    /// # Errors
    /// If the signer fails.
    pub fn sign(origin: &Name, head: Head, signer: &dyn Signer) -> Result<Note, SignError> {
        let text = Self::new(origin, head).to_string();
        let signature = note::sign(&text, origin, signer)?;
        Ok(Note { text, signatures: vec![signature] })
    }

    /// The checkpoint in a note, if a key of its log that is among `keys` signed it.
    ///
    /// # Errors
    /// If it is not to be believed.
    pub fn open(note: &Note, keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        let checkpoint: Self = note.text.parse()?;
        let own = |key: &&VerifierKey| {
            key.algorithm() == Algorithm::Ed25519 && key.name().as_str() == checkpoint.origin
        };
        let keys: Vec<VerifierKey> = keys.iter().filter(own).cloned().collect();
        if keys.is_empty() {
            return Err(CheckpointError::KeyUnknown(checkpoint.origin));
        }
        note.verify(&keys)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.head.size, note::hash_line(&self.head.root))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = InvalidCheckpoint;

    fn from_str(text: &str) -> Result<Self, InvalidCheckpoint> {
        let lines = text.strip_suffix('\n').ok_or(InvalidCheckpoint("no line feed at its end"))?;
        let mut lines = lines.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or(InvalidCheckpoint("no origin"))?;
        let size = lines.next().and_then(note::parse_number).filter(|size| *size <= MAX_SIZE);
        let size = size.ok_or(InvalidCheckpoint("the second line is not a size"))?;
        let root = lines.next().and_then(note::parse_hash);
        let root = root.ok_or(InvalidCheckpoint("the third line is not a root hash"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(InvalidCheckpoint("an empty line"));
        }
        Ok(Self { origin: origin.to_owned(), head: Head { size, root }, extensions })
    }
}
