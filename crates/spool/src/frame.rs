//! The bytes of a frame.

use crate::Position;

/// The most bytes of a frame's meta part.
pub const MAX_META: usize = 64 << 10;
/// The most bytes of a frame's body.
pub const MAX_BODY: usize = 16 << 20;

/// The bytes before meta and body.
pub(crate) const HEADER: usize = 24;
/// The most bytes of a whole frame.
pub(crate) const MAX_FRAME: u64 = (HEADER + MAX_META + MAX_BODY) as u64;

pub(crate) const MAGIC: [u8; 4] = [0xf5, b'S', b'T', b'F'];

/// What the first bytes of a frame say. One that was decoded can be trusted: it has a checksum of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) meta_len: u32,
    pub(crate) body_len: u32,
    /// Up to where the segment was durable when the frame was written.
    pub(crate) durable: u32,
    checksum: u32,
}

/// The size on disk.
pub(crate) fn len(meta: &[u8], body: &[u8]) -> u64 {
    (HEADER + meta.len() + body.len()) as u64
}

/// A checksum of the same bytes differs from segment to segment, so that what a recycled file held before is never
/// taken for a frame.
pub(crate) fn seed(segment: u64) -> u32 {
    crc32c::crc32c(&segment.to_le_bytes())
}

/// And the checksum of a header differs from place to place: a frame that was copied into a body is not a frame.
fn header_checksum(bytes: &[u8], at: Position) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed(at.segment), &at.offset.to_le_bytes()), bytes)
}

/// Appends the frame to `out`. The caller keeps to the limits.
pub(crate) fn encode(out: &mut Vec<u8>, at: Position, durable: u64, meta: &[u8], body: &[u8]) {
    debug_assert!(meta.len() <= MAX_META && body.len() <= MAX_BODY && durable <= at.offset);
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&(durable as u32).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c_append(seed(at.segment), meta), body);
    out.extend_from_slice(&checksum.to_le_bytes());
    let checksum = header_checksum(&out[start..], at);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(meta);
    out.extend_from_slice(body);
}

impl Header {
    /// The header at the start of `bytes`, if there is one that belongs at this place.
    pub(crate) fn decode(bytes: &[u8], at: Position) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER>()?;
        if bytes[..4] != MAGIC || header_checksum(&bytes[..20], at) != word(bytes, 20) {
            return None;
        }
        let header = Self {
            meta_len: word(bytes, 4),
            body_len: word(bytes, 8),
            durable: word(bytes, 12),
            checksum: word(bytes, 16),
        };
        let sound = header.meta_len as usize <= MAX_META
            && header.body_len as usize <= MAX_BODY
            && u64::from(header.durable) <= at.offset;
        sound.then_some(header)
    }

    /// The size of the whole frame.
    pub(crate) fn frame_len(&self) -> usize {
        HEADER + self.meta_len as usize + self.body_len as usize
    }

    /// Whether meta and body, in one piece, are what was written.
    pub(crate) fn matches(&self, segment: u64, payload: &[u8]) -> bool {
        crc32c::crc32c_append(seed(segment), payload) == self.checksum
    }
}

fn word(bytes: &[u8; HEADER], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position::new(7, 4096);

    fn encoded() -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, AT, 1000, b"meta", b"and body");
        bytes
    }

    #[test]
    fn round_trip() {
        let bytes = encoded();
        let header = Header::decode(&bytes, AT).unwrap();
        assert_eq!((header.meta_len, header.body_len, header.durable), (4, 8, 1000));
        assert_eq!(header.frame_len(), bytes.len());
        assert!(header.matches(AT.segment, &bytes[HEADER..]));
    }

    /// The format is a promise: bytes that were written stay readable.
    #[test]
    fn golden() {
        let hex: String = encoded().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "f55354460400000008000000e803000075509a31ade45ab66d657461616e6420626f6479");
    }

    #[test]
    fn every_bit_counts() {
        let good = encoded();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let header = Header::decode(&bytes, AT);
            let sound = header.is_some_and(|header| header.matches(AT.segment, &bytes[HEADER..]));
            assert!(!sound, "bit {bit}");
            assert_eq!(header.is_none(), bit < HEADER * 8, "bit {bit}");
        }
    }

    #[test]
    fn belongs_to_one_place() {
        let bytes = encoded();
        assert!(Header::decode(&bytes, Position::new(8, 4096)).is_none());
        assert!(Header::decode(&bytes, Position::new(7, 4097)).is_none());
        assert!(!Header::decode(&bytes, AT).unwrap().matches(8, &bytes[HEADER..]));
    }
}
