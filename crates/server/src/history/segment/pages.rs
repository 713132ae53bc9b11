//! Files of pages, each with its checksum, and a bounded cache of the pages that were read last.
//!
//! ```text
//! file = page* trailer
//! page = 16,380 bytes of content · CRC-32C of them
//! trailer = "sthistor" · length of the content · CRC-32C of both
//! ```
//!
//! Numbers are little-endian. Content is addressed as if there were no checksums in it. A page is believed after its
//! checksum, so whatever happened to a file, what is read of it is what was written, or an error.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use quick_cache::sync::Cache;

/// Bytes of a page in the file.
const PAGE: usize = 16 << 10;
/// Bytes of content in it.
const CONTENT: usize = PAGE - 4;
const MAGIC: &[u8; 8] = b"sthistor";
const TRAILER: usize = 20;

/// Pages that are kept in memory, of all segments together: 64 MiB.
const CACHED_PAGES: usize = 4096;

/// A file of the cache could not be read, or is not what was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damaged {
    /// Reading failed.
    #[error("could not read the cache of history")]
    Io(#[from] io::Error),
    /// A checksum is wrong, or what it covers makes no sense.
    #[error("the cache of history is damaged: {0}")]
    Content(&'static str),
}

/// The pages that were read last, shared by all segments.
#[derive(Clone)]
pub(crate) struct PageCache(Arc<Cache<PageKey, Page>>);

/// Which file, and which of its pages.
type PageKey = (u64, u32);
type Page = Arc<[u8]>;

impl PageCache {
    /// An empty cache.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self(Arc::new(Cache::new(CACHED_PAGES)))
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }
}

impl Default for PageCache {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for PageCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageCache").field("pages", &self.0.len()).finish_non_exhaustive()
    }
}

/// Writes a file of pages.
#[derive(Debug)]
pub(super) struct PageWriter {
    file: BufWriter<File>,
    page: Vec<u8>,
    full: u64,
}

impl PageWriter {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(4 * PAGE, File::create(path)?);
        Ok(Self { file, page: Vec::with_capacity(CONTENT), full: 0 })
    }

    /// Bytes of content so far.
    pub(super) fn position(&self) -> u64 {
        self.full * CONTENT as u64 + self.page.len() as u64
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(CONTENT - self.page.len()));
            self.page.extend_from_slice(now);
            bytes = rest;
            if self.page.len() == CONTENT {
                self.flush_page()?;
                self.full += 1;
            }
        }
        Ok(())
    }

    fn flush_page(&mut self) -> io::Result<()> {
        self.file.write_all(&self.page)?;
        self.file.write_all(&crc32c::crc32c(&self.page).to_le_bytes())?;
        self.page.clear();
        Ok(())
    }

    /// Completes the file. It is not synced: it is a cache, and its checksums tell what a crash has left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let length = self.position();
        if !self.page.is_empty() {
            self.page.resize(CONTENT, 0);
            self.flush_page()?;
        }
        let mut trailer = Vec::with_capacity(TRAILER);
        trailer.extend_from_slice(MAGIC);
        trailer.extend_from_slice(&length.to_le_bytes());
        trailer.extend_from_slice(&crc32c::crc32c(&trailer).to_le_bytes());
        self.file.write_all(&trailer)?;
        self.file.flush()
    }
}

/// Reads a file of pages.
#[derive(Debug)]
pub(super) struct Pages {
    file: File,
    id: u64,
    length: u64,
    cache: PageCache,
}

