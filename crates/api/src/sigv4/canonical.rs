//! The form of a request that both sides hash.

use http::HeaderMap;
use http::header::HOST;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::key::hex_sha256;
use super::{ALGORITHM, Request, TERMINATOR};

/// What is encoded: all but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The query parameter that is no part of what is signed.
pub(super) const SIGNATURE_PARAMETER: &str = "X-Amz-Signature";

/// The canonical request; `signed` are lowercase names, sorted.
pub(super) fn request(request: &Request<'_>, signed: &[String]) -> String {
    let Request { method, body, .. } = request;
    let (path, query) = (path(request.path), query(request.query));
    let headers: String =
        signed.iter().map(|name| format!("{name}:{}\n", header(request.headers, name))).collect();
    let names = signed.join(";");
    let hash = hex_sha256(body);
    format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{hash}")
}

/// What is signed.
pub(super) fn to_sign(time: &str, date: &str, region: &str, service: &str, canonical: &str) -> String {
    let hash = hex_sha256(canonical.as_bytes());
    format!("{ALGORITHM}\n{time}\n{date}/{region}/{service}/{TERMINATOR}\n{hash}")
}

/// Decodes the parameters of a query; those that are not UTF-8 are nobody's.
pub(super) fn parameters(query: &str) -> Option<Vec<(String, String)>> {
    let decode = |text| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Without `.`, `..` and empty parts, and each part encoded once more.
fn path(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(encode(part)),
        }
    }
    let is_directory = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let slash = if is_directory && !parts.is_empty() { "/" } else { "" };
    format!("/{}{slash}", parts.join("/"))
}

fn query(query: &str) -> String {
    // A query that cannot be decoded has no canonical form; its own text is one that no signer will have had.
    let Some(parameters) = parameters(query) else { return query.to_owned() };
    let mut parts: Vec<_> = parameters
        .iter()
        .filter(|(name, _)| name != SIGNATURE_PARAMETER)
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    parts.sort_unstable();
    parts.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// All values of a header, with runs of spaces as one.
fn header(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter().map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    });
    values.collect::<Vec<_>>().join(",")
}

/// The headers of a request that its signature must cover: whom it is for, and what AWS's protocols put there.
pub(super) fn must_be_signed(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let amz = headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-amz-"));
    std::iter::once(HOST.as_str()).chain(amz)
}
