//! Objects as files, on disk when the call returns.
//!
//! `object_store` itself does not sync. A segment of the spool is deleted on the strength of a put, so here the order is:
//! write a staged file, sync it, link it to its name (which fails if the name is taken), remove the staged name, sync every
//! directory from the file up to the root. A crash leaves either no object or the whole one, and perhaps a staged file
//! `name#digits`, which nothing lists.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Put;

/// Stores `bytes` at `key`, which is plain, below `root`.
pub(super) fn put(root: &Path, key: &str, bytes: &[u8]) -> io::Result<Put> {
    let path = root.join(key);
    let parent = path.parent().unwrap_or(root);
    fs::create_dir_all(parent)?;

    let staged = staged(root, key);
    let linked = stage(&staged, bytes).and_then(|()| fs::hard_link(&staged, &path));
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let put = match linked {
        Ok(()) => Put::Created,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Whoever stored it may have crashed before the last sync.
            File::open(&path)?.sync_all()?;
            Put::AlreadyExists
        }
        Err(error) => return Err(error),
    };
    sync_up(root, parent)?;
    Ok(put)
}

/// Stores `bytes` at `key` in place of what there is: a reader sees the one or the other, whole.
pub(super) fn replace(root: &Path, key: &str, bytes: &[u8]) -> io::Result<()> {
    let path = root.join(key);
    let parent = path.parent().unwrap_or(root);
    fs::create_dir_all(parent)?;
    let staged = staged(root, key);
    stage(&staged, bytes).and_then(|()| fs::rename(&staged, &path)).inspect_err(|_| {
        let _ = fs::remove_file(&staged);
    })?;
    sync_up(root, parent)
}

/// A name beside that of `key` that nobody else uses and nothing lists.
fn staged(root: &Path, key: &str) -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    root.join(format!("{key}#{}{number:010}", std::process::id()))
}

fn sync_up(root: &Path, parent: &Path) -> io::Result<()> {
    parent.ancestors().take_while(|directory| directory.starts_with(root)).try_for_each(sync_directory)
}

fn stage(staged: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(staged)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes `path` and what is missing above it, durably.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    fs::create_dir_all(path).map_err(named)?;
    // Those that existed are synced once more than needed.
    path.canonicalize()?.ancestors().try_for_each(|directory| match sync_directory(directory) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    })
}

fn sync_directory(path: &Path) -> io::Result<()> {
    // Other systems do not open directories as files, and order their metadata themselves.
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
