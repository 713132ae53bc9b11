//! The file of a Unix socket: there while it is listened on, with the mode that it should have.

use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// A Unix socket that is removed when it is no longer listened on.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

/// Binds a Unix socket. Whoever the mode lets write to it may connect. A socket file that nobody listens on is left over from a crash and replaced.
pub(crate) async fn bind_socket(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile)> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(Error::new(
                    ErrorKind::AddrInUse,
                    "there is a file of that name, and it is no socket",
                ));
            }
            if UnixStream::connect(path).await.is_ok() {
                return Err(Error::new(ErrorKind::AddrInUse, "another process listens on it"));
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        result => result?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok((listener, SocketFile(path.to_owned())))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If it is gone already, so much the better.
        let _ = std::fs::remove_file(&self.0);
    }
}
