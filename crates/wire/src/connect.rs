//! Reaching a collector, for everyone who does: applications, `sidetrail send`, and collectors that forward.

#[cfg(feature = "tls")]
mod tls;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::codegen::http::{Uri, uri::Scheme};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

#[cfg(feature = "tls")]
pub use tls::TlsError;

/// Where a collector listens if nothing else is said.
pub const DEFAULT_COLLECTOR: &str = "unix:/run/sidetrail/collector.sock";

/// A connection is given up if it does not come up, or does not answer a ping, within this time.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a connection is pinged, idle or not.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Where a collector listens: `unix:/path`, `http://host:port` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    target: Target,
    tls: Option<Files>,
}

/// What a connection over TLS is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Files {
    ca: PathBuf,
    id: Option<String>,
    /// Certificate and key; a client that has none says who it is in another way.
    client: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Unix(PathBuf),
    Plain(Uri),
    Tls(Uri),
}

/// What a client needs for TLS, as PEM files. They are read anew for each connection, so that whoever renews them has
/// nobody to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// Certificates of the authorities that may vouch for the collector.
    pub ca: PathBuf,
    /// The client's certificate, followed by those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// SPIFFE id that the collector must have, e.g. `spiffe://example.org/collector`. Without one its certificate must
    /// be for the host of the address.
    pub id: Option<String>,
}

/// What a client needs for TLS that says who it is in another way, as by a token. The file is read anew for each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// PEM file of the authorities that may vouch for the other end.
    pub ca: PathBuf,
    /// SPIFFE id that it must have. Without one its certificate must be for the host of the address.
    pub id: Option<String>,
}

/// Variables that [`ClientTls::from_env`] looks up: authorities, certificate, key, id.
pub const TLS_VARIABLES: [&str; 4] = [
    "SIDETRAIL_COLLECTOR_CA",
    "SIDETRAIL_COLLECTOR_CERTIFICATE",
    "SIDETRAIL_COLLECTOR_KEY",
    "SIDETRAIL_COLLECTOR_ID",
];

/// An address that cannot be reached, whatever listens there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAddress {
    /// It has none of the forms.
    #[error("{0:?} is none of unix:/path, http://host:port and https://host:port")]
    Form(String),
    /// It is `https`, and there is nothing to prove oneself with.
    #[error("{0:?} needs a CA, a client certificate and its key")]
    NoFiles(String),
    /// It is `https`, and this program was built without TLS.
    #[error("{0:?} needs TLS, which this program was built without")]
    NoTls(String),
    /// Some of the three files are named, and one is not.
    #[error("{0} is not set, and the other files for TLS are")]
    Incomplete(&'static str),
}

/// A connection did not come up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody there, or not who it should be.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// The files for TLS cannot be used.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be reached.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
}

impl ClientTls {
    /// Files and id as the [variables](TLS_VARIABLES) name them; `None` where they name no file.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, InvalidAddress> {
        let [ca, certificate, key, id] = TLS_VARIABLES.map(|name| (name, variable(name)));
        if [&ca, &certificate, &key].iter().all(|(_, value)| value.is_none()) {
            return Ok(None);
        }
        let file = |(name, value): (&'static str, Option<String>)| {
            value.map(PathBuf::from).ok_or(InvalidAddress::Incomplete(name))
        };
        Ok(Some(Self { ca: file(ca)?, certificate: file(certificate)?, key: file(key)?, id: id.1 }))
    }
}

