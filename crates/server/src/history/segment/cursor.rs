//! Goes through the events of a segment that meet conditions, newest first.

use super::Segment;
use super::pages::Damaged;
use super::postings::{List, ListCursor, read_all};

/// The events of one condition, or of several at once; forward only.
#[derive(Debug)]
pub(crate) enum Cursor {
    /// All events.
    All,
    /// None.
    None,
    /// Those of one term.
    List(ListCursor),
    /// Those of any of many terms: a bit for each event.
    Bits(Vec<u64>),
    /// Those that all of these have.
    And(Vec<Cursor>),
}

impl Cursor {
    /// Those with this term.
    pub(crate) fn term(segment: &Segment, term: &[u8]) -> Result<Self, Damaged> {
        let found = segment.dictionary.find(&segment.pages, term)?;
        Ok(found.map_or(Self::None, |list| Self::List(ListCursor::new(list))))
    }

    /// Those with any of these terms, or one that lies in a range: from its first to its last, by their beginnings, so
    /// that what begins with the last is in it. It takes at most a bit an event in memory.
    pub(crate) fn any(
        segment: &Segment,
        terms: &[Vec<u8>],
        ranges: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<Self, Damaged> {
        let mut union = Union::new(segment);
        for term in terms {
            if let Some(list) = segment.dictionary.find(&segment.pages, term)? {
                union.add(list)?;
            }
        }
        for (first, last) in ranges {
            let mut terms = segment.dictionary.from(first);
            while terms.advance(&segment.pages)? {
                let term = terms.term();
                if term > &last[..] && !term.starts_with(last) {
                    break;
                }
                if term >= &first[..] {
                    union.add(terms.list())?;
                }
            }
        }
        Ok(union.cursor())
    }

    /// Those that all of these have.
    pub(crate) fn and(mut cursors: Vec<Self>) -> Self {
        if cursors.iter().any(|cursor| matches!(cursor, Self::None)) {
            return Self::None;
        }
        cursors.retain(|cursor| !matches!(cursor, Self::All));
        match cursors.len() {
            0 => Self::All,
            1 => cursors.remove(0),
            _ => Self::And(cursors),
        }
    }

    /// The first event that is at least `least`.
    pub(crate) fn seek(&mut self, segment: &Segment, least: u32) -> Result<Option<u32>, Damaged> {
        match self {
            Self::None => Ok(None),
            Self::All => Ok((least < segment.count()).then_some(least)),
            Self::List(list) => list.seek(&segment.pages, least),
            Self::Bits(bits) => Ok(next_bit(bits, least)),
            Self::And(cursors) => {
                let mut candidate = least;
                'again: loop {
                    for cursor in &mut *cursors {
                        match cursor.seek(segment, candidate)? {
                            None => return Ok(None),
                            Some(found) if found > candidate => {
                                candidate = found;
                                continue 'again;
                            }
                            Some(_) => {}
                        }
                    }
                    return Ok(Some(candidate));
                }
            }
        }
    }
}

/// A bit for each event that any of the lists has.
struct Union<'a> {
    segment: &'a Segment,
    bits: Vec<u64>,
    ordinals: Vec<u32>,
    /// While there is but one list, it stays one.
    only: Option<List>,
    lists: usize,
}

impl<'a> Union<'a> {
    fn new(segment: &'a Segment) -> Self {
        Self { segment, bits: Vec::new(), ordinals: Vec::new(), only: None, lists: 0 }
    }

    fn add(&mut self, list: List) -> Result<(), Damaged> {
        self.lists += 1;
        if self.lists == 1 {
            self.only = Some(list);
            return Ok(());
        }
        if let Some(first) = self.only.take() {
            self.bits = vec![0; (self.segment.count() as usize).div_ceil(64)];
            self.set(first)?;
        }
        self.set(list)
    }

    fn set(&mut self, list: List) -> Result<(), Damaged> {
        self.ordinals.clear();
        read_all(&self.segment.pages, list, &mut self.ordinals)?;
        for ordinal in &self.ordinals {
            let word = self.bits.get_mut((ordinal / 64) as usize);
            *word.ok_or(Damaged::Content("an event is in no row"))? |= 1 << (ordinal % 64);
        }
        Ok(())
    }

    fn cursor(self) -> Cursor {
        match (self.only, self.lists) {
            (_, 0) => Cursor::None,
            (Some(list), _) => Cursor::List(ListCursor::new(list)),
            (None, _) => Cursor::Bits(self.bits),
        }
    }
}

fn next_bit(bits: &[u64], least: u32) -> Option<u32> {
    let mut word = (least / 64) as usize;
    let mut left = bits.get(word)? & (u64::MAX << (least % 64));
    loop {
        if left != 0 {
            // A segment has fewer than 2^32 events.
            return u32::try_from(word * 64).ok().map(|base| base + left.trailing_zeros());
        }
        word += 1;
        left = *bits.get(word)?;
    }
}
