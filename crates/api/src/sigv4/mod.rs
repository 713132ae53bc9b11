//! Signature Version 4: who sent a request, and that nobody changed it.
//!
//! A [`Claim`] is what a request says of its signature, in the `Authorization` header or in its query ("presigned").
//! [`Claim::verify`] checks it with the secret of the access key that it names; [`sign`] makes such a request. The hash of
//! the body is always part of what is checked: there is no `UNSIGNED-PAYLOAD` here.
//!
//! A crate of its own would be welcome here; the one there is for servers looks at neither `X-Amz-Expires` nor any other
//! clock than a quarter of an hour.

mod canonical;
mod claim;
mod key;
mod sign;

use std::fmt;

use http::HeaderMap;

pub use claim::{Claim, Expected, MAX_EXPIRES, SKEW};
pub use sign::{Credentials, sign};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
/// Of a timestamp such as `20150830T123600Z`.
const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const DATE_HEADER: &str = "x-amz-date";
const TOKEN_HEADER: &str = "x-amz-security-token";

/// A request, as it is on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, as it is in the request line.
    pub path: &'a str,
    /// What follows the `?`, or nothing.
    pub query: &'a str,
    /// The headers, `host` among them.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

/// The secret of an access key. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// What must go nowhere but into a signature, or to whom it belongs.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a text is the same, in a time that does not tell where they differ.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        key::same(self.0.as_bytes(), text.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests;
