//! The sixteen messages of [`super`] at once, with AVX-512.
//!
//! It takes the instructions of the first processors that had it (x86-64-v4); those that came next hash in hardware.

use std::array;

use archmage::prelude::*;

use super::{BLOCK, K, States, WIDTH};

/// Takes in so many blocks of each message, from the beginning of its `data`.
#[arcane(import_intrinsics)]
pub(super) fn compress(_vectors: X64V4Token, states: &mut States, data: &[&[u8]; WIDTH], blocks: usize) {
    let mut state: [__m512i; 8] = array::from_fn(|word| _mm512_loadu_si512(&states[word]));
    for block in 0..blocks {
        let mut schedule = load(data, block * BLOCK);
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for round in (0..64).step_by(16) {
            for t in 0..16 {
                if round > 0 {
                    let (x, y) = (schedule[(t + 1) % 16], schedule[(t + 14) % 16]);
                    let sigma0 =
                        xor(_mm512_ror_epi32::<7>(x), _mm512_ror_epi32::<18>(x), _mm512_srli_epi32::<3>(x));
                    let sigma1 =
                        xor(_mm512_ror_epi32::<17>(y), _mm512_ror_epi32::<19>(y), _mm512_srli_epi32::<10>(y));
                    schedule[t] = add(add(schedule[t], sigma0), add(schedule[(t + 9) % 16], sigma1));
                }
                let k = _mm512_set1_epi32(K[round + t].cast_signed());
                let sum1 =
                    xor(_mm512_ror_epi32::<6>(e), _mm512_ror_epi32::<11>(e), _mm512_ror_epi32::<25>(e));
                let choice = _mm512_ternarylogic_epi32::<CHOICE>(e, f, g);
                let t1 = add(add(h, sum1), add(choice, add(schedule[t], k)));
                let sum0 =
                    xor(_mm512_ror_epi32::<2>(a), _mm512_ror_epi32::<13>(a), _mm512_ror_epi32::<22>(a));
                let majority = _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c);
                (h, g, f, e) = (g, f, e, add(d, t1));
                (d, c, b, a) = (c, b, a, add(t1, add(sum0, majority)));
            }
        }
        for (state, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *state = add(*state, word);
        }
    }
    for (words, state) in states.iter_mut().zip(state) {
        _mm512_storeu_si512(words, state);
    }
}

/// What a bit is for each of the eight values that three bits may have.
const CHOICE: i32 = 0b1100_1010;
const MAJORITY: i32 = 0b1110_1000;
const XOR: i32 = 0b1001_0110;

#[rite(v4, import_intrinsics)]
fn xor(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<XOR>(x, y, z)
}

#[rite(v4, import_intrinsics)]
fn add(x: __m512i, y: __m512i) -> __m512i {
    _mm512_add_epi32(x, y)
}

/// The words of the block of each message at byte `at`.
#[rite(v4, import_intrinsics)]
fn load(data: &[&[u8]; WIDTH], at: usize) -> [__m512i; 16] {
    let big_endian = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    let mut rows: [__m512i; 16] = array::from_fn(|lane| {
        // There is a block. Were there none, its hash would be no file's.
        let block = data[lane][at..].first_chunk::<BLOCK>().unwrap_or(&[0; BLOCK]);
        _mm512_shuffle_epi8(_mm512_loadu_si512(block), big_endian)
    });
    for _ in 0..4 {
        rows = array::from_fn(|row| {
            let halves = if row % 2 == 0 { low } else { high };
            _mm512_permutex2var_epi32(rows[row / 2], halves, rows[row / 2 + 8])
        });
    }
    rows
}
