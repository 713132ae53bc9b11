//! Finds the records of a log file without parsing it.
//!
//! Hash and signature already say that the bytes are the writer's; what is left to know is where records begin and end. For
//! that, brackets outside of strings are enough. They are found 64 bytes at a time with bit masks: a mask has one bit a
//! byte, and a running exclusive-or over the mask of quotes is the mask of what lies inside strings.

use std::ops::ControlFlow;

use fearless_simd::{Level, Simd, SimdBase as _, SimdMask as _, dispatch, u8x64};

use crate::log::{HEAD, TAIL};

/// Bytes that are looked at together.
const BLOCK: usize = 64;
/// The object and the array that records are in.
const DEPTH: i64 = 2;

/// Counts the objects in the array of `{"Records":[…]}`.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    records: u64,
    brackets: Brackets,
    head: Vec<u8>,
    tail: [u8; 2],
}

impl Counter {
    /// Feeds the next bytes. Every call but the last one takes a multiple of [`BLOCK`] bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let missing = HEAD.len() - self.head.len();
        self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        for byte in &bytes[bytes.len().saturating_sub(TAIL.len())..] {
            self.tail = [self.tail[1], *byte];
        }
        let Self { records, brackets, .. } = self;
        let mut count = |edge, _| {
            *records += u64::from(edge == Edge::Begin);
            ControlFlow::<()>::Continue(())
        };
        // It never breaks off.
        let _ = dispatch!(Level::new(), simd => brackets.feed(simd, bytes, &mut count));
    }

    /// The number of records, if what was fed has the shape of a log file.
    pub(crate) fn finish(&self) -> Option<u64> {
        let is_whole = self.head == HEAD && self.tail == TAIL && self.brackets.are_closed();
        is_whole.then_some(self.records)
    }
}

/// Shows `each` object in the array of `{"Records":[…]}`, exactly as it stands there; returns how many there were, or what
/// `each` broke off with. `None` if `content` does not have that shape, after what was shown of it until then.
pub(crate) fn split<'a, B>(
    content: &'a str,
    mut each: impl FnMut(&'a str) -> ControlFlow<B>,
) -> Option<ControlFlow<B, u64>> {
    let bytes = content.as_bytes();
    if !bytes.starts_with(HEAD) || !bytes.ends_with(TAIL) {
        return None;
    }
    let (mut brackets, mut records, mut begin) = (Brackets::default(), 0, 0);
    let mut cut = |edge, at: usize| match edge {
        Edge::Begin => {
            begin = at;
            ControlFlow::Continue(())
        }
        Edge::End => {
            records += 1;
            // Brackets are never in the middle of a character.
            content.get(begin..=at).map_or(ControlFlow::Continue(()), &mut each)
        }
    };
    match dispatch!(Level::new(), simd => brackets.feed(simd, bytes, &mut cut)) {
        ControlFlow::Break(broken) => Some(ControlFlow::Break(broken)),
        ControlFlow::Continue(()) => brackets.are_closed().then_some(ControlFlow::Continue(records)),
    }
}

/// Where a record begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Begin,
    End,
}

/// How deep brackets are nested.
#[derive(Debug, Default)]
struct Brackets {
    depth: i64,
    /// How often the outermost one was closed.
    closed: u64,
    in_string: bool,
    escaped: bool,
}

impl Brackets {
    /// Whether it was one object, and it has ended.
    fn are_closed(&self) -> bool {
        !self.in_string && self.depth == 0 && self.closed == 1
    }

