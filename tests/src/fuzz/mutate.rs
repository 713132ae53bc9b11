//! Inputs made from others by small changes, the same for the same seed.

use super::{MAX_INPUT, Target};

/// Changes that one input gets, at most.
const MAX_CHANGES: u64 = 6;
/// A piece that is removed, repeated or taken from another input.
const MAX_PIECE: u64 = 64;
/// What lengths and counters stumble over.
const EDGES: [u64; 10] = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// Makes inputs of a target's seeds.
#[derive(Debug)]
pub struct Mutator {
    state: u64,
    corpus: Vec<Vec<u8>>,
    words: &'static [&'static str],
}

impl Mutator {
    /// One that draws by `seed`.
    #[must_use]
    pub fn new(target: &Target, seed: u64) -> Self {
        Self { state: seed, corpus: (target.seeds)(), words: target.words }
    }

    /// The seeds as they are.
    #[must_use]
    pub fn corpus(&self) -> &[Vec<u8>] {
        &self.corpus
    }

    /// One more input.
    #[must_use]
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.other();
        for _ in 0..=self.below(MAX_CHANGES) {
            self.change(&mut input);
        }
        input.truncate(MAX_INPUT);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.place(input);
        let piece = at..at + self.below(MAX_PIECE.min((input.len() - at) as u64) + 1) as usize;
        match self.below(10) {
            0 => self.with_byte(input, at, |byte, draw| byte ^ (1 << (draw % 8))),
            1 => self.with_byte(input, at, |_, draw| draw as u8),
            2 => self.with_byte(input, at, |byte, draw| byte.wrapping_add((draw % 9) as u8).wrapping_sub(4)),
            3 => drop(input.drain(piece)),
            4 => {
                let copy = input[piece.clone()].to_vec();
                drop(input.splice(piece.end..piece.end, copy));
            }
            5 => input.truncate(at),
            6 => {
                let bytes = EDGES[self.below(EDGES.len() as u64) as usize].to_le_bytes();
                let width = 1 << self.below(4);
                let end = (at + width).min(input.len());
                input[at..end].copy_from_slice(&bytes[..end - at]);
            }
            7 if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len() as u64) as usize];
                drop(input.splice(piece, word.bytes()));
            }
            8 => {
                // A value for another: from one quote or comma to the next.
                let other = self.other();
                let from = self.place(&other);
                let end = other[from..].iter().position(|byte| b"\",}]".contains(byte));
                let end = from + end.unwrap_or(MAX_PIECE as usize).min(other.len() - from);
                drop(input.splice(piece, other[from..end].iter().copied()));
            }
            _ => {
                let other = self.other();
                let from = self.place(&other);
                let end = other.len().min(from + self.below(MAX_PIECE) as usize);
                drop(input.splice(piece, other[from..end].iter().copied()));
            }
        }
    }

    fn with_byte(&mut self, input: &mut [u8], at: usize, change: impl FnOnce(u8, u64) -> u8) {
        let draw = self.draw();
        if let Some(byte) = input.get_mut(at) {
            *byte = change(*byte, draw);
        }
    }

    fn other(&mut self) -> Vec<u8> {
        let chosen = self.below(self.corpus.len() as u64) as usize;
        self.corpus.get(chosen).cloned().unwrap_or_default()
    }

    /// A place in the input, or its end.
    fn place(&mut self, input: &[u8]) -> usize {
        self.below(input.len() as u64 + 1) as usize
    }

    fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_one_series_of_bounded_inputs() {
        let target = &super::super::TARGETS[0];
        let inputs = |seed| {
            let mut mutator = Mutator::new(target, seed);
            std::iter::repeat_with(move || mutator.input()).take(200).collect::<Vec<_>>()
        };
        let first = inputs(1);
        assert_eq!(first, inputs(1));
        assert_ne!(first, inputs(2));
        assert!(first.iter().all(|input| input.len() <= MAX_INPUT));
    }
}
