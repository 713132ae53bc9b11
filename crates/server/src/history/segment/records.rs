//! The records of a segment, byte for byte, in compressed blocks: one is read without the log file that it is from.
//!
//! ```text
//! block   = content's length u32 · compressed length u32 · count u32 · zstd of content
//! content = length of each record u32 · the records
//! ```

use std::io;

use sidetrail_archive::log::MAX_FOREIGN_CONTENT;

use super::pages::{Damaged, PageWriter, Pages, array};

/// A block is complete when its records have so many bytes: some fifty.
const BLOCK: usize = 64 << 10;
/// Records of a block: their numbers have two bytes.
const MAX_COUNT: usize = 1 << 16;
const HEADER: usize = 12;
/// zstd's fastest that stores as little as gzip at 6.
const LEVEL: i32 = 1;

/// Where a record is: its block, and its number in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) block: u32,
    pub(super) slot: u16,
}

/// Writes records into blocks.
pub(super) struct RecordWriter {
    compressor: zstd::bulk::Compressor<'static>,
    lengths: Vec<u8>,
    content: Vec<u8>,
    count: usize,
}

impl RecordWriter {
    pub(super) fn new() -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(LEVEL)?;
        Ok(Self { compressor, lengths: Vec::new(), content: Vec::new(), count: 0 })
    }

    /// Adds a record; says where it will be.
    pub(super) fn push(&mut self, writer: &mut PageWriter, record: &[u8]) -> io::Result<Place> {
        let large = || io::Error::other("a segment of history is too large");
        let block = u32::try_from(writer.position()).map_err(|_| large())?;
        let slot = u16::try_from(self.count).map_err(|_| large())?;
        self.lengths.extend_from_slice(&u32::try_from(record.len()).map_err(|_| large())?.to_le_bytes());
        self.content.extend_from_slice(record);
        self.count += 1;
        if self.content.len() >= BLOCK || self.count == MAX_COUNT {
            self.flush(writer)?;
        }
        Ok(Place { block, slot })
    }

    /// Writes the block that is begun.
    pub(super) fn flush(&mut self, writer: &mut PageWriter) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        self.lengths.extend_from_slice(&self.content);
        let compressed = self.compressor.compress(&self.lengths)?;
        for number in [self.lengths.len(), compressed.len(), self.count] {
            writer.write(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes())?;
        }
        writer.write(&compressed)?;
        self.lengths.clear();
        self.content.clear();
        self.count = 0;
        Ok(())
    }
}

impl std::fmt::Debug for RecordWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordWriter").field("count", &self.count).finish_non_exhaustive()
    }
}

/// A block, inflated.
#[derive(Clone, Debug)]
pub(super) struct Block {
    content: Vec<u8>,
    count: usize,
}

impl Block {
    pub(super) fn read(pages: &Pages, at: u32) -> Result<Self, Damaged> {
        let header: [u8; HEADER] = pages.read_array(u64::from(at))?;
        let number = |from: usize| u32::from_le_bytes(array(&header[from..from + 4])) as usize;
        let (length, stored, count) = (number(0), number(4), number(8));
        if length as u64 > MAX_FOREIGN_CONTENT || count > MAX_COUNT || count * 4 > length {
            return Err(Damaged::Content("a block is not one"));
        }
        let mut compressed = Vec::new();
        pages.read(u64::from(at) + HEADER as u64, stored, &mut compressed)?;
        let content = zstd::bulk::decompress(&compressed, length)?;
        if content.len() == length {
            Ok(Self { content, count })
        } else {
            Err(Damaged::Content("a block is cut off"))
        }
    }

    /// The record at `slot`.
    pub(super) fn record(&self, slot: u16) -> Result<&str, Damaged> {
        let wrong = Damaged::Content("a record is not in its block");
        let slot = usize::from(slot);
        if slot >= self.count {
            return Err(wrong);
        }
        let length = |at: usize| u32::from_le_bytes(array(&self.content[at * 4..at * 4 + 4])) as usize;
        let start = self.count * 4 + (0..slot).map(length).sum::<usize>();
        let bytes = self.content.get(start..start + length(slot));
        bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or(wrong)
    }
}
