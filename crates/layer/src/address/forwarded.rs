//! What proxies say of the hops before them: `X-Forwarded-For`, and `Forwarded` of RFC 7239.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::MAX_HOPS;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hop {
    Known(IpAddr),
    /// The proxy does not say.
    Hidden,
    Malformed,
}

/// The entries of one line of `X-Forwarded-For`, last first.
pub(super) fn list(line: &[u8]) -> impl Iterator<Item = Hop> + '_ {
    line.rsplit(|byte| *byte == b',').map(|entry| node(entry.trim_ascii()))
}

/// The last entries of one line of `Forwarded`, last first.
///
/// What a client opened (a quote, say) swallows what a proxy appended, so a line is read from its start and is malformed
/// as a whole or not at all.
pub(super) fn standard(line: &[u8]) -> impl Iterator<Item = Hop> + use<> {
    // The walk ends at one more than it may go.
    const KEPT: usize = MAX_HOPS + 1;
    let mut last = [Hop::Malformed; KEPT];
    let mut rest = Rest(line);
    let mut count = 0;
    let read = loop {
        match rest.element() {
            Some(hop) => last[count % KEPT] = hop,
            None => break false,
        }
        count += 1;
        match rest.0 {
            [] => break true,
            [b',', after @ ..] => rest.0 = after,
            _ => break false,
        }
    };
    if !read {
        (last[0], count) = (Hop::Malformed, 1);
    }
    (0..count).rev().take(KEPT).map(move |index| last[index % KEPT])
}

/// The part of a line that is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// `for=192.0.2.1;proto=https`, up to a comma or the end.
    fn element(&mut self) -> Option<Hop> {
        let mut found = None;
        loop {
            self.space();
            let name = self.until(|byte| !is_token(byte));
            if name.is_empty() || !self.take(b'=') {
                return None;
            }
            let hop = self.value()?;
            if name.eq_ignore_ascii_case(b"for") && found.replace(hop).is_some() {
                return None;
            }
            self.space();
            if !self.take(b';') {
                return Some(found.unwrap_or(Hop::Hidden));
            }
        }
    }

    /// A token or a quoted string, understood as a node.
    fn value(&mut self) -> Option<Hop> {
        if self.take(b'"') {
            // No node has anything in it to escape, so an escape makes it another, malformed one.
            let start = self.0;
            loop {
                match self.0 {
                    [b'"', ..] => break,
                    [b'\\', _, after @ ..] | [_, after @ ..] => self.0 = after,
                    [] => return None,
                }
            }
            let text = &start[..start.len() - self.0.len()];
            self.take(b'"');
            return Some(node(text));
        }
        // Brackets and colons should be in quotes, and are not always.
        let text = self.until(|byte| !is_token(byte) && !matches!(byte, b':' | b'[' | b']'));
        (!text.is_empty()).then(|| node(text))
    }

    fn until(&mut self, stop: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| stop(*byte)).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(end);
        self.0 = rest;
        text
    }

    fn take(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn space(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }
}

/// RFC 9110's tokens.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// An address, with or without a port; `unknown`; or a name that stands for an address that is not told.
fn node(text: &[u8]) -> Hop {
    let Ok(text) = std::str::from_utf8(text) else { return Hop::Malformed };
    if text.eq_ignore_ascii_case("unknown") || is_obfuscated(text) {
        return Hop::Hidden;
    }
    address(text).map_or(Hop::Malformed, |address| Hop::Known(address.to_canonical()))
}

fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        // An address in one zone only is none that a record could tell.
        return matches!(address, SocketAddr::V4(_)).then(|| address.ip()).or_else(|| bracketed(text));
    }
    bracketed(text).or_else(|| {
        let (host, port) = text.rsplit_once(':')?;
        is_obfuscated(port).then(|| host.parse().ok().map(IpAddr::V4)).flatten()
    })
}

/// `[2001:db8::1]`, with or without a port.
fn bracketed(text: &str) -> Option<IpAddr> {
    let (host, port) = text.strip_prefix('[')?.split_once(']')?;
    let is_port = |port: &str| port.parse::<u16>().is_ok() || is_obfuscated(port);
    let is_rest = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    host.parse::<Ipv6Addr>().ok().filter(|_| is_rest).map(IpAddr::V6)
}

/// `_hidden`, `_SEVKISEK`.
fn is_obfuscated(text: &str) -> bool {
    text.strip_prefix('_').is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("192.0.2.1:_port", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:80", Some("2001:db8::1")),
            ("[2001:db8::1]:_x", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("[::ffff:192.0.2.1]:80", Some("192.0.2.1")),
            ("", None),
            ("192.0.2", None),
            ("192.0.2.1:", None),
            ("192.0.2.1:99999", None),
            ("192.0.2.01", None),
            ("0x7f.1", None),
            ("[192.0.2.1]", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]x", None),
            ("[2001:db8::1]:", None),
            ("[fe80::1%eth0]", None),
            ("[fe80::1%1]:80", None),
            ("fe80::1%1", None),
            ("example.com", None),
            ("192.0.2.1 192.0.2.2", None),
        ] {
            let expected = expected.map_or(Hop::Malformed, |text| Hop::Known(text.parse().unwrap()));
            assert_eq!(node(text.as_bytes()), expected, "{text}");
        }
        for text in ["unknown", "UNKNOWN", "_hidden", "_a.b-c_d"] {
            assert_eq!(node(text.as_bytes()), Hop::Hidden, "{text}");
        }
        assert_eq!(node(b"\xff"), Hop::Malformed);
        assert_eq!(node(b"_"), Hop::Malformed);
    }

    #[test]
    fn elements_of_the_standard() {
        let hops = |line: &str| standard(line.as_bytes()).collect::<Vec<_>>();
        let known = |text: &str| Hop::Known(text.parse().unwrap());
        assert_eq!(hops("for=192.0.2.43, for=198.51.100.17"), [known("198.51.100.17"), known("192.0.2.43")]);
        assert_eq!(hops("For=\"[2001:db8:cafe::17]:4711\""), [known("2001:db8:cafe::17")]);
        assert_eq!(hops("for=192.0.2.60;proto=http;by=203.0.113.43"), [known("192.0.2.60")]);
        assert_eq!(hops("proto=\"a,b;c\\\"d\" ; for=192.0.2.60"), [known("192.0.2.60")]);
        assert_eq!(hops("for=[::1]:80"), [known("::1")]);
        assert_eq!(hops("by=192.0.2.60"), [Hop::Hidden]);
        assert_eq!(hops("for=example, for=::1"), [known("::1"), Hop::Malformed]);
        for line in [
            "",
            ",",
            "for",
            "for=",
            "for=;",
            "for=192.0.2.1;",
            "for=192.0.2.1,",
            "for =192.0.2.1",
            "for=192.0.2.1 for=192.0.2.2",
            "for=192.0.2.1;for=192.0.2.2",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\"x",
            "for=192.0.2.1;x=\", for=\"[::1]\"",
            "192.0.2.1",
        ] {
            assert_eq!(hops(line), [Hop::Malformed], "{line}");
        }
    }
}
