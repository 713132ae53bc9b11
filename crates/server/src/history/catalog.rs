//! The cache directory: segments, and the catalog that says which of them count.
//!
//! It is a cache. Whatever is wrong with it, all of it is thrown away and made again from the bucket; nothing is lost by
//! that but time. Files in the directory that are not ours are left alone.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::segment::{Damaged, FileId, PageCache, Segment};

/// Another one is not read.
const VERSION: u32 = 1;
const CATALOG: &str = "catalog.json";
const LOCK: &str = "lock";
const EXTENSION: &str = "segment";

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// It cannot be made, or not written.
    #[error("the cache directory {path} cannot be used")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another server has it.
    #[error("the cache directory {0} is another server's")]
    InUse(PathBuf),
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    version: u32,
    segments: Vec<u64>,
    /// Log files of which no event is in a segment.
    empty: Vec<FileId>,
}

/// What is in the directory.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) segments: Vec<Arc<Segment>>,
    /// Log files of which no event is in a segment.
    pub(super) empty: Vec<FileId>,
}

/// The cache directory, locked.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    pages: PageCache,
    next: AtomicU64,
    _lock: File,
}

impl Cache {
    /// Opens the directory, which is made if it is not there, with what can be read of it.
    pub(super) fn open(directory: &Path) -> Result<(Self, Contents), CacheError> {
        let wrong = |source| CacheError::Directory { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(wrong)?;
        let lock = File::create(directory.join(LOCK)).map_err(wrong)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(CacheError::InUse(directory.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(wrong(error)),
        }
        let cache = Self {
            directory: directory.to_owned(),
            pages: PageCache::new(),
            next: AtomicU64::new(1),
            _lock: lock,
        };
        let contents = match cache.read() {
            Ok(contents) => contents,
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), "the cache of history is thrown away");
                cache.pages.clear();
                Contents::default()
            }
        };
        cache.sweep(&contents.segments).map_err(wrong)?;
        Ok((cache, contents))
    }

    fn read(&self) -> Result<Contents, Damaged> {
        let text = match fs::read(self.directory.join(CATALOG)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
            Err(error) => return Err(error.into()),
        };
        let stored: Stored =
            serde_json::from_slice(&text).map_err(|_| Damaged::Content("the catalog is not one"))?;
        if stored.version != VERSION {
            return Err(Damaged::Content("the catalog is of another version"));
        }
        let last = stored.segments.iter().max().copied().unwrap_or_default();
        self.next.store(last + 1, Ordering::Relaxed);
        let open = |id: &u64| Segment::open(&self.path(*id), *id, self.pages.clone()).map(Arc::new);
        let segments = stored.segments.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Contents { segments, empty: stored.empty })
    }

    /// Removes segments that do not count: of a merge that was cut off, or of a cache that was thrown away.
    fn sweep(&self, segments: &[Arc<Segment>]) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let id = path
                .extension()
                .filter(|extension| *extension == EXTENSION)
                .and_then(|_| path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()));
            if id.is_some_and(|id| segments.iter().all(|segment| segment.id() != id)) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// A number and a path for a new segment.
    pub(super) fn new_segment(&self) -> (u64, PathBuf) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        (id, self.path(id))
    }

    fn path(&self, id: u64) -> PathBuf {
        self.directory.join(format!("{id:08}.{EXTENSION}"))
    }

    /// Opens a segment that was written.
    pub(super) fn open_segment(&self, id: u64) -> Result<Arc<Segment>, Damaged> {
        Segment::open(&self.path(id), id, self.pages.clone()).map(Arc::new)
    }

    /// Says which segments count from now on.
    pub(super) fn commit(&self, segments: &[Arc<Segment>], empty: &[FileId]) -> io::Result<()> {
        let segments = segments.iter().map(|segment| segment.id()).collect();
        let stored = Stored { version: VERSION, segments, empty: empty.to_vec() };
        let (path, staged) = (self.directory.join(CATALOG), self.directory.join("catalog.new"));
        fs::write(&staged, serde_json::to_vec(&stored)?)?;
        fs::rename(staged, path)
    }

    /// Removes a segment that does not count any more; who reads it reads on.
    pub(super) fn remove(&self, segment: &Segment) {
        // What stays is swept at the next start.
        let _ = fs::remove_file(self.path(segment.id()));
    }

    /// Forgets the pages in memory.
    pub(super) fn clear_pages(&self) {
        self.pages.clear();
    }
}
