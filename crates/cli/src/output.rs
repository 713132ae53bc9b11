//! Files that a command leaves behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::print;

/// Anybody may read it.
pub(crate) const PUBLIC_MODE: u32 = 0o644;

/// Writes a file that must not exist yet, durably.
pub(crate) fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("could not create {}", path.display()))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written
        .inspect_err(|_| {
            let _ = fs::remove_file(path);
        })
        .with_context(|| format!("could not write {}", path.display()))
}

/// Like [`create`], or to standard output where the path is -.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if path == Path::new("-") {
        return Ok(print::out(format_args!("{text}"))?);
    }
    create(path, PUBLIC_MODE, text.as_bytes())
}

/// Replaces a file by one that is whole and on disk, or leaves it as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(format!(".{}.new", std::process::id()));
    let staged = Path::new(&staged);
    let mut file = File::create(staged)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(staged, path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(staged);
    })?;
    File::open(parent)?.sync_all()
}
