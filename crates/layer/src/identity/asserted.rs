//! What a header says of the caller, read with care: one header, a short name, and not a secret.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::redact;

/// Names are no longer than that; what is longer is something else.
const MAX_NAME: usize = 256;

/// The only header of that name. Two of them are two stories, and whoever checks the caller may believe the other one.
pub(super) fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, &'static str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err("AmbiguousHeader"),
    }
}

/// What follows an authorization scheme; `None` if the scheme is another one.
pub(super) fn credential<'a>(value: &'a HeaderValue, scheme: &str) -> Option<&'a [u8]> {
    let (start, rest) = value.as_bytes().split_at_checked(scheme.len())?;
    let credential = rest.trim_ascii_start();
    (start.eq_ignore_ascii_case(scheme.as_bytes()) && credential.len() < rest.len()).then_some(credential)
}

/// A name that may be recorded; `None` if it is empty.
pub(super) fn name(bytes: &[u8]) -> Result<Option<&str>, &'static str> {
    let bytes = bytes.trim_ascii();
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() > MAX_NAME {
        return Err("OversizedName");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "MalformedName")?;
    if text.chars().any(char::is_control) {
        return Err("MalformedName");
    }
    // People send tokens as names, and credentials in the wrong header.
    if redact::looks_secret(text) {
        return Err("SecretAsName");
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_follow_their_scheme() {
        let check = |value: &'static str, expected: Option<&str>| {
            let found = HeaderValue::from_static(value);
            assert_eq!(credential(&found, "Bearer"), expected.map(str::as_bytes), "{value}");
        };
        check("Bearer a.b.c", Some("a.b.c"));
        check("bearer  a", Some("a"));
        check("BEARER ", Some(""));
        check("Bearer", None);
        check("Bearera.b.c", None);
        check("Basic a", None);
        check("", None);
    }

    #[test]
    fn names_are_short_plain_and_no_secrets() {
        let long = "a".repeat(MAX_NAME + 1);
        for (bytes, expected) in [
            (&b" jo@example.com "[..], Ok(Some("jo@example.com"))),
            ("josé".as_bytes(), Ok(Some("josé"))),
            (b"", Ok(None)),
            (b" \t", Ok(None)),
            (long.as_bytes(), Err("OversizedName")),
            (b"jo\xff", Err("MalformedName")),
            (b"a\tb", Err("MalformedName")),
            (b"ghp_0123456789abcdefghijABCDEFGHIJ012345", Err("SecretAsName")),
            (b"Bearer abc123def", Err("SecretAsName")),
        ] {
            assert_eq!(name(bytes), expected);
        }
    }
}