    /// Goes over the next bytes, and tells `edge` of each begin and end of a record, and at which of the bytes that is.
    #[inline(always)]
    fn feed<S: Simd, B>(
        &mut self,
        simd: S,
        bytes: &[u8],
        edge: &mut impl FnMut(Edge, usize) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        for (number, block) in blocks.iter().enumerate() {
            self.block(&Masks::of(simd, block), number * BLOCK, edge)?;
        }
        if !rest.is_empty() {
            let mut block = [0; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            self.block(&Masks::of(simd, &block), bytes.len() - rest.len(), edge)?;
        }
        ControlFlow::Continue(())
    }

    #[inline(always)]
    fn block<B>(
        &mut self,
        masks: &Masks,
        start: usize,
        edge: &mut impl FnMut(Edge, usize) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let quotes = masks.quotes & !self.escaped(masks.backslashes);
        let strings = running_xor(quotes) ^ if self.in_string { u64::MAX } else { 0 };
        self.in_string = strings >> 63 == 1;

        let (opening, closing) = (masks.opening & !strings, masks.closing & !strings);
        let closed = i64::from(closing.count_ones());
        if self.depth - closed > DEPTH {
            // Nowhere in the block does it get as low as where records begin and end.
            self.depth += i64::from(opening.count_ones()) - closed;
            return ControlFlow::Continue(());
        }
        let mut brackets = opening | closing;
        while brackets != 0 {
            let at = brackets.trailing_zeros();
            let bit = 1 << at;
            brackets ^= bit;
            if opening & bit != 0 {
                self.depth += 1;
                if self.depth == DEPTH + 1 {
                    edge(Edge::Begin, start + at as usize)?;
                }
            } else {
                self.depth -= 1;
                self.closed += u64::from(self.depth == 0);
                if self.depth == DEPTH {
                    edge(Edge::End, start + at as usize)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// The mask of bytes that a backslash takes their meaning from.
    #[inline(always)]
    fn escaped(&mut self, backslashes: u64) -> u64 {
        let mut escaped = u64::from(self.escaped);
        let mut left = backslashes & !escaped;
        self.escaped = false;
        while left != 0 {
            let at = left.trailing_zeros();
            if at == 63 {
                self.escaped = true;
                break;
            }
            escaped |= 2 << at;
            left &= !(3 << at);
        }
        escaped
    }
}

/// Which bytes of a block are what; bit 0 is the first byte.
struct Masks {
    quotes: u64,
    backslashes: u64,
    /// Brackets and braces.
    opening: u64,
    closing: u64,
}

impl Masks {
    #[inline(always)]
    fn of<S: Simd>(simd: S, block: &[u8; BLOCK]) -> Self {
        let bytes = u8x64::load_array_ref(simd, block);
        // Brackets and braces differ by the bit 0x20 only, and no other byte becomes one of them by setting it.
        let folded = bytes | 0x20;
        Self {
            quotes: bytes.simd_eq(b'"').to_bitmask(),
            backslashes: bytes.simd_eq(b'\\').to_bitmask(),
            opening: folded.simd_eq(b'{').to_bitmask(),
            closing: folded.simd_eq(b'}').to_bitmask(),
        }
    }
}

/// Each bit becomes the exclusive-or of itself and all below it.
#[inline(always)]
fn running_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(content: &[u8], piece: usize) -> Option<u64> {
        let mut counter = Counter::default();
        content.chunks(piece).for_each(|piece| counter.feed(piece));
        counter.finish()
    }

    #[test]
    fn only_the_shape_of_a_log_file_counts() {
        let check = |text: &str, expected| assert_eq!(count(text.as_bytes(), 64), expected, "{text}");
        check(r#"{"Records":[]}"#, Some(0));
        check(r#"{"Records":[{}]}"#, Some(1));
        check(r#"{"Records":[{"a":"]}{[\"\\"},{"b":[{},{}]}]}"#, Some(2));
        check("", None);
        check(r#"{"Records":["#, None);
        check(r#"{"records":[]}"#, None);
        check(r#"{"Records":[]} "#, None);
        check(r#"{"Records":[]}{"a":[]}"#, None);
        check(r#"{"Records":[{"a":"]}"#, None);
        check(r#"{"Records":[{]}"#, None);
    }

    #[test]
    fn splitting_ends_when_it_is_enough() {
        let content = r#"{"Records":[{"a":"}"},{"b":[{}]},{}]}"#;
        let mut seen = Vec::new();
        let outcome = split(content, |record| {
            seen.push(record);
            if seen.len() == 2 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
        });
        assert_eq!(outcome, Some(ControlFlow::Break("enough")));
        assert_eq!(seen, [r#"{"a":"}"}"#, r#"{"b":[{}]}"#]);
        for other in ["", "[]", r#"{"Records":[{]}"#, r#"{"Records":[{"a":"]}"#, r#" {"Records":[{}]}"#] {
            assert_eq!(split(other, |_| ControlFlow::<()>::Continue(())), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_parser(
            strings in proptest::collection::vec("[a\"\\\\{}\\[\\]é]{0,90}", 0..12),
            blocks in 1_usize..4,
        ) {
            let records: Vec<_> = strings
                .iter()
                .map(|text| serde_json::json!({text.as_str(): [{"n": 1}, text, [text]]}).to_string())
                .collect();
            let content = format!(r#"{{"Records":[{}]}}"#, records.join(","));
            prop_assert_eq!(count(content.as_bytes(), 64 * blocks), Some(records.len() as u64));
            let mut seen = Vec::new();
            let whole = split(&content, |record| {
                seen.push(record.to_owned());
                ControlFlow::<()>::Continue(())
            });
            prop_assert_eq!(whole, Some(ControlFlow::Continue(records.len() as u64)));
            prop_assert_eq!(seen, records);
        }
    }
}
