//! Where a call came from: the other end of the connection or, behind proxies that are trusted, the hop before them.

mod forwarded;
mod networks;

use std::net::{IpAddr, SocketAddr};

use http::{HeaderName, header, request::Parts};

use self::forwarded::Hop;
pub(crate) use self::networks::Networks;
use crate::capture::Fields;

/// The address of the connection's other end, for servers that Sidetrail does not know: insert it into the request's
/// extensions. With the feature `axum`, axum's `ConnectInfo<SocketAddr>` is understood without this.
///
/// Headers such as `X-Forwarded-For` are believed only as far as
/// [`Builder::trusted_proxies`](crate::Builder::trusted_proxies) says: anybody can send them.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub SocketAddr);

/// The header in which trusted proxies say where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Hops that are looked at, from the last one on. No request goes through more proxies.
const MAX_HOPS: usize = 32;

/// Why the walk ended before it was done; `addressError` in the record.
const MALFORMED_HOP: &str = "MalformedHop";
const HIDDEN_HOP: &str = "HiddenHop";
const TOO_MANY_HOPS: &str = "TooManyHops";
const DISPUTED_HOPS: &str = "DisputedHops";

/// Whose headers are believed.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    pub(crate) trusted: Networks,
    /// `None`: the one that is there. Where both are, they have to agree.
    pub(crate) header: Option<ForwardedHeader>,
}

/// What is known of where a call came from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Addresses {
    pub(crate) client: Option<IpAddr>,
    peer: Option<IpAddr>,
    error: Option<&'static str>,
}

/// The address of the connection's other end. An IPv4 client of an IPv6 socket is an IPv4 client.
pub(crate) fn peer(parts: &Parts) -> Option<IpAddr> {
    let address = parts.extensions.get().map(|PeerAddr(address)| *address);
    #[cfg(feature = "axum")]
    let address = address
        .or_else(|| parts.extensions.get().map(|axum::extract::ConnectInfo::<SocketAddr>(address)| *address));
    address.map(|address| address.ip().to_canonical())
}

impl Proxies {
    /// The addresses of a request.
    pub(crate) fn addresses(&self, parts: &Parts) -> Addresses {
        let peer = peer(parts);
        match peer {
            Some(address) if self.trusted.contain(address) => {
                let (client, error) = self.client(parts, address);
                Addresses { client: Some(client), peer, error }
            }
            _ => Addresses { client: peer, peer, error: None },
        }
    }

    /// Where a request came from that a trusted proxy sent, and why that is not the whole way.
    fn client(&self, parts: &Parts, peer: IpAddr) -> (IpAddr, Option<&'static str>) {
        const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
        // Of a header that comes in several lines the last is the latest, and so is each line's last entry.
        let by_list = || {
            let lines = parts.headers.get_all(X_FORWARDED_FOR).iter().rev();
            self.walk(peer, lines.flat_map(|line| forwarded::list(line.as_bytes())))
        };
        let by_standard = || {
            let lines = parts.headers.get_all(header::FORWARDED).iter().rev();
            self.walk(peer, lines.flat_map(|line| forwarded::standard(line.as_bytes())))
        };
        match self.header {
            Some(ForwardedHeader::XForwardedFor) => by_list(),
            Some(ForwardedHeader::Forwarded) => by_standard(),
            None if !parts.headers.contains_key(header::FORWARDED) => by_list(),
            None if !parts.headers.contains_key(X_FORWARDED_FOR) => by_standard(),
            None => match (by_list(), by_standard()) {
                (list, standard) if list == standard => list,
                // One of them passed through a proxy that knows the other: a client could have written it.
                _ => (peer, Some(DISPUTED_HOPS)),
            },
        }
    }

    /// Goes back hop by hop, as long as the one who reports a hop is trusted.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Hop>) -> (IpAddr, Option<&'static str>) {
        let mut last = peer;
        for (count, hop) in hops.enumerate() {
            match hop {
                _ if count == MAX_HOPS => return (last, Some(TOO_MANY_HOPS)),
                Hop::Malformed => return (last, Some(MALFORMED_HOP)),
                Hop::Hidden => return (last, Some(HIDDEN_HOP)),
                Hop::Known(address) => last = address,
            }
            if !self.trusted.contain(last) {
                break;
            }
        }
        (last, None)
    }
}

