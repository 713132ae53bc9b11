//! Where a collector listens.

use std::{path::PathBuf, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Error};

use crate::BuildError;

/// The collector's address where `SIDETRAIL_COLLECTOR` is not set.
pub const DEFAULT_COLLECTOR: &str = "unix:/run/sidetrail/collector.sock";

/// A connection is given up if it does not come up, or does not answer a ping, within this time.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often an idle connection is pinged.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp(Box<Endpoint>),
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, BuildError> {
        let invalid = || BuildError::Address(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///path` is the same by the rules of URLs.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(invalid()) };
        }
        let uri: http::Uri = text.parse().map_err(|_| invalid())?;
        if uri.scheme_str() != Some("http")
            || uri.host().is_none_or(str::is_empty)
            || uri.port_u16().is_none()
        {
            return Err(invalid());
        }
        Ok(Self::Tcp(Box::new(Endpoint::from(uri))))
    }

    pub(super) async fn connect(&self) -> Result<Channel, Error> {
        match self {
            Self::Tcp(endpoint) => configured(Endpoint::clone(endpoint)).connect().await,
            Self::Unix(path) => {
                let path = path.clone();
                // The URI is for the request's authority; no name is looked up.
                configured(Endpoint::from_static("http://collector.localhost"))
                    .connect_with_connector(tower::service_fn(move |_| {
                        let path = path.clone();
                        async move { UnixStream::connect(path).await.map(TokioIo::new) }
                    }))
                    .await
            }
        }
    }
}

fn configured(endpoint: Endpoint) -> Endpoint {
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
    fn addresses_are_sockets_or_plain_http() {
        for text in [DEFAULT_COLLECTOR, "unix:///tmp/a.sock"] {
            assert!(matches!(Address::parse(text), Ok(Address::Unix(path)) if path.is_absolute()), "{text}");
        }
        for text in ["http://127.0.0.1:4319", "http://collector:4319/", "http://[::1]:4319"] {
            assert!(matches!(Address::parse(text), Ok(Address::Tcp(_))), "{text}");
        }
        for text in [
            "",
            "unix:",
            "unix:relative",
            "127.0.0.1:4319",
            "https://a:1",
            "http://a",
            "http://",
            "ftp://a:1",
        ] {
            assert!(matches!(Address::parse(text), Err(BuildError::Address(_))), "{text}");
        }
    }
}
