//! The events of a segment, newest first, each in a row of fixed length.
//!
//! ```text
//! row = key 20 bytes · file u32 · block u32 · slot u16 · nothing u16
//! ```

use super::pages::{Damaged, Pages, array};
use super::records::Place;
use crate::history::key::Key;

/// Bytes of a row.
pub(super) const ROW: usize = 32;

/// Every so many rows, the key of one is kept in memory.
pub(super) const SAMPLE: usize = 256;

/// An event of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: Key,
    /// Which of the segment's files it is from.
    pub(super) file: u32,
    pub(super) place: Place,
}

impl Row {
    pub(super) fn to_bytes(self) -> [u8; ROW] {
        let mut bytes = [0; ROW];
        bytes[..20].copy_from_slice(self.key.as_bytes());
        bytes[20..24].copy_from_slice(&self.file.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.place.block.to_le_bytes());
        bytes[28..30].copy_from_slice(&self.place.slot.to_le_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Self {
        Self {
            key: Key::from(array::<{ Key::SIZE }>(&bytes[..20])),
            file: u32::from_le_bytes(array(&bytes[20..24])),
            place: Place {
                block: u32::from_le_bytes(array(&bytes[24..28])),
                slot: u16::from_le_bytes(array(&bytes[28..30])),
            },
        }
    }
}

/// Where the rows are, and some of their keys.
#[derive(Debug)]
pub(super) struct Rows {
    offset: u64,
    count: u32,
    /// The keys of the rows 0, [`SAMPLE`], and so on.
    samples: Vec<Key>,
}

impl Rows {
    pub(super) fn new(offset: u64, count: u32, samples: Vec<Key>) -> Self {
        Self { offset, count, samples }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn get(&self, pages: &Pages, ordinal: u32) -> Result<Row, Damaged> {
        if ordinal >= self.count {
            return Err(Damaged::Content("an event is in no row"));
        }
        let bytes: [u8; ROW] = pages.read_array(self.offset + u64::from(ordinal) * ROW as u64)?;
        Ok(Row::read(&bytes))
    }

    /// The first row with a key of at most `key`, which may be one after the last.
    pub(super) fn from(&self, pages: &Pages, key: Key) -> Result<u32, Damaged> {
        let after = self.samples.partition_point(|sample| *sample > key);
        let Some(sample) = after.checked_sub(1) else { return Ok(0) };
        let start = sample * SAMPLE;
        let end = (start + SAMPLE).min(self.count as usize);
        let mut bytes = Vec::new();
        pages.read(self.offset + (start * ROW) as u64, (end - start) * ROW, &mut bytes)?;
        let newer = bytes.chunks_exact(ROW).take_while(|row| Row::read(row).key > key).count();
        // Both are at most the number of rows.
        Ok(u32::try_from(start + newer).unwrap_or(self.count))
    }

    /// Bytes in memory.
    pub(super) fn memory(&self) -> usize {
        self.samples.len() * Key::SIZE
    }
}
