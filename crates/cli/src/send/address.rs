//! Where a collector listens: a Unix socket, or TCP without encryption on a trusted network.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Error};

/// Where the collector listens if nothing else is said.
pub(crate) const DEFAULT_COLLECTOR: &str = "unix:/run/sidetrail/collector.sock";

/// A connection is given up if it does not come up, or does not answer a ping, within this time.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a connection is pinged.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(crate) struct Address {
    text: String,
    /// The path of a Unix socket, else the text is a URL.
    socket: Option<PathBuf>,
    endpoint: Box<Endpoint>,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let form = || "write unix:/path or http://host:port".to_owned();
        let (socket, endpoint) = match text.strip_prefix("unix:") {
            Some(path) => {
                // `unix:///path` is the same by the rules of URLs.
                let path = path.strip_prefix("//").unwrap_or(path);
                let socket = Some(path.into()).filter(|_| path.starts_with('/')).ok_or_else(form)?;
                // The URL is for the request's authority; no name is looked up.
                (Some(socket), Endpoint::from_static("http://collector.localhost"))
            }
            None => {
                let uri: http::Uri = text.parse().map_err(|_| form())?;
                let named = uri.host().is_some_and(|host| !host.is_empty()) && uri.port_u16().is_some();
                if uri.scheme_str() != Some("http") || !named {
                    return Err(form());
                }
                (None, Endpoint::from(uri))
            }
        };
        let endpoint = endpoint
            .connect_timeout(TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(TIMEOUT)
            .keep_alive_while_idle(true);
        Ok(Self { text: text.to_owned(), socket, endpoint: Box::new(endpoint) })
    }

    /// As it was given.
    pub(super) fn name(&self) -> &str {
        &self.text
    }

    pub(super) async fn connect(&self) -> Result<Channel, Error> {
        let Some(path) = &self.socket else { return self.endpoint.connect().await };
        let path = path.clone();
        self.endpoint
            .connect_with_connector(tower::service_fn(move |_| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_sockets_or_plain_http() {
        for text in [DEFAULT_COLLECTOR, "unix:///tmp/a.sock"] {
            assert!(Address::parse(text).unwrap().socket.unwrap().is_absolute(), "{text}");
        }
        for text in ["http://127.0.0.1:4319", "http://collector:4319/", "http://[::1]:4319"] {
            assert!(Address::parse(text).unwrap().socket.is_none(), "{text}");
        }
        for text in
            ["", "unix:", "unix:a", "127.0.0.1:4319", "https://a:1", "http://a", "http://", "ftp://a:1"]
        {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
