//! Segments: immutable files, each with some events of one account, region and class, and an index over them.
//!
//! ```text
//! content  = records rows terms files samples index tail
//! records  = block*                ; `records`
//! rows     = row*                  ; `rows`: newest first; their numbers are ordinals
//! terms    = (list* block)*        ; `dictionary`, `postings`
//! files    = 24 bytes*             ; which log files the events are from, and what they hold
//! samples  = 20 bytes*             ; the key of every 256th row
//! index    = of the dictionary
//! tail     = JSON · its length u32
//! ```
//!
//! All of it is in pages with checksums (`pages`). A segment is made from events (`build`) or from other segments
//! (`merge`), never changed, and deleted when nothing refers to it. In memory it has its samples, index and files; the
//! rest is read when asked for.
//!
//! Why not an index of the shelf: see "History" in `crates/ARCHITECTURE.md`.

mod build;
mod cursor;
mod dictionary;
mod file_id;
mod intern;
mod merge;
mod pages;
mod postings;
mod records;
mod rows;
mod varint;

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use self::build::Builder;
pub(crate) use self::cursor::Cursor;
use self::dictionary::Dictionary;
pub(crate) use self::file_id::{FileId, Source};
pub(crate) use self::merge::merge;
pub use self::pages::Damaged;
pub(crate) use self::pages::PageCache;
use self::pages::{PageWriter, Pages, array};
use self::records::Block;
use self::rows::{Rows, SAMPLE};
use super::event::Class;
use super::key::Key;

/// Written into each segment; another one is not read.
const VERSION: u32 = 2;
/// The most bytes of a tail.
const MAX_TAIL: u64 = 4 << 10;

/// What the events of a segment have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Partition {
    /// The account whose evidence they are in.
    pub(crate) account: String,
    /// The region it is from.
    pub(crate) region: String,
    /// The part of history.
    pub(crate) class: Class,
}

/// The end of a segment, from which it is opened.
#[derive(Debug, Serialize, Deserialize)]
struct Tail {
    version: u32,
    partition: Partition,
    count: u32,
    rows: u64,
    files: u64,
    samples: u64,
    index: u64,
    #[serde(skip)]
    sampled: Vec<u8>,
}

impl Tail {
    fn new(partition: Partition, rows: u64, keys: &[Key]) -> Self {
        let sampled = keys.iter().step_by(SAMPLE).flat_map(|key| *key.as_bytes()).collect();
        // Builders and merges are bounded far below.
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        Self { version: VERSION, partition, count, rows, files: 0, samples: 0, index: 0, sampled }
    }

    /// Writes what follows the terms.
    fn write(mut self, writer: &mut PageWriter, files: &[Source], index: &[u8]) -> io::Result<()> {
        self.files = writer.position();
        files.iter().try_for_each(|file| writer.write(&file.to_bytes()))?;
        self.samples = writer.position();
        writer.write(&self.sampled)?;
        self.index = writer.position();
        writer.write(index)?;
        let tail = serde_json::to_vec(&self)?;
        writer.write(&tail)?;
        writer.write(&u32::try_from(tail.len()).unwrap_or(u32::MAX).to_le_bytes())
    }
}

/// A segment, open for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    id: u64,
    partition: Partition,
    pages: Pages,
    /// Bytes of records, which are the beginning.
    records: u64,
    rows: Rows,
    dictionary: Dictionary,
    files: Vec<Source>,
    newest: Key,
    oldest: Key,
}

