//! Calls a webhook as an API server does: over TLS, believing the `caBundle` and nothing else, for the Service's name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The time that certificates are judged by, in seconds since the Unix epoch.
#[derive(Clone, Debug)]
pub(crate) struct Clock(pub(crate) Arc<AtomicI64>);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.load(Ordering::SeqCst)).unwrap();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// The `caBundle` of the first webhook.
pub(crate) fn bundle(configuration: &Value) -> Option<Vec<u8>> {
    let bundle = configuration["webhooks"][0]["clientConfig"].get("caBundle")?;
    Some(serde_json::from_value::<ByteString>(bundle.clone()).unwrap().0)
}

/// One call on a connection of its own.
pub(crate) async fn call(
    address: SocketAddr,
    bundle: &[u8],
    clock: &Clock,
    path: &str,
    body: String,
) -> Result<Value, Error> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(bundle) {
        roots.add(authority?)?;
    }
    let config =
        ClientConfig::builder_with_details(Arc::new(ring::default_provider()), Arc::new(clock.clone()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = ServerName::try_from("sidetrail-injector.sidetrail.svc")?;
    let stream =
        TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("{path}?timeout=5s"))
        .header("host", "sidetrail-injector.sidetrail.svc:443")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    drop(sender);
    connection.abort();
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
    }
    Ok(serde_json::from_slice(&body)?)
}
