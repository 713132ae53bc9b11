//! Replacing a small file so that a crash leaves the old content or the new, never a mixture and never nothing.
//!
//! The order is: write a temporary file beside it, sync the file, rename it over the old one, sync the directory. This
//! is the only module that renames.

use std::path::{Path, PathBuf};

use crate::{
    Error, Result,
    fs::{Access, File, Fs},
};

/// The ending of files that are not finished. Whoever finds one at start-up may remove it.
pub const TEMPORARY: &str = "tmp";

/// Gives a file new content. After `Ok` the new content survives a loss of power; after an error the file has the old
/// content or the new one.
///
/// Two threads must not replace the same file at once.
pub fn replace(fs: &dyn Fs, path: &Path, content: &[u8]) -> Result<()> {
    let temporary = temporary(path);
    let written = (|| {
        let file = fs.open(&temporary, Access::Create).map_err(Error::io("create", &temporary))?;
        file.write_at(content, 0).map_err(Error::io("write", &temporary))?;
        publish(fs, &*file, &temporary, path)
    })();
    if written.is_err() {
        // The next attempt, or the next start, empties or removes it anyway.
        drop(fs.remove(&temporary));
    }
    written?;
    let dir = parent(path);
    fs.sync_dir(dir).map_err(Error::io("sync", dir))
}

/// Syncs a finished file and gives it its name. The name is durable only after a sync of the directory, which is left
/// to the caller, for what a failure of it means differs.
pub(crate) fn publish(fs: &dyn Fs, file: &dyn File, temporary: &Path, path: &Path) -> Result<()> {
    file.sync().map_err(Error::io("sync", temporary))?;
    fs.rename(temporary, path).map_err(Error::io("rename", temporary))
}

/// Takes a file out of use under another name, without syncing anything.
pub(crate) fn retire(fs: &dyn Fs, path: &Path, retired: &Path) -> Result<()> {
    fs.rename(path, retired).map_err(Error::io("rename", path))
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    name.into()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
