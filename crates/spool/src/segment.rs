//! A segment file: its name, and what stands before its frames.

use std::path::{Path, PathBuf};

use crate::{
    Error, Result,
    frame::{self, seed},
    fs::File,
};

/// The smallest segment. It is meant for tests: each segment costs two syncs.
pub const MIN_SEGMENT_BYTES: u64 = 4 << 10;
/// The largest segment.
pub const MAX_SEGMENT_BYTES: u64 = 256 << 20;
/// The most bytes of a ledger's snapshot.
pub const MAX_SNAPSHOT: usize = 4 << 20;

/// The bytes before the snapshot.
pub(crate) const HEADER: usize = 40;
const MAGIC: [u8; 8] = *b"\xf5SIDEseg";
const VERSION: u32 = 1;
const EXTENSION: &str = "seg";
const SPARE: &str = "spare";

// Offsets within a segment fit the 32 bits that a frame has for them, also when an oversized frame is alone in one.
const _: () =
    assert!(MAX_SEGMENT_BYTES + (HEADER + MAX_SNAPSHOT) as u64 + frame::MAX_FRAME < u32::MAX as u64);

/// What a file in the directory is by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Segment(u64),
    Spare(u64),
}

impl Name {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (number, extension) = name.split_once('.')?;
        if number.len() != 20 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = number.parse().ok()?;
        match extension {
            EXTENSION => Some(Self::Segment(number)),
            SPARE => Some(Self::Spare(number)),
            _ => None,
        }
    }
}

pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.{EXTENSION}"))
}

pub(crate) fn spare_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.{SPARE}"))
}

pub(crate) fn new_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.{EXTENSION}.{}", crate::durable::TEMPORARY))
}

/// The start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Where the segment before this one ends, 0 if there is none or its end is not known.
    pub(crate) previous_end: u64,
    pub(crate) snapshot_len: u32,
    snapshot_checksum: u32,
}

impl Header {
    /// Appends the header and the snapshot to `out`.
    pub(crate) fn encode(out: &mut Vec<u8>, number: u64, previous_end: u64, snapshot: &[u8]) {
        debug_assert!(snapshot.len() <= MAX_SNAPSHOT);
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(snapshot.len() as u32).to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&previous_end.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c_append(seed(number), snapshot).to_le_bytes());
        let checksum = crc32c::crc32c_append(seed(number), &out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(snapshot);
    }

    /// Reads the header of a segment, `None` if it is damaged. The checksum comes first, so that a flipped bit in the
    /// version is damage and not a message from the future.
    pub(crate) fn read(file: &dyn File, path: &Path, number: u64) -> Result<Option<Self>> {
        let mut bytes = [0; HEADER];
        let read = read_full(file, &mut bytes, 0).map_err(Error::io("read", path))?;
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if read < HEADER || bytes[..8] != MAGIC {
            return Ok(None);
        }
        if crc32c::crc32c_append(seed(number), &bytes[..36]) != word(36) || long(16) != number {
            return Ok(None);
        }
        if word(8) != VERSION {
            return Err(Error::Version { path: path.to_owned(), found: word(8), supported: VERSION });
        }
        let header = Self { previous_end: long(24), snapshot_len: word(12), snapshot_checksum: word(32) };
        Ok((header.snapshot_len as usize <= MAX_SNAPSHOT).then_some(header))
    }

    /// Where the first frame is.
    pub(crate) fn first(&self) -> u64 {
        HEADER as u64 + u64::from(self.snapshot_len)
    }

    /// Reads the snapshot, `None` if it is damaged.
    pub(crate) fn snapshot(&self, file: &dyn File, path: &Path, number: u64) -> Result<Option<Vec<u8>>> {
        let mut snapshot = vec![0; self.snapshot_len as usize];
        let read = read_full(file, &mut snapshot, HEADER as u64).map_err(Error::io("read", path))?;
        let sound = read == snapshot.len()
            && crc32c::crc32c_append(seed(number), &snapshot) == self.snapshot_checksum;
        Ok(sound.then_some(snapshot))
    }
}

/// Fills the buffer as far as the file goes.
pub(crate) fn read_full(file: &dyn File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(path(Path::new("d"), 42), Path::new("d/00000000000000000042.seg"));
        assert_eq!(Name::parse("00000000000000000042.seg"), Some(Name::Segment(42)));
        assert_eq!(Name::parse("00000000000000000042.spare"), Some(Name::Spare(42)));
        for other in
            ["42.seg", "00000000000000000042.seg.tmp", "0000000000000000004x.seg", "lock", "main.cursor"]
        {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
