//! Who called, by the certificate that a TLS client showed.
//!
//! ```text
//! cargo run -p sidetrail --features mtls --example mtls
//! ```
//!
//! It makes an authority and certificates for server and client, serves on a free port of this host with hyper and
//! tokio-rustls, and calls itself. The record goes to stdout or, if `SIDETRAIL_COLLECTOR` is set, to the collector.
//!
//! What concerns the layer is in `serve`: one [`PeerCertificate`] per connection, a clone of it in each request.

use std::{convert::Infallible, env, error::Error, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use sidetrail::{AuditLayer, PeerAddr, PeerCertificate, Record, Sink};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    },
};
use tower::{Layer, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let builder = AuditLayer::builder("orders.example.com").client_certificates();
    let collected = env::var_os("SIDETRAIL_COLLECTOR").is_some();
    let layer = if collected { builder } else { builder.sink(Stdout) }.build()?;

    let authority = authority()?;
    let (acceptor, connector) = configure(&authority)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(serve(listener, acceptor, layer.clone()));

    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect("localhost".try_into()?, stream).await?;
    stream.write_all(b"GET /orders/17 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    stream.read_to_end(&mut Vec::new()).await?;
    server.await??;

    layer.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

/// Serves one connection.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, layer: AuditLayer) -> std::io::Result<()> {
    let (stream, address) = listener.accept().await?;
    let stream = acceptor.accept(stream).await?;
    let (_, connection) = stream.get_ref();
    let peer = connection.peer_certificates().and_then(<[_]>::first).map(PeerCertificate::new);

    let orders = tower::service_fn(async |_| Ok::<_, Infallible>(Response::new("order".to_owned())));
    let audited = layer.layer(orders);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let extensions = request.extensions_mut();
        extensions.insert(PeerAddr(address));
        if let Some(peer) = &peer {
            extensions.insert(peer.clone());
        }
        audited.clone().oneshot(request)
    });
    let server = hyper::server::conn::http1::Builder::new();
    server.serve_connection(TokioIo::new(stream), service).await.map_err(std::io::Error::other)
}

// Certificates for a demonstration.

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Result<Authority, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Example CA");
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn issue(
    authority: &Authority,
    name: SanType,
) -> Result<(Vec<CertificateDer<'static>>, PrivatePkcs8KeyDer<'static>), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![name];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok((vec![certificate.der().clone()], key.serialize_der().into()))
}

fn configure(authority: &Authority) -> Result<(TlsAcceptor, TlsConnector), Box<dyn Error>> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let roots = Arc::new(roots);

    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build()?;
    let (chain, key) = issue(authority, SanType::DnsName("localhost".try_into()?))?;
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key.into())?;

    let workload = "spiffe://example.org/ns/shop/sa/billing";
    let (chain, key) = issue(authority, SanType::URI(workload.try_into()?))?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key.into())?;
    Ok((Arc::new(server).into(), Arc::new(client).into()))
}

/// Prints records.
struct Stdout;

impl Sink for Stdout {
    fn record(&self, record: Record) {
        println!("{}", serde_json::to_string_pretty(&record).unwrap_or_default());
    }
}
