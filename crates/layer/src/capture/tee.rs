//! A bounded copy of a body, made while somebody else reads it.

use std::io::IoSlice;

use bytes::Buf;
use http::HeaderMap;
use sha2::{Digest, Sha256};
use sidetrail_record::limits;

#[cfg(feature = "grpc-messages")]
use super::grpc::{Frames, Shape};
use super::{
    Fields, Object, Pointer,
    kind::{self, BodyKind},
    multipart::Scanner,
};
use crate::redact::{Malformed, Redactor};

/// Pieces that a frame may be in. No server of today makes more than one.
const MAX_PIECES: usize = 16;

/// What is to be known of a body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// Up to how many bytes are copied; 0 where nothing is to be kept.
    pub(crate) cap: usize,
    /// Whether what is not recorded is hashed.
    pub(crate) hash: bool,
    /// Whether gRPC messages can be read.
    #[cfg(feature = "grpc-messages")]
    pub(crate) messages: bool,
}

/// Counts a body, and keeps a JSON one up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Tee {
    kind: BodyKind,
    /// For what is not recorded.
    content_type: Option<Box<str>>,
    plan: Plan,
    kept: Vec<u8>,
    digest: Option<Box<Sha256>>,
    parts: Option<Box<Scanner>>,
    #[cfg(feature = "grpc-messages")]
    frames: Frames,
    pub(crate) seen: u64,
    pub(crate) ended: bool,
    /// A frame was in more pieces than can be looked at.
    scattered: bool,
    /// The handler says what the body is.
    withheld: bool,
}

impl Tee {
    pub(crate) fn new(headers: &HeaderMap, plan: Plan) -> Self {
        let kind = BodyKind::of(headers);
        let (mut parts, mut content_type) = (None, None);
        match &kind {
            BodyKind::Multipart(boundary) => parts = Some(Box::new(Scanner::new(boundary))),
            BodyKind::Opaque | BodyKind::Grpc => content_type = kind::content_type(headers),
            BodyKind::Json | BodyKind::Form => {}
        }
        Self { kind, content_type, plan, parts, ..Self::default() }
    }

    /// Bytes that are kept.
    #[cfg(feature = "grpc")]
    pub(crate) fn size(&self) -> usize {
        self.kept.len()
    }

    /// Changes what is to be known. What has gone by without being kept does not come back.
    pub(crate) fn set_plan(&mut self, plan: Plan) {
        if self.seen == 0 {
            self.plan = plan;
        } else {
            self.plan.cap = self.plan.cap.min(plan.cap);
            self.plan.hash &= plan.hash;
            if !self.fits() {
                self.kept = Vec::new();
            }
        }
    }

