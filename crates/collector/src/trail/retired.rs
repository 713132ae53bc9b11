//! What is kept of trails that are gone from the configuration: should one come back, its chain goes on.
//!
//! Not as cursors, which would hold back the spool. One small file for each: the SHA-256 of the state, and the state.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use prost::Message;
use sidetrail_archive::hash::Sha256;
use sidetrail_spool::{OsFs, durable};
use sidetrail_wire::spool::v1::TrailState;

/// Trails that are kept. Beyond it the one whose last batch is the oldest goes; should that come back, its chain begins
/// anew, which a bucket that has its old one shows as a fork.
const MAX_RETIRED: usize = 64;
/// The directory, below that of the spool.
const DIRECTORY: &str = "retired";
const EXTENSION: &str = "trail";
const HASH: usize = 32;

/// The states of trails that are gone, by the names that their cursors had.
#[derive(Clone, Debug)]
pub(crate) struct Retired(PathBuf);

/// What is kept of a trail cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RetiredError {
    #[error("cannot {action} {path}")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Keep(#[from] sidetrail_spool::Error),
    #[error("{0} is damaged; without it the trail begins a second chain of its name")]
    Damaged(PathBuf),
}

impl Retired {
    pub(crate) fn new(spool: &Path) -> Self {
        Self(spool.join(DIRECTORY))
    }

    /// What is kept of a trail.
    pub(super) fn get(&self, cursor: &str) -> Result<Option<TrailState>, RetiredError> {
        read(&self.path(cursor))
    }

    /// Keeps the state of a trail, in place of what is kept of it.
    pub(super) fn put(&self, cursor: &str, state: &TrailState) -> Result<(), RetiredError> {
        fs::create_dir_all(&self.0).map_err(failed("make", &self.0))?;
        let state = state.encode_to_vec();
        let content = [Sha256::of(&state).as_bytes().as_slice(), &state].concat();
        durable::replace(&OsFs, &self.path(cursor), &content)?;
        // The directory itself, at the first time.
        let spool = self.0.parent().unwrap_or(&self.0);
        fs::File::open(spool).and_then(|spool| spool.sync_all()).map_err(failed("sync", spool))?;
        self.forget_beyond(MAX_RETIRED)
    }

    fn forget_beyond(&self, limit: usize) -> Result<(), RetiredError> {
        let listed = fs::read_dir(&self.0).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let paths = listed.map_err(failed("list", &self.0))?.into_iter().map(|entry| entry.path());
        let mut all: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|end| end == EXTENSION)).collect();
        if all.len() <= limit {
            return Ok(());
        }
        // What cannot be read goes first.
        all.sort_by_key(|path| match read(path) {
            Ok(Some(state)) => state.last_created_unix_s,
            _ => i64::MIN,
        });
        for path in &all[..all.len() - limit] {
            tracing::warn!(path = %path.display(), "a trail is gone for so long that its chain is forgotten");
            fs::remove_file(path).map_err(failed("remove", path))?;
        }
        Ok(())
    }

    fn path(&self, cursor: &str) -> PathBuf {
        self.0.join(format!("{cursor}.{EXTENSION}"))
    }
}

fn read(path: &Path) -> Result<Option<TrailState>, RetiredError> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let damaged = || RetiredError::Damaged(path.to_owned());
    let (hash, state) = content.split_first_chunk::<HASH>().ok_or_else(damaged)?;
    if Sha256::of(state) != Sha256::from(*hash) {
        return Err(damaged());
    }
    TrailState::decode(state).map(Some).map_err(|_| damaged())
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RetiredError {
    let path = path.to_owned();
    move |source| RetiredError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(created: i64) -> TrailState {
        TrailState { chain_index: 7, last_created_unix_s: created, ..TrailState::default() }
    }

    #[test]
    fn what_is_kept_is_there_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let retired = Retired::new(directory.path());
        assert!(retired.get("trail-a").unwrap().is_none());
        for created in [3, 1, 2] {
            retired.put(&format!("trail-{created}"), &state(created)).unwrap();
        }
        retired.put("trail-1", &state(9)).unwrap();
        retired.forget_beyond(2).unwrap();
        assert!(retired.get("trail-2").unwrap().is_none(), "the oldest");
        assert_eq!(retired.get("trail-1").unwrap(), Some(state(9)));
        assert_eq!(retired.get("trail-3").unwrap(), Some(state(3)));
    }

    #[test]
    fn damage_is_not_a_chain_to_go_on_with() {
        let directory = tempfile::tempdir().unwrap();
        let retired = Retired::new(directory.path());
        retired.put("trail-a", &state(1)).unwrap();
        let path = retired.path("trail-a");
        let mut content = fs::read(&path).unwrap();
        content[HASH] ^= 4;
        for damaged in [&content[..], &content[..9]] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(retired.get("trail-a"), Err(RetiredError::Damaged(_))));
        }
    }
}
