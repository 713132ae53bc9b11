//! Ids that follow from what they name.

use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::Id;

/// A UUID of version 8: what it holds is a hash.
pub(crate) fn uuid(hash: &Sha256) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Id(bytes).to_string()
}
