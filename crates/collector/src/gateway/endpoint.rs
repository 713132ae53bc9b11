//! Where a gateway listens.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Error, Uri};

/// A connection is given up if it does not come up, or does not answer a ping, within this time.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is pinged.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The address of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Unix(PathBuf),
    Tcp(Uri),
}

impl Endpoint {
    /// Reads `unix:/path` or `http://host:port`; if it is neither, says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let invalid = || "is neither unix:/path nor http://host:port".to_owned();
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///path` is the same by the rules of URLs.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(invalid()) };
        }
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let whole = uri.scheme_str() == Some("http")
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.port_u16().is_some();
        if whole { Ok(Self::Tcp(uri)) } else { Err(invalid()) }
    }

    /// Whether what is sent there stays on this machine.
    pub(crate) fn is_local(&self) -> bool {
        let Self::Tcp(uri) = self else { return true };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    pub(crate) async fn connect(&self) -> Result<Channel, Error> {
        match self {
            Self::Tcp(uri) => configured(tonic::transport::Endpoint::from(uri.clone())).connect().await,
            Self::Unix(path) => {
                let path = path.clone();
                // The URI is for the request's authority; no name is looked up.
                let endpoint = tonic::transport::Endpoint::from_static("http://gateway.localhost");
                let connector = tower::service_fn(move |_: Uri| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                });
                configured(endpoint).connect_with_connector(connector).await
            }
        }
    }
}

fn configured(endpoint: tonic::transport::Endpoint) -> tonic::transport::Endpoint {
    endpoint
        .connect_timeout(TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(TIMEOUT)
        .keep_alive_while_idle(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_sockets_or_plain_http() {
        let local = |text| Endpoint::parse(text).map(|endpoint| endpoint.is_local());
        for text in
            ["unix:/a.sock", "unix:///a.sock", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"]
        {
            assert_eq!(local(text), Ok(true), "{text}");
        }
        for text in ["http://gateway:4319", "http://10.0.0.1:4319/", "http://localhost.evil:1"] {
            assert_eq!(local(text), Ok(false), "{text}");
        }
        for text in
            ["", "unix:", "unix:relative", "127.0.0.1:1", "https://a:1", "http://a", "http://:1", "/a.sock"]
        {
            assert!(local(text).is_err(), "{text}");
        }
    }
}
