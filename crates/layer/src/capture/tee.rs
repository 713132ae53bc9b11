//! A bounded copy of a body, made while somebody else reads it.

use bytes::Buf;
use http::{HeaderMap, HeaderValue, header};
use sidetrail_record::limits;

use super::{Fields, Object};
use crate::redact::{Malformed, Redactor};

/// What the headers say about a body.
#[derive(Clone, Debug)]
pub(crate) enum BodyKind {
    /// JSON text, not compressed.
    Json,
    /// Anything else, with its content type.
    Opaque(Option<HeaderValue>),
}

impl Default for BodyKind {
    fn default() -> Self {
        Self::Opaque(None)
    }
}

impl BodyKind {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE);
        let encoded = headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity");
        match content_type.and_then(|value| value.to_str().ok()) {
            Some(text) if is_json(text) && !encoded => Self::Json,
            _ => Self::Opaque(content_type.cloned()),
        }
    }
}

/// `application/json` and `application/merge-patch+json`, parameters aside.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or(content_type).trim();
    let suffix = essence.len().checked_sub("+json".len()).and_then(|start| essence.get(start..));
    essence.eq_ignore_ascii_case("application/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

/// Counts a body, and keeps a JSON one up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Tee {
    kind: BodyKind,
    kept: Vec<u8>,
    /// 0 where nothing is to be kept.
    cap: usize,
    pub(crate) seen: u64,
    pub(crate) ended: bool,
    /// A frame was in several pieces. No server of today makes such.
    scattered: bool,
}

impl Tee {
    pub(crate) fn new(kind: BodyKind, cap: usize) -> Self {
        Self { kind, kept: Vec::new(), cap, seen: 0, ended: false, scattered: false }
    }

    /// Bytes that are kept.
    #[cfg(feature = "grpc")]
    pub(crate) fn size(&self) -> usize {
        self.kept.len()
    }

    /// Changes how much is kept. What has gone by without being kept does not come back.
    pub(crate) fn set_cap(&mut self, cap: usize) {
        if self.seen == 0 {
            self.cap = cap;
        } else {
            self.cap = self.cap.min(cap);
            if self.seen > self.cap as u64 {
                self.kept = Vec::new();
            }
        }
    }

    /// Takes note of a frame of data. It is only looked at, not consumed.
    pub(crate) fn push(&mut self, data: &impl Buf) {
        self.seen += data.remaining() as u64;
        if self.cap == 0 || !matches!(self.kind, BodyKind::Json) {
            return;
        }
        let chunk = data.chunk();
        self.scattered |= chunk.len() < data.remaining();
        if self.seen > self.cap as u64 || self.scattered {
            self.kept = Vec::new();
        } else {
            self.kept.extend_from_slice(chunk);
        }
    }

    /// Adds the body to an object: the members of a JSON object under their own names, anything else under `body`.
    pub(crate) fn record(&self, object: &mut Object, redactor: &Redactor) {
        if self.seen == 0 || self.cap == 0 {
            return;
        }
        let omitted = match &self.kind {
            BodyKind::Opaque(content_type) => self.omitted("body is not JSON", content_type.as_ref()),
            BodyKind::Json if self.seen > self.cap as u64 => {
                String::from(limits::omitted("body", usize::try_from(self.seen).unwrap_or(usize::MAX)))
            }
            BodyKind::Json => match self.add(object, redactor) {
                Ok(()) => return,
                Err(Malformed) if !self.ended => self.omitted("body was not read to its end", None),
                Err(Malformed) => self.omitted("body is not valid JSON", None),
            },
        };
        object.member("body", |out| out.push_str(&omitted));
    }

    fn add(&self, object: &mut Object, redactor: &Redactor) -> Result<(), Malformed> {
        let text = std::str::from_utf8(&self.kept).map_err(|_| Malformed)?;
        if self.scattered {
            return Err(Malformed);
        }
        object.body(text, redactor)
    }

    /// Said as CloudTrail says it of what is too large.
    fn omitted(&self, reason: &str, content_type: Option<&HeaderValue>) -> String {
        let mut fields = Fields::default();
        fields.string("reason", reason);
        fields.plain("omitted", true);
        fields.plain("originalSize", self.seen);
        if let Some(content_type) = content_type.and_then(|value| value.to_str().ok()) {
            fields.string("contentType", content_type);
        }
        fields.finish().map_or_else(|| "null".to_owned(), String::from)
    }
}
