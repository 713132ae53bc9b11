//! The events of a term: ordinals of rows, ascending, which is newest first.
//!
//! ```text
//! list  = delta*                            ; up to 128 ordinals, the first delta from 0
//!       | skip* block*                      ; more
//! skip  = first ordinal u32 · where its block begins, from the first block on, u32
//! block = delta*                            ; of the up to 127 after the first
//! ```
//!
//! So the newest fifty of millions are in the first block, and what two terms have in common is found without reading
//! what lies between.

use super::pages::{Damaged, Pages, array};
use super::varint;

/// Ordinals of a block.
const BLOCK: usize = 128;
/// Bytes of a skip.
const SKIP: usize = 8;
/// The most bytes a block can have.
const MAX_BLOCK: usize = BLOCK * 5;

/// Where a list lies, or the one ordinal that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    One(u32),
    At { count: u32, offset: u64, length: u32 },
}

/// Writes a list of more than one ordinal, ascending.
pub(super) fn write(ordinals: &[u32], into: &mut Vec<u8>) {
    if ordinals.len() <= BLOCK {
        deltas(0, ordinals, into);
        return;
    }
    let mut blocks = Vec::with_capacity(ordinals.len());
    for block in ordinals.chunks(BLOCK) {
        into.extend_from_slice(&block[0].to_le_bytes());
        // A list of all rows of a segment is far below 4 GiB.
        into.extend_from_slice(&u32::try_from(blocks.len()).unwrap_or(u32::MAX).to_le_bytes());
        deltas(block[0], &block[1..], &mut blocks);
    }
    into.extend_from_slice(&blocks);
}

fn deltas(mut before: u32, ordinals: &[u32], into: &mut Vec<u8>) {
    for ordinal in ordinals {
        varint::write(u64::from(ordinal.wrapping_sub(before)), into);
        before = *ordinal;
    }
}

fn undo(mut before: u32, mut bytes: &[u8], count: usize, into: &mut Vec<u32>) -> Result<(), Damaged> {
    for _ in 0..count {
        let delta = u32::try_from(varint::read(&mut bytes)?).ok();
        before = delta
            .and_then(|delta| before.checked_add(delta))
            .ok_or(Damaged::Content("an ordinal is too large"))?;
        into.push(before);
    }
    Ok(())
}

/// All ordinals of a list.
pub(super) fn read_all(pages: &Pages, list: List, into: &mut Vec<u32>) -> Result<(), Damaged> {
    let (count, offset, length) = match list {
        List::One(ordinal) => {
            into.push(ordinal);
            return Ok(());
        }
        List::At { count, offset, length } => (count as usize, offset, length as usize),
    };
    let mut bytes = Vec::new();
    pages.read(offset, length, &mut bytes)?;
    if count <= BLOCK {
        return undo(0, &bytes, count, into);
    }
    let blocks = count.div_ceil(BLOCK);
    let (skips, data) = bytes.split_at_checked(blocks * SKIP).ok_or(Damaged::Content("a list is cut off"))?;
    for (block, skip) in skips.chunks_exact(SKIP).enumerate() {
        let (first, start) = parse_skip(skip);
        let here = (count - block * BLOCK).min(BLOCK);
        into.push(first);
        undo(first, data.get(start..).unwrap_or_default(), here - 1, into)?;
    }
    Ok(())
}

fn parse_skip(skip: &[u8]) -> (u32, usize) {
    (u32::from_le_bytes(array(&skip[..4])), u32::from_le_bytes(array(&skip[4..8])) as usize)
}

/// Goes through a list, forward only.
#[derive(Debug)]
pub(crate) struct ListCursor {
    count: usize,
    offset: u64,
    length: usize,
    /// The block that is decoded, and its ordinals.
    block: Option<usize>,
    ordinals: Vec<u32>,
    at: usize,
}

impl ListCursor {
    pub(super) fn new(list: List) -> Self {
        match list {
            List::One(ordinal) => {
                Self { count: 1, offset: 0, length: 0, block: Some(0), ordinals: vec![ordinal], at: 0 }
            }
            List::At { count, offset, length } => Self {
                count: count as usize,
                offset,
                length: length as usize,
                block: None,
                ordinals: Vec::new(),
                at: 0,
            },
        }
    }

    fn blocks(&self) -> usize {
        self.count.div_ceil(BLOCK)
    }

    fn skip(&self, pages: &Pages, block: usize) -> Result<(u32, usize), Damaged> {
        let skip: [u8; SKIP] = pages.read_array(self.offset + (block * SKIP) as u64)?;
        Ok(parse_skip(&skip))
    }

