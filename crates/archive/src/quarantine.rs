//! Quarantine objects: a frame of a spool that could not be understood, as it was, behind one line that says why.
//!
//! ```text
//! {"collector":"…","trail":"…","position":"7:4096","reason":"…","meta":57,"body":1024}⏎
//! <57 bytes of meta><1024 bytes of body>
//! ```

use serde::{Deserialize, Serialize};

use crate::hash::{Hasher, Sha256};
use crate::key::{Id, Trail};

/// The most bytes of the first line.
const MAX_HEADER: usize = 1024;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The collector whose spool it was in.
    pub collector: Id,
    /// The trail that came across it.
    pub trail: Trail,
    /// Where it was, `segment:offset`.
    pub position: String,
    /// What could not be understood.
    pub reason: String,
    /// Bytes of the frame's meta, which follow the line.
    pub meta: u64,
    /// Bytes of its body, which follow that.
    pub body: u64,
}

/// Renders an object.
///
/// # Errors
/// If the header cannot be written as JSON.
pub fn render(header: &Header, meta: &[u8], body: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut object = serde_json::to_vec(header)?;
    object.reserve_exact(1 + meta.len() + body.len());
    object.push(b'\n');
    object.extend_from_slice(meta);
    object.extend_from_slice(body);
    Ok(object)
}

/// Takes an object apart: the header, the meta and the body. `None` if it is not one.
#[must_use]
pub fn read(object: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let end = object.iter().take(MAX_HEADER).position(|byte| *byte == b'\n')?;
    let header: Header = serde_json::from_slice(&object[..end]).ok()?;
    let frame = &object[end + 1..];
    let (meta, body) = frame.split_at_checked(usize::try_from(header.meta).ok()?)?;
    (body.len() as u64 == header.body).then_some((header, meta, body))
}

/// What names a frame: the SHA-256 of meta and body.
#[must_use]
pub fn digest(meta: &[u8], body: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(meta);
    hasher.update(body);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_gives_the_frame_back() {
        let header = Header {
            collector: Id([1; 16]),
            trail: Trail::new("default").unwrap(),
            position: "7:4096".to_owned(),
            reason: "no\nsense".to_owned(),
            meta: 4,
            body: 5,
        };
        let object = render(&header, b"me\nta", b"body").unwrap();
        assert!(read(&object).is_some_and(|(_, meta, body)| (meta, body) == (b"me\nt", b"abody")));
        assert_eq!(read(&object[..object.len() - 1]), None);
        assert_eq!(read(b"{}\n"), None);
        assert_eq!(read(&[b'{'; 4096]), None);
    }
}
