//! Terms by number, while a segment is built: each is kept once, but for those that are rarely there twice.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

/// Terms in one piece of memory, and their numbers.
#[derive(Debug, Default)]
pub(super) struct Interner {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Interner {
    /// The number of a term, a new one if it has none yet.
    pub(super) fn number(&mut self, term: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(term);
        let (bytes, ends, hasher) = (&self.bytes, &self.ends, &self.hasher);
        let is_it = |number: &u32| get(bytes, ends, *number) == term;
        let place = match self.numbers.entry(hash, is_it, |number| hasher.hash_one(get(bytes, ends, *number)))
        {
            Entry::Occupied(found) => return *found.get(),
            Entry::Vacant(place) => place,
        };
        // A segment is finished long before there are so many terms, or bytes of them.
        let number = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        place.insert(number);
        self.next(term)
    }

    /// The next number, for a term that hardly ever is there already: it is not looked for, and may have others.
    pub(super) fn next(&mut self, term: &[u8]) -> u32 {
        // As above.
        let number = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(term);
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        number
    }

    pub(super) fn term(&self, number: u32) -> &[u8] {
        get(&self.bytes, &self.ends, number)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        self.bytes.len() + self.ends.len() * 4 + self.numbers.capacity() * 5
    }
}

fn get<'a>(bytes: &'a [u8], ends: &[u32], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = number.checked_sub(1).map_or(0, |before| ends[before]);
    &bytes[start as usize..ends[number] as usize]
}