impl Address {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress::Form(text.to_owned());
        let target = match text.strip_prefix("unix:") {
            // `unix:///path` is the same by the rules of URLs.
            Some(path) => match path.strip_prefix("//").unwrap_or(path) {
                path if path.starts_with('/') => Target::Unix(path.into()),
                _ => return Err(invalid()),
            },
            None => {
                let uri: Uri = text.parse().map_err(|_| invalid())?;
                if uri.host().is_none_or(str::is_empty) || uri.port_u16().is_none() {
                    return Err(invalid());
                }
                match uri.scheme() {
                    Some(scheme) if *scheme == Scheme::HTTP => Target::Plain(uri),
                    Some(scheme) if *scheme == Scheme::HTTPS => Target::Tls(uri),
                    _ => return Err(invalid()),
                }
            }
        };
        Ok(Self { text: text.to_owned(), target, tls: None })
    }

    /// The same with what it needs for TLS, if it needs that. The files are read when a connection is made.
    pub fn with_tls(self, tls: Option<ClientTls>) -> Result<Self, InvalidAddress> {
        self.with_files(tls.map(|ClientTls { ca, certificate, key, id }| Files {
            ca,
            id,
            client: Some((certificate, key)),
        }))
    }

    /// The same with who the other end must be, and no certificate to show it.
    pub fn with_server_tls(self, tls: ServerTls) -> Result<Self, InvalidAddress> {
        let ServerTls { ca, id } = tls;
        self.with_files(Some(Files { ca, id, client: None }))
    }

    fn with_files(self, tls: Option<Files>) -> Result<Self, InvalidAddress> {
        match (&self.target, tls) {
            (Target::Tls(_), _) if !cfg!(feature = "tls") => Err(InvalidAddress::NoTls(self.text)),
            (Target::Tls(_), None) => Err(InvalidAddress::NoFiles(self.text)),
            (Target::Tls(_), tls) => Ok(Self { tls, ..self }),
            _ => Ok(self),
        }
    }

    /// Whether it is `https`.
    #[must_use]
    pub fn needs_tls(&self) -> bool {
        matches!(self.target, Target::Tls(_))
    }

    /// Whether nobody on a network can read along: a socket, this machine, or TLS.
    #[must_use]
    pub fn is_private(&self) -> bool {
        let Target::Plain(uri) = &self.target else { return true };
        let host = uri.host().unwrap_or_default();
        // A URI has an IPv6 address in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Makes a connection, within five seconds.
    pub async fn connect(&self) -> Result<Channel, ConnectError> {
        match &self.target {
            Target::Plain(uri) => Ok(configured(Endpoint::from(uri.clone())).connect().await?),
            Target::Unix(path) => {
                // The URI is for the request's authority; no name is looked up.
                let endpoint = configured(Endpoint::from_static("http://collector.localhost"));
                let path = path.clone();
                let connector = service_fn(move |_| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                });
                Ok(endpoint.connect_with_connector(connector).await?)
            }
            Target::Tls(uri) => self.connect_tls(uri).await,
        }
    }

    #[cfg(feature = "tls")]
    async fn connect_tls(&self, uri: &Uri) -> Result<Channel, ConnectError> {
        let files = self.tls.as_ref().ok_or_else(|| InvalidAddress::NoFiles(self.text.clone()))?;
        let connector = tls::Connector::new(files, uri)?;
        let endpoint = configured(Endpoint::from(uri.clone()));
        let connect = service_fn(move |_| {
            let connector = connector.clone();
            async move { connector.connect().await.map(TokioIo::new) }
        });
        Ok(endpoint.connect_with_connector(connect).await?)
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "as with the feature")]
    async fn connect_tls(&self, _uri: &Uri) -> Result<Channel, ConnectError> {
        Err(InvalidAddress::NoTls(self.text.clone()).into())
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
    fn addresses_have_three_forms() {
        for text in [DEFAULT_COLLECTOR, "unix:///tmp/a.sock"] {
            let address = Address::parse(text).unwrap();
            assert!(matches!(&address.target, Target::Unix(path) if path.is_absolute()), "{text}");
        }
        for text in ["http://127.0.0.1:4319", "http://collector:4319/", "http://[::1]:4319"] {
            assert!(matches!(Address::parse(text).unwrap().target, Target::Plain(_)), "{text}");
        }
        for text in ["https://127.0.0.1:4319", "https://collector.example.com:4319"] {
            assert!(matches!(Address::parse(text).unwrap().target, Target::Tls(_)), "{text}");
        }
        for text in [
            "",
            "unix:",
            "unix:a",
            "127.0.0.1:4319",
            "https://a",
            "http://a",
            "http://",
            "https://",
            "ftp://a:1",
        ] {
            assert_eq!(Address::parse(text), Err(InvalidAddress::Form(text.to_owned())));
        }
    }

    #[test]
    fn only_plaintext_beyond_this_machine_can_be_read() {
        let is_private = |text| Address::parse(text).unwrap().is_private();
        for text in [
            "unix:/a.sock",
            "http://127.0.0.1:1",
            "http://[::1]:1",
            "http://localhost:1",
            "https://gateway:4319",
        ] {
            assert!(is_private(text), "{text}");
        }
        for text in ["http://gateway:4319", "http://10.0.0.1:4319/", "http://localhost.evil:1"] {
            assert!(!is_private(text), "{text}");
        }
    }

    fn variables(set: &'static [&str]) -> impl Fn(&str) -> Option<String> {
        move |name| set.contains(&name).then(|| format!("/{name}"))
    }

    #[test]
    fn the_environment_names_all_files_or_none() {
        assert_eq!(ClientTls::from_env(variables(&[])), Ok(None));
        assert_eq!(
            ClientTls::from_env(variables(&TLS_VARIABLES[3..])),
            Ok(None),
            "an id alone asks for nothing"
        );
        let tls = ClientTls::from_env(variables(&TLS_VARIABLES)).unwrap().unwrap();
        assert_eq!(tls.key, PathBuf::from("/SIDETRAIL_COLLECTOR_KEY"));
        assert_eq!(tls.id.as_deref(), Some("/SIDETRAIL_COLLECTOR_ID"));
        let missing = ClientTls::from_env(variables(&TLS_VARIABLES[..2]));
        assert_eq!(missing, Err(InvalidAddress::Incomplete("SIDETRAIL_COLLECTOR_KEY")));
    }

    #[test]
    fn only_https_needs_files() {
        let parsed = |text| Address::parse(text).unwrap().with_tls(None);
        assert!(parsed(DEFAULT_COLLECTOR).is_ok() && parsed("http://a:1").is_ok());
        let error = parsed("https://a:1").unwrap_err().to_string();
        assert!(error.contains("needs"), "{error}");
    }
}
