//! Keys and MACs.

use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};

use super::{Secret, TERMINATOR};

fn mac(key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    Hmac::<Sha256>::new_from_slice(key).expect("a key of any length")
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    mac(key).chain_update(text).finalize().into_bytes().into()
}

/// What a request of that day, region and service is signed with.
pub(super) fn signing_key(secret: &Secret, date: &str, region: &str, service: &str) -> [u8; 32] {
    let mut key = hmac(format!("AWS4{}", secret.expose()).as_bytes(), date.as_bytes());
    for part in [region, service, TERMINATOR] {
        key = hmac(&key, part.as_bytes());
    }
    key
}

pub(super) fn signature(key: &[u8; 32], to_sign: &str) -> [u8; 32] {
    hmac(key, to_sign.as_bytes())
}

/// Whether a signature is right, in a time that does not depend on how much of it is.
pub(super) fn verify(key: &[u8; 32], to_sign: &str, signature: &[u8]) -> bool {
    mac(key).chain_update(to_sign).verify_slice(signature).is_ok()
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    // MACs under the same key are the same if, and for all practical purposes only if, the texts are.
    let key = b"same";
    mac(key).chain_update(one).verify_slice(&hmac(key, other)).is_ok()
}

pub(super) fn hex_sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
