//! What can go wrong, and what the caller does next.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::Position;

/// The result of nearly everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller does about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing changed: the same call can succeed later, when there is space or the device answers again.
    Wait,
    /// Nothing changed: the same call never succeeds.
    Reject,
    /// The spool takes nothing any more: close it and open it again.
    Stop,
}

/// A failure of the spool. It can be cloned, for one failed sync answers many appends.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The byte budget is used up. Space comes back when a segment is released.
    #[error("spool is full: {used} of {budget} bytes used, {needed} more needed")]
    Full {
        /// Bytes of all segment files.
        used: u64,
        /// The limit.
        budget: u64,
        /// What the append would have added.
        needed: u64,
    },
    /// The file system has no room, whatever the budget says. Nobody tells when it has again: try later.
    #[error("no space left on the file system for {path}")]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The intake of the committer is at its bound.
    #[error("the queue of the spool is full")]
    Busy,
    /// The file system refused, and nothing is lost by it.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The ledger does not want this frame.
    #[error("frame refused: {reason}")]
    Refused {
        /// In the ledger's words.
        reason: String,
    },
    /// Beyond a stated limit.
    #[error("{what} of {len} bytes is over the limit of {max} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// A cursor name is not `[a-z0-9-]{1,64}`.
    #[error("cursor name {name:?} is not 1 to 64 of a-z, 0-9 and -")]
    CursorName {
        /// The name.
        name: String,
    },
    /// A cursor never goes back: what it passed may be gone.
    #[error("cursor {name} cannot go back from {from} to {to}")]
    CursorBack {
        /// Which cursor.
        name: String,
        /// Where it is.
        from: Position,
        /// Where it should have gone.
        to: Position,
    },
    /// More cursors than [`crate::MAX_CURSORS`].
    #[error("spool already has {max} cursors")]
    CursorCount {
        /// The limit.
        max: usize,
    },
    /// An option, or its relation to another one, makes no sense.
    #[error("invalid spool option: {0}")]
    Options(String),
    /// Another writer has the directory.
    #[error("spool is in use by another writer, which holds {path}")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file that is needed to go on cannot be trusted.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Written by a later version of this crate.
    #[error("{path} has format version {found}, and this build reads version {supported}")]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// The ledger cannot read its own snapshot.
    #[error("the ledger refuses its snapshot in {path}: {reason}")]
    Snapshot {
        /// The segment that holds it.
        path: PathBuf,
        /// In the ledger's words.
        reason: String,
    },
    /// A sync failed, or a failed write could not be undone. What the device holds is unknown from the last good sync
    /// on, so nothing after it is acknowledged and nothing more is taken.
    #[error("spool stopped: cannot {action} {path}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The spool was shut down.
    #[error("spool is closed")]
    Closed,
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Full { .. } | Self::DiskFull { .. } | Self::Busy | Self::Io { .. } => Kind::Wait,
            Self::Refused { .. }
            | Self::TooLarge { .. }
            | Self::CursorName { .. }
            | Self::CursorBack { .. }
            | Self::CursorCount { .. } => Kind::Reject,
            Self::Options(_)
            | Self::Locked { .. }
            | Self::Damaged { .. }
            | Self::Version { .. }
            | Self::Snapshot { .. }
            | Self::Failed { .. }
            | Self::Closed => Kind::Stop,
        }
    }

    /// Retryable: a full disk is told from every other trouble, for another reader of the log fixes it.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            let (path, source) = (path.to_owned(), Arc::new(error));
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
                _ => Self::Io { action, path, source },
            }
        }
    }

    /// Fatal, even for a full disk: the caller says so because of what it was doing.
    pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Failed { action, path: path.to_owned(), source: Arc::new(error) }
    }
}
