//! What a record quotes of a request's head.

use std::ops::Range;

use http::{HeaderMap, HeaderName, Uri, header};

const COUNT: usize = 3;

const HEADERS: [HeaderName; COUNT] =
    [header::USER_AGENT, HeaderName::from_static("x-request-id"), HeaderName::from_static("traceparent")];

/// Copies, one after the other in one buffer. Clones of the request's own values would be cheaper to make, and would hold
/// on to the buffer that the server has read the request into: it could not use it for the next one.
#[derive(Debug)]
pub(crate) struct Texts {
    bytes: Box<[u8]>,
    path: usize,
    query: Option<Range<usize>>,
    headers: [Option<Range<usize>>; COUNT],
}

impl Texts {
    pub(super) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let (path, query) = (uri.path(), uri.query());
        let headers = HEADERS.map(|name| headers.get(name).map(http::HeaderValue::as_bytes));
        let parts = headers.iter().flatten().map(|value| value.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(path.len() + query.map_or(0, str::len) + parts);
        let mut push = |part: &[u8]| {
            let start = bytes.len();
            bytes.extend_from_slice(part);
            start..bytes.len()
        };
        push(path.as_bytes());
        let query = query.map(|query| push(query.as_bytes()));
        let headers = headers.map(|value| value.map(&mut push));
        Self { bytes: bytes.into_boxed_slice(), path: path.len(), query, headers }
    }

    /// Bytes in it.
    #[cfg(feature = "grpc")]
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn path(&self) -> &str {
        self.text(0..self.path)
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.query.clone().map(|query| self.text(query))
    }

    pub(crate) fn user_agent(&self) -> Option<&[u8]> {
        self.header(0)
    }

    pub(crate) fn request_id(&self) -> Option<&[u8]> {
        self.header(1)
    }

    /// The W3C `traceparent`.
    pub(crate) fn trace(&self) -> Option<&[u8]> {
        self.header(2)
    }

    fn header(&self, index: usize) -> Option<&[u8]> {
        self.headers[index].clone().map(|range| &self.bytes[range])
    }

    /// It was text when it was copied.
    fn text(&self, range: Range<usize>) -> &str {
        std::str::from_utf8(&self.bytes[range]).unwrap_or_default()
    }
}
