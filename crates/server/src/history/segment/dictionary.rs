//! The terms of a segment in order, each with its events.
//!
//! ```text
//! terms = (list* block)*                    ; the lists of a block's terms, then the block
//! block = entry*                            ; some 4 KiB
//! entry = bytes in common with the term before · length of the rest · rest · count · list
//! list  = the ordinal, if count is 1        ; or else offset · length
//! index = (length of the first term · first term · offset · length)*   ; one for each block, kept in memory
//! ```

use std::io;

use super::pages::{Damaged, PageWriter, Pages};
use super::postings::{self, List};
use super::varint::{read as number, take, write as put};

/// A block is complete when it has so many bytes.
const BLOCK: usize = 4 << 10;

/// Writes terms, which come in order.
#[derive(Debug, Default)]
pub(super) struct DictionaryWriter {
    block: Vec<u8>,
    first: Vec<u8>,
    before: Vec<u8>,
    index: Vec<u8>,
    list: Vec<u8>,
}

impl DictionaryWriter {
    /// Adds a term and the ordinals of its events, ascending.
    pub(super) fn push(&mut self, writer: &mut PageWriter, term: &[u8], ordinals: &[u32]) -> io::Result<()> {
        if self.block.is_empty() {
            self.first.clear();
            self.first.extend_from_slice(term);
            self.before.clear();
        }
        let common = self.before.iter().zip(term).take_while(|(a, b)| a == b).count();
        put(common as u64, &mut self.block);
        put((term.len() - common) as u64, &mut self.block);
        self.block.extend_from_slice(&term[common..]);
        put(ordinals.len() as u64, &mut self.block);
        if let [ordinal] = ordinals {
            put(u64::from(*ordinal), &mut self.block);
        } else {
            self.list.clear();
            postings::write(ordinals, &mut self.list);
            put(writer.position(), &mut self.block);
            put(self.list.len() as u64, &mut self.block);
            writer.write(&self.list)?;
        }
        self.before.clear();
        self.before.extend_from_slice(term);
        if self.block.len() >= BLOCK { self.flush(writer) } else { Ok(()) }
    }

    fn flush(&mut self, writer: &mut PageWriter) -> io::Result<()> {
        put(self.first.len() as u64, &mut self.index);
        self.index.extend_from_slice(&self.first);
        put(writer.position(), &mut self.index);
        put(self.block.len() as u64, &mut self.index);
        writer.write(&self.block)?;
        self.block.clear();
        Ok(())
    }

    /// Writes what is left, and gives the index.
    pub(super) fn finish(mut self, writer: &mut PageWriter) -> io::Result<Vec<u8>> {
        if !self.block.is_empty() {
            self.flush(writer)?;
        }
        Ok(self.index)
    }
}

/// Where the blocks are.
#[derive(Debug)]
pub(super) struct Dictionary {
    firsts: Vec<u8>,
    blocks: Vec<Block>,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    /// Where its first term begins among `firsts`.
    first: u32,
    length: u32,
    offset: u64,
}

impl Dictionary {
    pub(super) fn read(mut index: &[u8]) -> Result<Self, Damaged> {
        let mut dictionary = Self { firsts: Vec::new(), blocks: Vec::new() };
        let too_large = |_| Damaged::Content("an index is too large");
        while !index.is_empty() {
            let length = number(&mut index)?;
            let first = u32::try_from(dictionary.firsts.len()).map_err(too_large)?;
            dictionary.firsts.extend_from_slice(take(&mut index, length)?);
            let offset = number(&mut index)?;
            let length = u32::try_from(number(&mut index)?).map_err(too_large)?;
            dictionary.blocks.push(Block { first, length, offset });
        }
        Ok(dictionary)
    }

    fn first(&self, block: usize) -> &[u8] {
        let end = self.blocks.get(block + 1).map_or(self.firsts.len(), |next| next.first as usize);
        &self.firsts[self.blocks[block].first as usize..end]
    }