impl Pages {
    /// Opens a file; `id` tells its pages from those of others in the cache.
    pub(super) fn open(path: &Path, id: u64, cache: PageCache) -> Result<Self, Damaged> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut trailer = [0; TRAILER];
        if size < TRAILER as u64 {
            return Err(Damaged::Content("a file has no trailer"));
        }
        file.seek(SeekFrom::End(-(TRAILER as i64)))?;
        file.read_exact(&mut trailer)?;
        let length = u64::from_le_bytes(array(&trailer[8..16]));
        if trailer[..8] != *MAGIC
            || crc32c::crc32c(&trailer[..16]).to_le_bytes() != trailer[16..]
            || length.div_ceil(CONTENT as u64).checked_mul(PAGE as u64) != Some(size - TRAILER as u64)
        {
            return Err(Damaged::Content("a trailer is not one"));
        }
        Ok(Self { file, id, length, cache })
    }

    /// Bytes of content.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends the content at `offset` to `into`.
    pub(super) fn read(&self, mut offset: u64, length: usize, into: &mut Vec<u8>) -> Result<(), Damaged> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(Damaged::Content("a position is beyond the end"));
        }
        let mut left = length;
        while left > 0 {
            let page = self.page(offset / CONTENT as u64)?;
            let content = &page[(offset % CONTENT as u64) as usize..];
            let content = &content[..content.len().min(left)];
            into.extend_from_slice(content);
            left -= content.len();
            offset += content.len() as u64;
        }
        Ok(())
    }

    /// The content at `offset`, of fixed length.
    pub(super) fn read_array<const N: usize>(&self, offset: u64) -> Result<[u8; N], Damaged> {
        let (page, start) = (offset / CONTENT as u64, (offset % CONTENT as u64) as usize);
        if start + N <= CONTENT && offset + N as u64 <= self.length {
            return Ok(array(&self.page(page)?[start..start + N]));
        }
        let mut bytes = Vec::with_capacity(N);
        self.read(offset, N, &mut bytes)?;
        Ok(array(&bytes))
    }

    fn page(&self, number: u64) -> Result<Arc<[u8]>, Damaged> {
        let key = (self.id, u32::try_from(number).map_err(|_| Damaged::Content("a file is too large"))?);
        self.cache.0.get_or_insert_with(&key, || {
            let mut page = vec![0; PAGE];
            self.file.read_exact_at(&mut page, number * PAGE as u64)?;
            let checksum = page.split_off(CONTENT);
            if crc32c::crc32c(&page).to_le_bytes() != checksum[..] {
                return Err(Damaged::Content("a page has another checksum"));
            }
            Ok(page.into())
        })
    }
}

/// The bytes as an array; they are that many.
pub(super) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(length: usize) -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pages");
        let content: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
        let mut writer = PageWriter::create(&path).unwrap();
        for chunk in content.chunks(1000) {
            writer.write(chunk).unwrap();
        }
        assert_eq!(writer.position(), length as u64);
        writer.finish().unwrap();
        (directory, path, content)
    }

    #[test]
    fn content_is_read_across_pages() {
        for length in [0, 1, CONTENT - 1, CONTENT, CONTENT + 1, 3 * CONTENT + 5] {
            let (_directory, path, content) = write(length);
            let pages = Pages::open(&path, 1, PageCache::new()).unwrap();
            let mut read = Vec::new();
            pages.read(0, length, &mut read).unwrap();
            assert_eq!(read, content);
            assert!(pages.read(1, length, &mut read).is_err());
            if length > CONTENT + 10 {
                let at = CONTENT - 3;
                assert_eq!(pages.read_array::<8>(at as u64).unwrap(), content[at..at + 8]);
            }
        }
    }

    #[test]
    fn a_changed_byte_is_found_wherever_it_is() {
        let (_directory, path, _) = write(2 * CONTENT);
        let good = std::fs::read(&path).unwrap();
        for at in [0, CONTENT, PAGE + 17, good.len() - TRAILER, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let read = Pages::open(&path, 1, PageCache::new())
                .and_then(|pages| pages.read(0, 2 * CONTENT, &mut Vec::new()));
            assert!(matches!(read, Err(Damaged::Content(_))), "{at}");
        }
        std::fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert!(Pages::open(&path, 1, PageCache::new()).is_err());
    }
}