    /// Takes note of a frame of data. It is only looked at, not consumed.
    pub(crate) fn push(&mut self, data: &impl Buf) {
        self.seen += data.remaining() as u64;
        if self.plan.cap == 0 || self.withheld || self.scattered {
            return;
        }
        let chunk = data.chunk();
        if chunk.len() == data.remaining() {
            self.take(chunk);
            return;
        }
        let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
        let count = data.chunks_vectored(&mut pieces);
        let pieces = &pieces[..count.min(MAX_PIECES)];
        self.scattered = pieces.iter().map(|piece| piece.len()).sum::<usize>() < data.remaining();
        if self.scattered {
            (self.kept, self.digest, self.parts) = (Vec::new(), None, None);
        } else {
            pieces.iter().for_each(|piece| self.take(piece));
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        match &self.kind {
            BodyKind::Json | BodyKind::Form if self.fits() => {
                // What is not over the cap now was not before.
                self.kept.extend_from_slice(chunk);
            }
            BodyKind::Json | BodyKind::Form => {
                let before = std::mem::take(&mut self.kept);
                if self.plan.hash {
                    self.hash([&before, chunk]);
                }
            }
            BodyKind::Multipart(_) => {
                if let Some(parts) = &mut self.parts {
                    parts.push(chunk);
                }
            }
            BodyKind::Grpc => self.frame(chunk),
            BodyKind::Opaque if self.plan.hash => self.hash([chunk, &[]]),
            BodyKind::Opaque => {}
        }
    }

    fn fits(&self) -> bool {
        self.seen <= self.plan.cap as u64
    }

    fn hash(&mut self, chunks: [&[u8]; 2]) {
        let digest = self.digest.get_or_insert_default();
        chunks.iter().for_each(|chunk| digest.update(chunk));
    }

    #[cfg(not(feature = "grpc-messages"))]
    fn frame(&mut self, _: &[u8]) {}

    /// Of messages the first bytes are kept: each is a text of its own.
    #[cfg(feature = "grpc-messages")]
    fn frame(&mut self, chunk: &[u8]) {
        if self.plan.messages {
            self.frames.push(chunk);
            let room = self.plan.cap - self.kept.len();
            self.kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
    }

    /// Forgets what was copied, and copies no more: the handler says what the body is, or nobody does.
    pub(crate) fn withhold(&mut self) {
        self.withheld = true;
        (self.kept, self.digest, self.parts) = (Vec::new(), None, None);
    }

    /// Whether the body is to be recorded at all.
    pub(crate) fn is_wanted(&self) -> bool {
        self.plan.cap > 0
    }

    /// The SHA-256 of a whole body that is not in the record.
    pub(crate) fn sha256(&self) -> Option<String> {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let digest = self.digest.as_ref().filter(|_| self.ended)?.clone().finalize();
        let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        Some(digits.map(|digit| char::from(HEX[usize::from(digit)])).collect())
    }

    /// Adds the body to an object: the members of a JSON object under their own names, anything else under `body`.
    pub(crate) fn record(&self, object: &mut Object, redactor: &Redactor) {
        if self.seen == 0 || self.plan.cap == 0 {
            return;
        }
        let reason = match &self.kind {
            _ if self.withheld => "body is not what its type says",
            BodyKind::Opaque => "body is not JSON",
            BodyKind::Grpc => "message has no descriptor",
            _ if self.scattered => "body came in too many pieces",
            BodyKind::Multipart(_) => {
                let mut parts = String::new();
                if let Some(scanner) = &self.parts {
                    scanner.record(redactor, &mut parts);
                }
                return object.member("body", |out| out.push_str(&parts));
            }
            BodyKind::Json | BodyKind::Form if !self.fits() => "body too large",
            BodyKind::Form if !self.ended => "body was not read to its end",
            BodyKind::Json | BodyKind::Form => match self.add(object, redactor) {
                Ok(()) => return,
                Err(Malformed) if !self.ended => "body was not read to its end",
                // It has no hash: what is short and has a secret in it could be found by trying.
                Err(Malformed) if self.kind == BodyKind::Form => "body is not a valid form",
                Err(Malformed) => "body is not valid JSON",
            },
        };
        let omitted = self.omitted(reason);
        object.member("body", |out| out.push_str(&omitted));
    }

    /// Adds only the values that a route asks for.
    pub(crate) fn pick(&self, pointers: &[Pointer], object: &mut Object, redactor: &Redactor) {
        let is_readable = self.kind == BodyKind::Json && self.fits() && !self.scattered && !self.withheld;
        let Some(text) = std::str::from_utf8(&self.kept).ok().filter(|_| is_readable) else {
            if self.seen > 0 && self.kind == BodyKind::Json {
                let omitted = self.omitted("body too large");
                object.member("body", |out| out.push_str(&omitted));
            }
            return;
        };
        for pointer in pointers {
            let Some(value) = pointer.find(text) else { continue };
            let mut redacted = String::new();
            let written = if pointer.tokens().any(|token| redactor.denies(token)) {
                redactor.hidden(value, &mut redacted)
            } else {
                redactor.json(value, &mut redacted)
            };
            if written.is_ok() {
                let name = if object.has(pointer.name()) { pointer.as_str() } else { pointer.name() };
                object.member(name, |out| out.push_str(&redacted));
            }
        }
    }

    /// Adds the messages of a gRPC body. `false` if it is none.
    #[cfg(feature = "grpc-messages")]
    pub(crate) fn record_messages(&self, shape: &Shape, object: &mut Object, redactor: &Redactor) -> bool {
        if self.kind != BodyKind::Grpc || self.withheld || self.scattered {
            return false;
        }
        shape.record(&self.kept, self.frames.count(), object, redactor);
        true
    }

    fn add(&self, object: &mut Object, redactor: &Redactor) -> Result<(), Malformed> {
        let text = std::str::from_utf8(&self.kept).map_err(|_| Malformed)?;
        if self.kind == BodyKind::Form {
            object.form(text, redactor);
            return Ok(());
        }
        object.body(text, redactor)
    }

    /// Said as CloudTrail says it of what is too large.
    fn omitted(&self, reason: &str) -> String {
        if reason == "body too large" {
            return limits::omitted("body", usize::try_from(self.seen).unwrap_or(usize::MAX)).into();
        }
        let mut fields = Fields::default();
        fields.string("reason", reason);
        fields.flag("omitted", true);
        fields.number("originalSize", self.seen);
        if let Some(content_type) = &self.content_type {
            fields.string("contentType", content_type);
        }
        fields.finish().unwrap_or_else(|| "null".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderValue, header};
    use serde_json::{Value, json};

    use super::*;

    const CAP: usize = 64;

    fn tee(content_type: &'static str) -> Tee {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Tee::new(
            &headers,
            Plan {
                cap: CAP,
                hash: true,
                #[cfg(feature = "grpc-messages")]
                messages: true,
            },
        )
    }

    fn record(tee: &Tee) -> Value {
        let mut object = Object::default();
        tee.record(&mut object, &Redactor::default());
        object.finish().map_or(Value::Null, |json| serde_json::from_str(json.as_str()).unwrap())
    }

    fn hash(data: &[u8]) -> String {
        Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_large_body_is_counted_and_hashed_but_not_kept() {
        const CHUNK: usize = 64 * 1024;
        const CHUNKS: usize = 1024;
        for content_type in [
            "application/json",
            "application/octet-stream",
            "multipart/form-data; boundary=b",
            "application/grpc",
        ] {
            let mut tee = tee(content_type);
            let chunk = Bytes::from(vec![b'x'; CHUNK]);
            for _ in 0..CHUNKS {
                tee.push(&chunk);
                let kept = tee.kept.capacity() + tee.parts.as_ref().map_or(0, |parts| parts.kept());
                assert!(kept <= 2 * CAP, "{content_type}: {kept}");
            }
            assert_eq!((tee.seen, tee.sha256()), ((CHUNK * CHUNKS) as u64, None));
            tee.ended = true;
            let is_hashed = matches!(content_type, "application/json" | "application/octet-stream");
            let expected = is_hashed.then(|| hash(&vec![b'x'; CHUNK * CHUNKS]));
            assert_eq!(tee.sha256(), expected, "{content_type}");
        }
    }

    #[test]
    fn the_hash_is_of_the_whole_body() {
        let body = format!("{{\"a\":\"{}\"}}", "b".repeat(CAP));
        let mut tee = tee("application/json");
        body.as_bytes().chunks(7).for_each(|chunk| tee.push(&chunk));
        tee.ended = true;
        assert_eq!(
            record(&tee),
            json!({ "body": { "reason": "body too large", "omitted": true, "originalSize": body.len() } })
        );
        assert_eq!(tee.sha256(), Some(hash(body.as_bytes())));
    }

    #[test]
    fn a_body_recorded_whole_has_no_hash() {
        for (content_type, body, expected) in [
            ("application/json", "{\"a\":1}", json!({ "a": 1 })),
            (
                "application/x-www-form-urlencoded",
                "a=1&pin=2&a=%32",
                json!({ "a": ["1", "2"], "pin": "HIDDEN_DUE_TO_SECURITY_REASONS" }),
            ),
        ] {
            let mut tee = tee(content_type);
            tee.push(&body.as_bytes());
            tee.ended = true;
            assert_eq!((record(&tee), tee.sha256()), (expected, None));
        }
    }

    #[test]
    fn a_short_body_that_is_broken_has_no_hash() {
        let mut tee = tee("application/json");
        tee.push(&&b"{\"a\":"[..]);
        tee.ended = true;
        assert_eq!(record(&tee)["body"]["reason"], "body is not valid JSON");
        assert_eq!(tee.sha256(), None);
    }

    #[test]
    fn frames_in_pieces_are_read() {
        let mut tee = tee("application/json");
        tee.push(&(&b"{\"a\":"[..]).chain(&b"1}"[..]));
        assert_eq!(record(&tee), json!({ "a": 1 }));
    }

    #[test]
    fn what_is_withheld_is_forgotten() {
        let mut tee = tee("application/json");
        tee.push(&&b"{\"a\":\"se"[..]);
        tee.withhold();
        tee.push(&&b"cret\"}"[..]);
        tee.ended = true;
        assert!(tee.kept.is_empty() && !format!("{tee:?}").contains("cret"));
        assert_eq!(record(&tee)["body"]["omitted"], true);
    }
}