    /// The events of a term, if it has any.
    pub(super) fn find(&self, pages: &Pages, term: &[u8]) -> Result<Option<List>, Damaged> {
        let mut terms = self.from(term);
        while terms.advance(pages)? {
            match terms.term().cmp(term) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(terms.list())),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// All terms from the block on that would hold `term`: those before it have to be passed over.
    pub(super) fn from(&self, term: &[u8]) -> Terms<'_> {
        // The last block that begins with at most this.
        let (mut low, mut high) = (0, self.blocks.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.first(middle) <= term { low = middle + 1 } else { high = middle }
        }
        Terms {
            dictionary: self,
            next: low.saturating_sub(1),
            block: Vec::new(),
            at: 0,
            term: Vec::new(),
            list: List::One(0),
        }
    }

    /// Bytes in memory.
    pub(super) fn memory(&self) -> usize {
        self.firsts.len() + self.blocks.len() * size_of::<Block>()
    }
}

/// Goes through terms.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    dictionary: &'a Dictionary,
    next: usize,
    block: Vec<u8>,
    at: usize,
    term: Vec<u8>,
    list: List,
}

impl Terms<'_> {
    /// Goes on to the next term; `false` after the last.
    pub(super) fn advance(&mut self, pages: &Pages) -> Result<bool, Damaged> {
        if self.at == self.block.len() {
            let Some(block) = self.dictionary.blocks.get(self.next) else { return Ok(false) };
            self.block.clear();
            pages.read(block.offset, block.length as usize, &mut self.block)?;
            (self.at, self.next) = (0, self.next + 1);
            self.term.clear();
        }
        let mut bytes = &self.block[self.at..];
        let common = usize::try_from(number(&mut bytes)?).unwrap_or(usize::MAX);
        if common > self.term.len() {
            return Err(Damaged::Content("a term has too much in common"));
        }
        self.term.truncate(common);
        let rest = number(&mut bytes)?;
        self.term.extend_from_slice(take(&mut bytes, rest)?);
        let small = |number| u32::try_from(number).map_err(|_| Damaged::Content("a list is too large"));
        let count = small(number(&mut bytes)?)?;
        self.list = if count == 1 {
            List::One(small(number(&mut bytes)?)?)
        } else {
            let offset = number(&mut bytes)?;
            List::At { count, offset, length: small(number(&mut bytes)?)? }
        };
        self.at = self.block.len() - bytes.len();
        Ok(true)
    }

    pub(super) fn term(&self) -> &[u8] {
        &self.term
    }

    pub(super) fn list(&self) -> List {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::super::pages::PageCache;
    use super::*;

    #[test]
    fn terms_are_found_and_ranges_begin_where_they_should() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("terms");
        let mut writer = PageWriter::create(&path).unwrap();
        let mut dictionary = DictionaryWriter::default();
        let terms: Vec<String> = (0..3000).map(|at| format!("term-{:05}", at * 2)).collect();
        for (at, term) in terms.iter().enumerate() {
            let ordinals: Vec<u32> = (0..=at as u32 % 3).map(|more| at as u32 + more).collect();
            dictionary.push(&mut writer, term.as_bytes(), &ordinals).unwrap();
        }
        let index = dictionary.finish(&mut writer).unwrap();
        writer.finish().unwrap();
        let pages = Pages::open(&path, 1, PageCache::new()).unwrap();
        let dictionary = Dictionary::read(&index).unwrap();
        assert!(dictionary.blocks.len() > 5 && dictionary.memory() < index.len() * 3);
        for (at, term) in terms.iter().enumerate() {
            let list = dictionary.find(&pages, term.as_bytes()).unwrap().unwrap();
            let mut ordinals = Vec::new();
            postings::read_all(&pages, list, &mut ordinals).unwrap();
            assert_eq!(ordinals, (0..=at as u32 % 3).map(|more| at as u32 + more).collect::<Vec<_>>());
        }
        for absent in ["", "term-", "term-00001", "term-05999", "zzz"] {
            assert_eq!(dictionary.find(&pages, absent.as_bytes()).unwrap(), None, "{absent}");
        }
        let mut from = dictionary.from(b"term-04001");
        let mut seen = 0;
        while from.advance(&pages).unwrap() {
            seen += usize::from(from.term() > &b"term-04001"[..]);
        }
        assert_eq!(seen, 999);
        assert!(Dictionary::read(&index[..index.len() - 1]).is_err());
    }
}
