//! Requests to S3 that `object_store` does not know.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::service::{Answer, Service};

/// What signatures want encoded in a path: everything but slashes and the unreserved characters of RFC 3986.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// The most characters of an answer that an error shows.
const MAX_SHOWN: usize = 500;

/// A bucket, and what it takes to sign requests to it.
#[derive(Debug, Clone)]
pub(super) struct Signed(pub(super) Service);

impl Answer {
    /// The answer if it is a success, or the error that `object_store` would make of it.
    pub(super) fn success(self, path: &str) -> object_store::Result<Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        let shown: String = String::from_utf8_lossy(&self.body).chars().take(MAX_SHOWN).collect();
        let text = format!("Server returned non-2xx status code: {}: {shown}", self.status);
        let (path, source) = (path.to_owned(), text.into());
        Err(match self.status {
            StatusCode::NOT_FOUND => object_store::Error::NotFound { path, source },
            StatusCode::FORBIDDEN => object_store::Error::PermissionDenied { path, source },
            StatusCode::UNAUTHORIZED => object_store::Error::Unauthenticated { path, source },
            _ => object_store::Error::Generic { store: "S3", source },
        })
    }

    /// Whether a service says by this code that there is no such configuration.
    pub(super) fn says(&self, code: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(&format!("<Code>{code}</Code>"))
    }
}

impl Signed {
    /// Sends a request about an object, or about the bucket where `key` is empty. `query` is one name without a value.
    pub(super) async fn send(
        &self,
        method: Method,
        key: &str,
        query: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> object_store::Result<Answer> {
        let question = if query.is_empty() { "" } else { "?" };
        let path = format!("/{}{question}{query}", utf8_percent_encode(key, &RESERVED));
        self.0.send(method, &path, headers, body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_signatures_want_it() {
        let encoded = utf8_percent_encode("a b/(c)!_d-e.f~ü", &RESERVED).to_string();
        assert_eq!(encoded, "a%20b/%28c%29%21_d-e.f~%C3%BC");
    }

    #[test]
    fn a_failure_is_what_it_would_be_elsewhere() {
        let answer =
            |status, body: &'static str| Answer { status, headers: HeaderMap::new(), body: body.into() };
        let failure =
            |status, body| super::super::Failure::of(&answer(status, body).success("a").unwrap_err());
        use super::super::Failure;
        assert_eq!(failure(StatusCode::FORBIDDEN, "<Code>AccessDenied</Code>"), Failure::Permission);
        assert_eq!(failure(StatusCode::FORBIDDEN, "<Code>InvalidAccessKeyId</Code>"), Failure::Credentials);
        assert_eq!(failure(StatusCode::NOT_FOUND, "<Code>NoSuchBucket</Code>"), Failure::MissingBucket);
        assert_eq!(failure(StatusCode::SERVICE_UNAVAILABLE, ""), Failure::Throttled);
        assert_eq!(failure(StatusCode::BAD_GATEWAY, ""), Failure::Server);
        assert!(answer(StatusCode::OK, "").success("a").is_ok());
    }
}