impl Addresses {
    /// Adds what `sourceIPAddress` has no room for.
    pub(crate) fn describe(&self, fields: &mut Fields) {
        if let (Some(client), Some(peer)) = (self.client, self.peer)
            && client != peer
        {
            fields.string("client.address", &client.to_string());
            fields.string("network.peer.address", &peer.to_string());
        }
        if let Some(error) = self.error {
            fields.string("addressError", error);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &str = "x-forwarded-for";
    const STANDARD: &str = "forwarded";

    fn parts(peer: &str, headers: &[(&str, &[u8])]) -> Parts {
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(PeerAddr(SocketAddr::new(peer.parse().unwrap(), 4711)));
        parts
    }

    fn proxies(trusted: &[&str]) -> Proxies {
        let trusted: Vec<_> = trusted.iter().map(ToString::to_string).collect();
        Proxies { trusted: Networks::parse(&trusted).unwrap(), header: None }
    }

    fn client(peer: &str, headers: &[(&str, &str)]) -> (String, Option<&'static str>) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let found = proxies(&["10.0.0.0/8", "fd00::/8"]).addresses(&parts(peer, &headers));
        (found.client.unwrap().to_string(), found.error)
    }

    #[test]
    fn the_last_hop_that_nobody_trusts_is_the_client() {
        for (headers, expected, error) in [
            (&[][..], "10.0.0.1", None),
            (&[(LIST, "192.0.2.1")], "192.0.2.1", None),
            (&[(LIST, "1.2.3.4, 192.0.2.1")], "192.0.2.1", None),
            (&[(LIST, "1.2.3.4,192.0.2.1 ,10.0.0.2, 10.0.0.3")], "192.0.2.1", None),
            (&[(LIST, "1.2.3.4"), (LIST, "192.0.2.1"), (LIST, "10.0.0.2")], "192.0.2.1", None),
            (&[(LIST, "10.0.0.9, 10.0.0.2")], "10.0.0.9", None),
            (&[(LIST, "192.0.2.1:4711")], "192.0.2.1", None),
            (&[(LIST, "2001:db8::1")], "2001:db8::1", None),
            (&[(LIST, "[2001:db8::1]:4711, fd00::2")], "2001:db8::1", None),
            (&[(LIST, "1.2.3.4, ::ffff:192.0.2.1, ::ffff:10.0.0.2")], "192.0.2.1", None),
            (&[(LIST, "192.0.2.1, spoofed, 10.0.0.2")], "10.0.0.2", Some(MALFORMED_HOP)),
            (&[(LIST, "192.0.2.1, , 10.0.0.2")], "10.0.0.2", Some(MALFORMED_HOP)),
            (&[(LIST, "")], "10.0.0.1", Some(MALFORMED_HOP)),
            (&[(LIST, "192.0.2.1, unknown")], "10.0.0.1", Some(HIDDEN_HOP)),
            (&[(STANDARD, "for=192.0.2.1")], "192.0.2.1", None),
            (&[(STANDARD, "for=1.2.3.4, for=192.0.2.1;proto=https;by=10.0.0.1")], "192.0.2.1", None),
            (&[(STANDARD, "For=\"[2001:db8::1]:4711\", for=10.0.0.2")], "2001:db8::1", None),
            (&[(STANDARD, "for=192.0.2.1"), (STANDARD, "for=10.0.0.2")], "192.0.2.1", None),
            (&[(STANDARD, "for=192.0.2.1, for=_hidden, for=10.0.0.2")], "10.0.0.2", Some(HIDDEN_HOP)),
            (&[(STANDARD, "for=192.0.2.1, for=unknown")], "10.0.0.1", Some(HIDDEN_HOP)),
            (&[(STANDARD, "for=192.0.2.1, proto=https")], "10.0.0.1", Some(HIDDEN_HOP)),
            (&[(STANDARD, "for=\"192.0.2.1, for=10.0.0.2")], "10.0.0.1", Some(MALFORMED_HOP)),
            (&[(STANDARD, "for=192.0.2.1"), (LIST, "192.0.2.1")], "192.0.2.1", None),
            (&[(STANDARD, "for=1.2.3.4"), (LIST, "192.0.2.1")], "10.0.0.1", Some(DISPUTED_HOPS)),
        ] {
            assert_eq!(client("10.0.0.1", headers), (expected.to_owned(), error), "{headers:?}");
            // From somebody else the same headers mean nothing.
            assert_eq!(client("192.0.2.9", headers), ("192.0.2.9".to_owned(), None), "{headers:?}");
        }
    }

    #[test]
    fn the_header_can_be_settled() {
        let parts = parts("10.0.0.1", &[(STANDARD, b"for=192.0.2.1"), (LIST, b"192.0.2.2")]);
        for (header, expected) in
            [(ForwardedHeader::Forwarded, "192.0.2.1"), (ForwardedHeader::XForwardedFor, "192.0.2.2")]
        {
            let proxies = Proxies { header: Some(header), ..proxies(&["10.0.0.1"]) };
            assert_eq!(proxies.addresses(&parts).client.unwrap().to_string(), expected);
        }
    }

    #[test]
    fn long_chains_end() {
        for (name, hop) in [(LIST, "10.0.0.2"), (STANDARD, "for=10.0.0.2")] {
            let chain = |hops: usize| vec![hop; hops].join(",");
            assert_eq!(client("10.0.0.1", &[(name, &chain(MAX_HOPS))]), ("10.0.0.2".to_owned(), None));
            let too_long = ("10.0.0.2".to_owned(), Some(TOO_MANY_HOPS));
            assert_eq!(client("10.0.0.1", &[(name, &chain(MAX_HOPS + 1))]), too_long);
            assert_eq!(client("10.0.0.1", &[(name, &chain(10_000))]), too_long);
            // However much a client puts in front, the end counts.
            let last = hop.replace("10.0.0.2", "192.0.2.1");
            let chain = format!("{},{last}", chain(10_000));
            assert_eq!(client("10.0.0.1", &[(name, &chain)]), ("192.0.2.1".to_owned(), None));
        }
    }

    #[test]
    fn both_ends_are_told_where_they_differ() {
        let describe = |headers: &[(&str, &[u8])]| {
            let mut fields = Fields::default();
            proxies(&["10.0.0.1"]).addresses(&parts("10.0.0.1", headers)).describe(&mut fields);
            fields.finish()
        };
        assert_eq!(describe(&[]), None);
        assert_eq!(
            describe(&[(LIST, b"::1")]).unwrap(),
            r#"{"client.address":"::1","network.peer.address":"10.0.0.1"}"#
        );
        assert_eq!(describe(&[(LIST, b"x")]).unwrap(), r#"{"addressError":"MalformedHop"}"#);
    }

    fn header_value() -> impl Strategy<Value = Vec<u8>> {
        let plausible = proptest::string::string_regex(
            r#"((for|By|proto)=)?["\[]?([0-9a-f.:]{0,12}|unknown|_x|\\.)["\]]?[,; =]{0,2}"#,
        );
        let plausible =
            proptest::collection::vec(plausible.unwrap(), 0..6).prop_map(|parts| parts.concat().into_bytes());
        let any = proptest::collection::vec(any::<u8>(), 0..64);
        prop_oneof![plausible, any].prop_map(|mut bytes| {
            bytes.retain(|byte| *byte == b'\t' || *byte >= 32 && *byte != 127);
            bytes
        })
    }

    proptest! {
        #[test]
        fn without_trust_the_peer_is_the_client_and_nothing_panics(list in header_value(), standard in header_value()) {
            let parts = parts("192.0.2.9", &[(LIST, &list), (STANDARD, &standard)]);
            let peer: IpAddr = "192.0.2.9".parse().unwrap();
            let found = proxies(&[]).addresses(&parts);
            prop_assert_eq!(found, Addresses { client: Some(peer), peer: Some(peer), error: None });
            for header in [None, Some(ForwardedHeader::Forwarded), Some(ForwardedHeader::XForwardedFor)] {
                let all = Proxies { header, ..proxies(&["0.0.0.0/0", "::/0"]) };
                prop_assert!(all.addresses(&parts).client.is_some());
            }
        }

        /// Whatever a client sends ahead, the proxy's own entry decides.
        #[test]
        fn what_comes_first_cannot_forge(sent in header_value()) {
            for (name, entry) in [
                (LIST, "203.0.113.7"),
                (STANDARD, "for=203.0.113.7"),
                (STANDARD, "for=\"203.0.113.7:80\";proto=\"https\""),
            ] {
                let value = [&sent[..], b", ", entry.as_bytes()].concat();
                let found = proxies(&["10.0.0.1"]).addresses(&parts("10.0.0.1", &[(name, &value)]));
                let client = found.client.unwrap().to_string();
                prop_assert!(client == "203.0.113.7" || client == "10.0.0.1" && found.error.is_some(), "{client}");
            }
        }
    }
}
