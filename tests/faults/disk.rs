//! A disk that is small enough to be filled: a tmpfs with a limit, where a mount namespace may be had.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Above the spool's budget, so that it is the disk that is full and not the spool.
const SIZE: &str = "96m";
/// Set for the process in the namespace: what it may do there.
const MARK: &str = "SIDETRAIL_FAULTS_DISK";
const NONE: &str = "none";
const SMALL: &str = "tmpfs";
const CHUNK: usize = 1 << 20;

/// Becomes this program in a mount namespace; returns there. Where the system allows none, everything but a full disk is
/// still possible.
pub(super) fn enter_namespace() -> Result<()> {
    if std::env::var_os(MARK).is_some() {
        return Ok(());
    }
    let options: [&[&str]; 2] = [&["--mount"], &["--map-root-user", "--mount"]];
    let works = |options: &&&[&str]| {
        let mut probe = Command::new("unshare");
        probe.args(**options).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
        probe.stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    };
    let program = std::env::current_exe()?;
    let mut command = match options.iter().find(works) {
        Some(options) => {
            let mut command = Command::new("unshare");
            command.args(*options).arg(program).env(MARK, SMALL);
            command
        }
        None => {
            eprintln!("no mount namespace may be had here, so no disk is filled");
            let mut command = Command::new(program);
            command.env(MARK, NONE);
            command
        }
    };
    Err(command.args(std::env::args_os().skip(1)).exec()).context("cannot run in a mount namespace")
}

/// The disk under the spool.
#[derive(Debug)]
pub(super) struct Disk {
    directory: PathBuf,
    mounted: bool,
}

impl Disk {
    /// Mounts it at `directory`, which is made.
    pub(super) fn mount(directory: &Path) -> Result<Self> {
        fs::create_dir(directory)?;
        let mounted = std::env::var_os(MARK).is_some_and(|mark| mark == SMALL);
        if mounted {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "tmpfs"]).arg(directory);
            let status = mount.status().context("cannot start mount")?;
            if !status.success() {
                bail!("mount ended with {status}");
            }
            // The spool looks at files only.
            fs::create_dir(directory.join("ballast"))?;
        }
        Ok(Self { directory: directory.to_owned(), mounted })
    }

    pub(super) fn can_be_filled(&self) -> bool {
        self.mounted
    }

    /// What it is.
    pub(super) fn name(&self) -> &'static str {
        if self.mounted { "tmpfs of 96 MiB" } else { "the machine's own, which is not filled" }
    }

    /// Leaves no byte.
    pub(super) fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.ballast())?;
        let chunk = vec![0; CHUNK];
        loop {
            match ballast.write_all(&chunk) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("cannot fill the disk"),
            }
        }
    }

    /// Gives back what [`Disk::fill`] took.
    pub(super) fn clear(&self) -> Result<()> {
        match fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("cannot clear the disk"),
            _ => Ok(()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.directory.join("ballast/file")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // Else the directory around it could not be removed; the namespace takes the mount with it in any case.
            let _ = Command::new("umount").arg(&self.directory).status();
        }
    }
}