impl Segment {
    /// Opens the file at `path`; `id` is another one for each.
    ///
    /// # Errors
    /// If it is damaged, or from another version.
    pub(crate) fn open(path: &Path, id: u64, cache: PageCache) -> Result<Self, Damaged> {
        let pages = Pages::open(path, id, cache)?;
        let wrong = Damaged::Content("a tail makes no sense");
        let Some(end) = pages.length().checked_sub(4) else { return Err(wrong) };
        let length = u64::from(u32::from_le_bytes(pages.read_array(end)?));
        let Some(start) = end.checked_sub(length).filter(|_| length <= MAX_TAIL) else { return Err(wrong) };
        let read = |from: u64, to: u64| {
            let length = to.checked_sub(from).and_then(|length| usize::try_from(length).ok());
            let mut bytes = Vec::new();
            pages.read(from, length.ok_or(Damaged::Content("a tail makes no sense"))?, &mut bytes)?;
            Ok::<_, Damaged>(bytes)
        };
        let tail: Tail =
            serde_json::from_slice(&read(start, end)?).map_err(|_| Damaged::Content("a tail is not JSON"))?;
        if tail.version != VERSION {
            return Err(Damaged::Content("a segment is of another version"));
        }
        let files = read(tail.files, tail.samples)?;
        let files: Vec<_> = files.chunks_exact(Source::SIZE).map(Source::read).collect();
        let samples = read(tail.samples, tail.index)?;
        let samples: Vec<_> = samples.chunks_exact(Key::SIZE).map(|key| Key::from(array(key))).collect();
        let dictionary = Dictionary::read(&read(tail.index, start)?)?;
        if tail.count == 0 || samples.len() != (tail.count as usize).div_ceil(SAMPLE) {
            return Err(wrong);
        }
        let rows = Rows::new(tail.rows, tail.count, samples);
        let (newest, oldest) = (rows.get(&pages, 0)?.key, rows.get(&pages, tail.count - 1)?.key);
        let (records, partition) = (tail.rows, tail.partition);
        Ok(Self { id, partition, pages, records, rows, dictionary, files, newest, oldest })
    }

    /// Another one for each segment that is open.
    #[must_use]
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// What its events have in common.
    #[must_use]
    pub(crate) fn partition(&self) -> &Partition {
        &self.partition
    }

    /// How many events it has.
    #[must_use]
    pub(crate) fn count(&self) -> u32 {
        self.rows.count()
    }

    /// The key of the newest.
    #[must_use]
    pub(crate) fn newest(&self) -> Key {
        self.newest
    }

    /// The key of the oldest.
    #[must_use]
    pub(crate) fn oldest(&self) -> Key {
        self.oldest
    }

    /// The files that its events are from; some may repeat.
    #[must_use]
    pub(crate) fn files(&self) -> &[Source] {
        &self.files
    }

    /// Bytes on disk that records take.
    #[must_use]
    pub(crate) fn record_bytes(&self) -> u64 {
        self.records
    }

    /// Bytes in memory, about.
    #[must_use]
    pub(crate) fn memory(&self) -> usize {
        self.rows.memory() + self.dictionary.memory() + self.files.len() * Source::SIZE
    }

    /// The key of an event, and the file that it is from.
    ///
    /// # Errors
    /// If the segment is damaged.
    pub(crate) fn event(&self, ordinal: u32) -> Result<(Key, FileId), Damaged> {
        let row = self.rows.get(&self.pages, ordinal)?;
        let file = self.files.get(row.file as usize).ok_or(Damaged::Content("an event is of no file"))?;
        Ok((row.key, file.id))
    }

    /// The first event with a key of at most `key`; one after the last if there is none.
    ///
    /// # Errors
    /// If the segment is damaged.
    pub(crate) fn from(&self, key: Key) -> Result<u32, Damaged> {
        self.rows.from(&self.pages, key)
    }

    /// Shows the records of some events; a block that several are in is inflated once. They come as they lie.
    ///
    /// # Errors
    /// If the segment is damaged.
    pub(crate) fn records(&self, ordinals: &[u32], each: &mut dyn FnMut(usize, &str)) -> Result<(), Damaged> {
        let mut places = Vec::with_capacity(ordinals.len());
        for (at, ordinal) in ordinals.iter().enumerate() {
            places.push((self.rows.get(&self.pages, *ordinal)?.place, at));
        }
        places.sort_unstable();
        let mut current: Option<(u32, Block)> = None;
        for (place, at) in places {
            if current.as_ref().is_none_or(|(block, _)| *block != place.block) {
                current = Some((place.block, Block::read(&self.pages, place.block)?));
            }
            if let Some((_, block)) = &current {
                each(at, block.record(place.slot)?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
