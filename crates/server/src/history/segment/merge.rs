//! Makes one segment of several, without their log files: so that a file a minute for months is not a segment a minute.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::Arc;

use super::dictionary::DictionaryWriter;
use super::pages::{Damaged, PageWriter};
use super::postings;
use super::rows::Row;
use super::{Segment, Tail};
use crate::history::key::Key;

/// Bytes of records that are copied at once.
const CHUNK: usize = 1 << 20;

/// Writes what `segments`, which are of one partition, hold into one at `path`. It needs memory for the keys and the
/// numbers of rows, 24 bytes an event, and for the events of one term at a time.
///
/// # Errors
/// If one of them is damaged, or the new one cannot be written.
pub(crate) fn merge(path: &Path, segments: &[Arc<Segment>]) -> Result<(), Damaged> {
    let Some(first) = segments.first() else {
        return Err(Damaged::Content("there is nothing to merge"));
    };
    let mut writer = PageWriter::create(path)?;
    let (mut files, mut blocks, mut file_bases) = (Vec::new(), Vec::new(), Vec::new());
    for segment in segments {
        let large = |_| Damaged::Content("a merged segment is too large");
        blocks.push(u32::try_from(writer.position()).map_err(large)?);
        file_bases.push(u32::try_from(files.len()).map_err(large)?);
        files.extend_from_slice(&segment.files);
        copy(segment, &mut writer)?;
    }
    let rows_offset = writer.position();
    let (keys, renumbered) = merge_rows(segments, &blocks, &file_bases, &mut writer)?;
    let index = merge_terms(segments, &renumbered, &mut writer)?;
    Tail::new(first.partition.clone(), rows_offset, &keys).write(&mut writer, &files, &index)?;
    writer.finish()?;
    Ok(())
}

/// Copies the blocks of records.
fn copy(segment: &Segment, writer: &mut PageWriter) -> Result<(), Damaged> {
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut at = 0;
    while at < segment.records {
        chunk.clear();
        let length = usize::try_from(segment.records - at).unwrap_or(CHUNK).min(CHUNK);
        segment.pages.read(at, length, &mut chunk)?;
        writer.write(&chunk)?;
        at += length as u64;
    }
    Ok(())
}

/// Merges rows; gives their keys, and for each segment the new numbers of its rows.
fn merge_rows(
    segments: &[Arc<Segment>],
    blocks: &[u32],
    files: &[u32],
    writer: &mut PageWriter,
) -> Result<(Vec<Key>, Vec<Vec<u32>>), Damaged> {
    let row = |which: usize, ordinal: u32| segments[which].rows.get(&segments[which].pages, ordinal);
    let mut heap = BinaryHeap::new();
    for (which, segment) in segments.iter().enumerate() {
        if segment.rows.count() > 0 {
            heap.push((row(which, 0)?.key, Reverse(which), 0_u32));
        }
    }
    let mut keys = Vec::new();
    let mut renumbered: Vec<Vec<u32>> =
        segments.iter().map(|segment| Vec::with_capacity(segment.rows.count() as usize)).collect();
    while let Some((key, Reverse(which), ordinal)) = heap.pop() {
        let mut moved = row(which, ordinal)?;
        moved.file += files[which];
        let block = moved.place.block.checked_add(blocks[which]);
        moved.place.block = block.ok_or(Damaged::Content("a merged segment is too large"))?;
        writer.write(&Row::to_bytes(moved))?;
        renumbered[which].push(u32::try_from(keys.len()).unwrap_or(u32::MAX));
        keys.push(key);
        if ordinal + 1 < segments[which].rows.count() {
            heap.push((row(which, ordinal + 1)?.key, Reverse(which), ordinal + 1));
        }
    }
    Ok((keys, renumbered))
}

fn merge_terms(
    segments: &[Arc<Segment>],
    renumbered: &[Vec<u32>],
    writer: &mut PageWriter,
) -> Result<Vec<u8>, Damaged> {
    let mut streams: Vec<_> = segments.iter().map(|segment| segment.dictionary.from(b"")).collect();
    let mut heap = BinaryHeap::new();
    for (which, stream) in streams.iter_mut().enumerate() {
        if stream.advance(&segments[which].pages)? {
            heap.push(Reverse((stream.term().to_vec(), which)));
        }
    }
    let mut dictionary = DictionaryWriter::default();
    let (mut ordinals, mut old) = (Vec::new(), Vec::new());
    while let Some(Reverse((term, which))) = heap.pop() {
        ordinals.clear();
        let mut next = Some(which);
        while let Some(which) = next {
            let pages = &segments[which].pages;
            old.clear();
            postings::read_all(pages, streams[which].list(), &mut old)?;
            for ordinal in &old {
                let new = renumbered[which].get(*ordinal as usize);
                ordinals.push(*new.ok_or(Damaged::Content("an event is in no row"))?);
            }
            if streams[which].advance(pages)? {
                heap.push(Reverse((streams[which].term().to_vec(), which)));
            }
            next = heap
                .peek()
                .is_some_and(|Reverse((other, _))| *other == term)
                .then(|| heap.pop())
                .flatten()
                .map(|Reverse((_, which))| which);
        }
        ordinals.sort_unstable();
        dictionary.push(writer, &term, &ordinals)?;
    }
    Ok(dictionary.finish(writer)?)
}
