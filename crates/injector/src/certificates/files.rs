//! A certificate in files, which somebody else renews.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Files;
use crate::serve::{Presented, TlsError};

/// Bytes of a file.
const MAX_FILE: u64 = 1 << 20;
/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Reads the files and shows what is in them.
///
/// # Errors
/// If they cannot be read, or hold not what they should.
pub fn load_files(files: &Files, presented: &Presented) -> Result<(), TlsError> {
    let read = |path: &Path| {
        let read = || {
            if fs::metadata(path)?.len() > MAX_FILE {
                return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
            }
            fs::read(path)
        };
        read().map_err(|source| TlsError::Read { path: path.to_owned(), source })
    };
    presented.show(&read(&files.certificate)?, &read(&files.key)?)
}

/// Shows what is in the files whenever that changes, until the future is dropped. What cannot be used is logged, and what
/// was shown before stays.
pub async fn follow_files(files: Files, presented: Arc<Presented>) {
    let mut seen = state(&files);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = state(&files);
        if now == seen {
            continue;
        }
        match load_files(&files, &presented) {
            Ok(()) => {
                tracing::info!(certificate = %files.certificate.display(), "the certificate has changed");
                seen = now;
            }
            // Certificate and key may be halfway through a change: looked at again.
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), "the changed certificate cannot be used");
            }
        }
    }
}

/// Inode, size and time of both files, through the links by which Kubernetes swaps them.
fn state(files: &Files) -> [Option<(u64, u64, i64, i64)>; 2] {
    [&files.certificate, &files.key].map(|path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
    })
}
