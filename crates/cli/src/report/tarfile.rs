//! A pack as a tar file: written from its folder, and read as a bucket without being unpacked.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use sidetrail_archive::source::{Bucket, Entry};

use super::pack::FileEntry;

/// The most files of a tar file that is read.
const MAX_FILES: usize = 1 << 20;

/// Writes the files of a folder to `path`, which must not exist. The same files make the same bytes.
pub(super) fn write<'a>(
    path: &Path,
    root: &Path,
    files: impl Iterator<Item = &'a FileEntry>,
    time: u64,
) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let file = file.with_context(|| format!("could not create {}", path.display()))?;
    let name = root.file_name().map(PathBuf::from).unwrap_or_default();
    let write = || -> io::Result<()> {
        let mut tar = tar::Builder::new(io::BufWriter::new(&file));
        for FileEntry { path, size, .. } in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(*size);
            header.set_mode(0o644);
            header.set_mtime(time);
            header.set_entry_type(tar::EntryType::Regular);
            tar.append_data(&mut header, name.join(path), File::open(root.join(path))?)?;
        }
        tar.into_inner()?.flush()?;
        file.sync_all()
    };
    write()
        .inspect_err(|_| {
            let _ = fs::remove_file(path);
        })
        .with_context(|| format!("could not write {}", path.display()))
}

/// The files of a tar file, below the one folder that they are all in.
#[derive(Debug)]
pub(super) struct TarFile {
    file: Mutex<File>,
    /// Where each begins, and how long it is.
    files: BTreeMap<String, (u64, u64)>,
}

impl TarFile {
    /// Reads the headers.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut tar = tar::Archive::new(file.try_clone()?);
        let mut files = BTreeMap::new();
        for entry in tar.entries_with_seek()? {
            let entry = entry?;
            match entry.header().entry_type() {
                tar::EntryType::Regular => {}
                tar::EntryType::Directory => continue,
                _ => return Err(invalid("it holds something other than files")),
            }
            let path =
                entry.path()?.to_str().map(str::to_owned).ok_or_else(|| invalid("a name is not UTF-8"))?;
            // The first part is the folder's name.
            let (_, path) = path.split_once('/').ok_or_else(|| invalid("a file is not in a folder"))?;
            if files.insert(path.to_owned(), (entry.raw_file_position(), entry.size())).is_some() {
                return Err(invalid("two files have one name"));
            }
            if files.len() > MAX_FILES {
                return Err(invalid("it holds too many files"));
            }
        }
        Ok(Self { file: Mutex::new(file), files })
    }
}

impl Bucket for TarFile {
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> io::Result<()> {
        for (key, (_, size)) in self.files.iter().filter(|(key, _)| key.starts_with(prefix)) {
            if visit(Entry::new(key, *size)).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open<'a>(&'a self, key: &str) -> io::Result<Box<dyn Read + 'a>> {
        let (position, size) = *self.files.get(key).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Part { tar: self, position, left: size }))
    }
}

/// A file of a tar file.
struct Part<'a> {
    tar: &'a TarFile,
    position: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let mut file = self.tar.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.position))?;
        let read = file.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (self.position, self.left) = (self.position + read as u64, self.left - read as u64);
        Ok(read)
    }
}
