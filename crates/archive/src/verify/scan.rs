//! Counts the records of a log file without parsing it.
//!
//! Hash and signature already say that the bytes are the writer's; what is left to check is that their number is the one
//! stated. For that, brackets outside of strings are enough. They are found 64 bytes at a time with bit masks: a mask has
//! one bit a byte, and a running exclusive-or over the mask of quotes is the mask of what lies inside strings.

use fearless_simd::{Level, Simd, SimdBase as _, SimdMask as _, dispatch, u8x64};

use crate::log::{HEAD, TAIL};

/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// Counts the objects in the array of `{"Records":[…]}`.
#[derive(Debug, Default)]
pub(super) struct Counter {
    records: u64,
    depth: i64,
    /// How often the outermost bracket was closed.
    closed: u64,
    in_string: bool,
    escaped: bool,
    head: Vec<u8>,
    tail: [u8; 2],
}

impl Counter {
    /// Feeds the next bytes. Every call but the last one takes a multiple of [`BLOCK`] bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let missing = HEAD.len() - self.head.len();
        self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        for byte in &bytes[bytes.len().saturating_sub(TAIL.len())..] {
            self.tail = [self.tail[1], *byte];
        }
        dispatch!(Level::new(), simd => self.blocks(simd, bytes));
    }

    #[inline(always)]
    fn blocks<S: Simd>(&mut self, simd: S, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        for block in blocks {
            self.block(&Masks::of(simd, block));
        }
        if !rest.is_empty() {
            let mut block = [0; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            self.block(&Masks::of(simd, &block));
        }
    }

    /// The number of records, if what was fed has the shape of a log file.
    pub(super) fn finish(&self) -> Option<u64> {
        let whole =
            self.head == HEAD && self.tail == TAIL && !self.in_string && self.depth == 0 && self.closed == 1;
        whole.then_some(self.records)
    }

    #[inline(always)]
    fn block(&mut self, masks: &Masks) {
        let quotes = masks.quotes & !self.escaped(masks.backslashes);
        let strings = running_xor(quotes) ^ if self.in_string { u64::MAX } else { 0 };
        self.in_string = strings >> 63 == 1;

        let (opening, closing) = (masks.opening & !strings, masks.closing & !strings);
        let closed = i64::from(closing.count_ones());
        if self.depth - closed > 2 {
            // Nowhere in the block does it get as low as where records begin and end.
            self.depth += i64::from(opening.count_ones()) - closed;
            return;
        }
        let mut brackets = opening | closing;
        while brackets != 0 {
            let bit = brackets & brackets.wrapping_neg();
            brackets ^= bit;
            if opening & bit != 0 {
                self.records += u64::from(self.depth == 2);
                self.depth += 1;
            } else {
                self.depth -= 1;
                self.closed += u64::from(self.depth == 0);
            }
        }
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
        }
    }
}
