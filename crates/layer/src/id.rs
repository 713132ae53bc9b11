//! Event and source ids: UUIDs without a random number generator.
//!
//! [`RandomState`] takes its keys from the operating system's randomness. Two of them, that is two SipHash functions
//! whose keys nobody knows, are applied to one process-wide counter; their 128 bits of output are the id. Two ids of
//! one process come from two different counter values, two processes have different keys, so a collision is as likely
//! as between random UUIDs. A process that forks without `exec` would repeat ids, and has no sender thread either.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

struct Ids {
    high: RandomState,
    low: RandomState,
    counter: AtomicU64,
}

static IDS: LazyLock<Ids> =
    LazyLock::new(|| Ids { high: RandomState::new(), low: RandomState::new(), counter: AtomicU64::new(0) });

/// 64 bits that nobody outside can foresee. Not for keys.
#[cfg(feature = "grpc")]
pub(crate) fn random() -> u64 {
    IDS.low.hash_one(IDS.counter.fetch_add(1, Ordering::Relaxed))
}

/// A new id, in the form of a UUID version 4.
pub(crate) fn uuid() -> [u8; 16] {
    let count = IDS.counter.fetch_add(1, Ordering::Relaxed);
    let bits = u128::from(IDS.high.hash_one(count)) << 64 | u128::from(IDS.low.hash_one(count));
    let mut bytes = bits.to_be_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

/// The usual text of a UUID, lowercase with hyphens.
pub(crate) fn format(bytes: [u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn ids_are_version_4_uuids_and_differ() {
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let text = super::format(super::uuid());
            assert_eq!((text.len(), text.as_bytes()[14]), (36, b'4'), "{text}");
            assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{text}");
            assert!(seen.insert(text));
        }
    }
}
