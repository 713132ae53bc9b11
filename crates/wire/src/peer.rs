//! Who may connect, by the names in their certificates.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// Bytes of a SPIFFE id, by its specification.
const MAX_SPIFFE_ID: usize = 2048;
/// Bytes of a DNS name.
const MAX_DNS_NAME: usize = 253;
const SCHEME: &str = "spiffe://";

/// Which certificates of the authorities are let in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum PeerPattern {
    /// `*`: every certificate of the authorities.
    Anyone,
    /// `spiffe://domain/path`: this workload.
    Spiffe(String),
    /// `spiffe://domain/path/*`: the workloads below, with the slash. `spiffe://domain/*` is a whole trust domain.
    SpiffeBelow(String),
    /// `orders.example.com`: a certificate with this DNS name. Lower case.
    Dns(String),
    /// `*.example.com`: one label more, with the dot before the rest.
    DnsBelow(String),
}

/// A text that is no pattern of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be *, spiffe://domain/path, spiffe://domain/path/*, spiffe://domain/*, name.example.com or *.example.com"
)]
pub struct InvalidPattern;

/// The names in a certificate that patterns look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The one URI, if it is a SPIFFE id. A certificate with more than one URI has none.
    pub spiffe: Option<String>,
    /// The DNS names, in lower case.
    pub dns: Vec<String>,
}

impl PeerPattern {
    /// The name by which the pattern lets a certificate in, `None` if it does not.
    #[must_use]
    pub fn admits<'a>(&self, names: &'a Names) -> Option<&'a str> {
        let spiffe = names.spiffe.as_deref();
        let below = |name: &str, rest: &str| {
            name.strip_suffix(rest).is_some_and(|label| !label.is_empty() && !label.contains('.'))
        };
        match self {
            Self::Anyone => spiffe.or(names.dns.first().map(String::as_str)).or(Some("unnamed")),
            Self::Spiffe(id) => spiffe.filter(|name| name == id),
            Self::SpiffeBelow(prefix) => {
                spiffe.filter(|name| name.strip_prefix(prefix.as_str()).is_some_and(|rest| !rest.is_empty()))
            }
            Self::Dns(name) => names.dns.iter().find(|dns| *dns == name).map(String::as_str),
            Self::DnsBelow(rest) => names.dns.iter().find(|dns| below(dns, rest)).map(String::as_str),
        }
    }
}

/// Whether a text is a SPIFFE id: a lower case trust domain, and segments of a path that nobody normalises.
#[must_use]
pub fn is_spiffe_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(SCHEME) else { return false };
    let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
    let of_domain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    let of_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let segment = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(of_path);
    text.len() <= MAX_SPIFFE_ID
        && !domain.is_empty()
        && domain.bytes().all(of_domain)
        && path.is_none_or(|path| path.split('/').all(segment))
}

fn is_dns_name(text: &str) -> bool {
    let of_label = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    text.len() <= MAX_DNS_NAME
        && text.split('.').all(|label| !label.is_empty() && label.bytes().all(of_label))
}

impl FromStr for PeerPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if text == "*" {
            return Ok(Self::Anyone);
        }
        if text.starts_with(SCHEME) {
            return match text.strip_suffix("/*") {
                Some(above) if is_spiffe_id(above) => Ok(Self::SpiffeBelow(format!("{above}/"))),
                None if is_spiffe_id(text) => Ok(Self::Spiffe(text.to_owned())),
                _ => Err(InvalidPattern),
            };
        }
        let text = text.to_ascii_lowercase();
        match text.strip_prefix("*.") {
            // `*.com` would be as good as anyone.
            Some(rest) if is_dns_name(rest) && rest.contains('.') => Ok(Self::DnsBelow(format!(".{rest}"))),
            None if is_dns_name(&text) => Ok(Self::Dns(text)),
            _ => Err(InvalidPattern),
        }
    }
}

impl TryFrom<String> for PeerPattern {
    type Error = InvalidPattern;

    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        text.parse()
    }
}

impl fmt::Display for PeerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("*"),
            Self::Spiffe(name) | Self::Dns(name) => f.write_str(name),
            Self::SpiffeBelow(above) => write!(f, "{above}*"),
            Self::DnsBelow(rest) => write!(f, "*{rest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(pattern: &str, name: &str) -> bool {
        let names = match name.starts_with(SCHEME) {
            true => Names { spiffe: Some(name.to_owned()), dns: Vec::new() },
            false => Names { spiffe: None, dns: vec!["first.test".to_owned(), name.to_owned()] },
        };
        let pattern: PeerPattern = pattern.parse().unwrap();
        assert_eq!(pattern.to_string().parse(), Ok(pattern.clone()));
        pattern.admits(&names).is_some()
    }

    #[test]
    fn patterns_admit_whom_they_name() {
        for (pattern, name) in [
            ("*", "spiffe://example.org/a"),
            ("*", "a.example.com"),
            ("spiffe://example.org/ns/prod/sa/orders", "spiffe://example.org/ns/prod/sa/orders"),
            ("spiffe://example.org/ns/prod/*", "spiffe://example.org/ns/prod/sa/orders"),
            ("spiffe://example.org/*", "spiffe://example.org/ns"),
            ("orders.example.com", "orders.example.com"),
            ("Orders.Example.com", "orders.example.com"),
            ("*.example.com", "orders.example.com"),
        ] {
            assert!(admits(pattern, name), "{pattern} must admit {name}");
        }
    }

    #[test]
    fn patterns_admit_nobody_else() {
        for (pattern, name) in [
            ("spiffe://example.org/ns/prod", "spiffe://example.org/ns/prod/sa/orders"),
            ("spiffe://example.org/ns/prod/*", "spiffe://example.org/ns/production/sa/orders"),
            ("spiffe://example.org/ns/prod/*", "spiffe://example.org/ns/prod"),
            ("spiffe://example.org/*", "spiffe://example.org.evil.test/ns"),
            ("spiffe://example.org/*", "spiffe://example.com/ns"),
            ("orders.example.com", "evil-orders.example.com"),
            ("*.example.com", "a.b.example.com"),
            ("*.example.com", "example.com"),
            ("*.example.com", "evilexample.com"),
            ("orders.example.com", "spiffe://orders.example.com"),
        ] {
            assert!(!admits(pattern, name), "{pattern} must not admit {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            "spiffe://",
            "spiffe:///a",
            "spiffe://Example.org/a",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org/a//b",
            "spiffe://example.org/../a",
            "spiffe://example.org/a%2fb",
            "spiffe://example.org/a*",
            "spiffe://example.org/*/b",
            "spiffe://*",
            "https://example.org",
            "*.com",
            "a.*.com",
            "a..b",
            ".a",
        ] {
            assert_eq!(text.parse::<PeerPattern>(), Err(InvalidPattern), "{text}");
        }
    }
}
