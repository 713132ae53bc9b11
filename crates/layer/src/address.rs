//! Where a call came from.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;

/// The address of the connection's other end, for servers that Sidetrail does not know: insert it into the request's
/// extensions. With the feature `axum`, axum's `ConnectInfo<SocketAddr>` is understood without this.
///
/// Headers such as `X-Forwarded-For` are never believed: anybody can send them.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub SocketAddr);

/// The address of the client, as far as it is known.
pub(crate) fn client(parts: &Parts) -> Option<IpAddr> {
    let address = parts.extensions.get().map(|PeerAddr(address)| *address);
    #[cfg(feature = "axum")]
    let address = address
        .or_else(|| parts.extensions.get().map(|axum::extract::ConnectInfo::<SocketAddr>(address)| *address));
    // An IPv4 client of an IPv6 socket is an IPv4 client.
    address.map(|address| address.ip().to_canonical())
}