    /// The first ordinal that is at least `least`.
    pub(super) fn seek(&mut self, pages: &Pages, least: u32) -> Result<Option<u32>, Damaged> {
        loop {
            if self.block.is_some() {
                let rest = &self.ordinals[self.at.min(self.ordinals.len())..];
                // The next one is mostly near.
                let ahead = match rest.iter().take(8).position(|ordinal| *ordinal >= least) {
                    Some(ahead) => ahead,
                    None => rest.partition_point(|ordinal| *ordinal < least),
                };
                self.at += ahead;
                if let Some(ordinal) = self.ordinals.get(self.at) {
                    return Ok(Some(*ordinal));
                }
            }
            let next = self.block.map_or(0, |block| block + 1);
            if next >= self.blocks() {
                return Ok(None);
            }
            self.load(pages, next, least)?;
        }
    }

    /// Decodes the last block from `from` on that begins with at most `least`, or `from` itself.
    fn load(&mut self, pages: &Pages, from: usize, least: u32) -> Result<(), Damaged> {
        self.ordinals.clear();
        self.at = 0;
        let mut bytes = Vec::with_capacity(MAX_BLOCK);
        if self.count <= BLOCK {
            pages.read(self.offset, self.length, &mut bytes)?;
            self.block = Some(0);
            return undo(0, &bytes, self.count, &mut self.ordinals);
        }
        // Gallop, then halve: neighbours are cheap, and the far end is not far.
        let (mut low, mut step) = (from, 1);
        while low + step < self.blocks() && self.skip(pages, low + step)?.0 <= least {
            low += step;
            step *= 2;
        }
        let mut high = (low + step).min(self.blocks());
        while low + 1 < high {
            let middle = low.midpoint(high);
            if self.skip(pages, middle)?.0 <= least { low = middle } else { high = middle }
        }
        let (first, start) = self.skip(pages, low)?;
        let data = self.blocks() * SKIP + start;
        let length = self.length.checked_sub(data).ok_or(Damaged::Content("a list is cut off"))?;
        pages.read(self.offset + data as u64, length.min(MAX_BLOCK), &mut bytes)?;
        let count = (self.count - low * BLOCK).min(BLOCK);
        self.ordinals.push(first);
        undo(first, &bytes, count - 1, &mut self.ordinals)?;
        self.block = Some(low);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pages::{PageCache, PageWriter};
    use super::*;

    fn stored(ordinals: &[u32]) -> (tempfile::TempDir, Pages, List) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list");
        let mut bytes = Vec::new();
        write(ordinals, &mut bytes);
        let mut writer = PageWriter::create(&path).unwrap();
        writer.write(b"before").unwrap();
        writer.write(&bytes).unwrap();
        writer.finish().unwrap();
        let list = List::At { count: ordinals.len() as u32, offset: 6, length: bytes.len() as u32 };
        (directory, Pages::open(&path, 1, PageCache::new()).unwrap(), list)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_cursor_finds_what_a_search_finds(
            gaps in proptest::collection::vec(prop_oneof![1_u32..4, 1_u32..4000], 2..900),
            mut sought in proptest::collection::vec(0_u32..2_000_000, 1..40),
        ) {
            let ordinals: Vec<u32> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let (_directory, pages, list) = stored(&ordinals);
            let mut all = Vec::new();
            read_all(&pages, list, &mut all).unwrap();
            prop_assert_eq!(&all, &ordinals);
            sought.sort_unstable();
            let mut cursor = ListCursor::new(list);
            for least in sought {
                let expected = ordinals.iter().copied().find(|ordinal| *ordinal >= least);
                prop_assert_eq!(cursor.seek(&pages, least).unwrap(), expected);
            }
            let mut cursor = ListCursor::new(list);
            let mut walked = Vec::new();
            while let Some(ordinal) = cursor.seek(&pages, walked.last().map_or(0, |last: &u32| last + 1)).unwrap() {
                walked.push(ordinal);
            }
            prop_assert_eq!(walked, ordinals);
        }
    }

    #[test]
    fn one_is_a_list_too() {
        let (_directory, pages, _) = stored(&[1, 2]);
        let mut cursor = ListCursor::new(List::One(7));
        assert_eq!(cursor.seek(&pages, 3).unwrap(), Some(7));
        assert_eq!(cursor.seek(&pages, 8).unwrap(), None);
    }
}
