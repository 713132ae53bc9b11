//! Makes a segment of events, in whatever order they come.

use std::io;
use std::path::Path;

use super::dictionary::DictionaryWriter;
use super::intern::Interner;
use super::pages::PageWriter;
use super::records::{Place, RecordWriter};
use super::rows::Row;
use super::{Partition, Source, Tail};
use crate::history::event::Event;
use crate::history::key::Key;

/// Events after which a segment is full, while it is built in memory.
const MAX_EVENTS: usize = 1 << 17;
/// Bytes of memory after which it is full: what is left of the budget goes to those who read log files.
const MAX_MEMORY: usize = 96 << 20;

/// A segment in the making. Its records are on disk already, the rest is in memory.
#[derive(Debug)]
pub(crate) struct Builder {
    writer: PageWriter,
    records: RecordWriter,
    partition: Partition,
    files: Vec<Source>,
    events: Vec<(Key, u32, Place)>,
    terms: Interner,
    /// The numbers of the terms of all events, and where those of each end.
    numbers: Vec<u32>,
    ends: Vec<u32>,
    term: Vec<u8>,
}

impl Builder {
    /// Begins a segment at `path`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn create(path: &Path, partition: Partition) -> io::Result<Self> {
        Ok(Self {
            writer: PageWriter::create(path)?,
            records: RecordWriter::new()?,
            partition,
            files: Vec::new(),
            events: Vec::new(),
            terms: Interner::default(),
            numbers: Vec::new(),
            ends: Vec::new(),
            term: Vec::new(),
        })
    }

    /// Adds an event of a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn push(&mut self, event: &Event<'_>, key: Key, file: Source) -> io::Result<()> {
        if self.files.last() != Some(&file) {
            self.files.push(file);
        }
        let place = self.records.push(&mut self.writer, event.record.as_bytes())?;
        // There are no more files than events, and of these a bounded number.
        let file = u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX);
        self.events.push((key, file, place));
        let start = self.numbers.len();
        let (terms, numbers, bytes) = (&mut self.terms, &mut self.numbers, &mut self.term);
        event.terms(&mut |term| {
            bytes.clear();
            term.write(bytes);
            // Of these most would be looked for in vain, in a table that they make too large for a processor's cache.
            let number = if term.is_rare() { terms.next(bytes) } else { terms.number(bytes) };
            if !numbers[start..].contains(&number) {
                numbers.push(number);
            }
        });
        self.ends.push(u32::try_from(self.numbers.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Whether it is time to finish it.
    pub(crate) fn is_full(&self) -> bool {
        self.events.len() >= MAX_EVENTS || self.terms.memory() + self.numbers.len() * 4 > MAX_MEMORY
    }

    /// The keys of its events.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.events.iter().map(|(key, _, _)| *key)
    }

    /// The files that its events are from; some may repeat.
    pub(crate) fn files(&self) -> &[Source] {
        &self.files
    }

    /// Completes the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.records.flush(&mut self.writer)?;
        let rows_offset = self.writer.position();
        let mut order: Vec<u32> = (0..).take(self.events.len()).collect();
        order.sort_unstable_by(|one, other| {
            let place = |at: &u32| (self.events[*at as usize].0, self.events[*at as usize].2);
            place(other).cmp(&place(one))
        });
        for at in &order {
            let (key, file, place) = self.events[*at as usize];
            self.writer.write(&Row { key, file, place }.to_bytes())?;
        }
        let keys: Vec<Key> = order.iter().map(|at| self.events[*at as usize].0).collect();
        let index = self.write_terms(&order)?;
        let tail = Tail::new(self.partition, rows_offset, &keys);
        tail.write(&mut self.writer, &self.files, &index)?;
        self.writer.finish()
    }

    /// Inverts the lists of terms: each term's rows, in the order of rows, without sorting more than the terms.
    fn write_terms(&mut self, order: &[u32]) -> io::Result<Vec<u8>> {
        let mut starts = vec![0_u32; self.terms.len() + 1];
        for number in &self.numbers {
            starts[*number as usize + 1] += 1;
        }
        for number in 0..self.terms.len() {
            starts[number + 1] += starts[number];
        }
        let mut next = starts.clone();
        let mut ordinals = vec![0_u32; self.numbers.len()];
        for (ordinal, at) in (0_u32..).zip(order) {
            let at = *at as usize;
            let start = at.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
            for number in &self.numbers[start..self.ends[at] as usize] {
                let place = &mut next[*number as usize];
                ordinals[*place as usize] = ordinal;
                *place += 1;
            }
        }
        // Most terms differ early: with what they begin with at hand, few have to be looked up to be compared.
        let begin = |number| (beginning(self.terms.term(number)), number);
        let mut sorted: Vec<(u64, u32)> = (0..).take(self.terms.len()).map(begin).collect();
        sorted.sort_unstable_by(|one, other| {
            one.0.cmp(&other.0).then_with(|| self.terms.term(one.1).cmp(self.terms.term(other.1)))
        });
        let mut dictionary = DictionaryWriter::default();
        let mut all = Vec::new();
        for same in sorted
            .chunk_by(|one, other| one.0 == other.0 && self.terms.term(one.1) == self.terms.term(other.1))
        {
            let term = self.terms.term(same[0].1);
            let of = |number: u32| {
                &ordinals[starts[number as usize] as usize..starts[number as usize + 1] as usize]
            };
            if let [(_, number)] = same {
                dictionary.push(&mut self.writer, term, of(*number))?;
            } else {
                all.clear();
                same.iter().for_each(|(_, number)| all.extend_from_slice(of(*number)));
                all.sort_unstable();
                all.dedup();
                dictionary.push(&mut self.writer, term, &all)?;
            }
        }
        dictionary.finish(&mut self.writer)
    }
}

/// The first bytes of a term, so that terms are in the order of these wherever these differ.
fn beginning(term: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = term.len().min(first.len());
    first[..length].copy_from_slice(&term[..length]);
    u64::from_be_bytes(first)
}
