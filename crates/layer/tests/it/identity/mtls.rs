//! Client certificates over real TLS.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, SerialNumber,
};
use serde_json::{Value, json};
use sidetrail::{AuditLayer, Identity, MemorySink, PeerCertificate, UserIdentity};
use tokio::net::{TcpListener, TcpStream};
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

use super::{layer, send, who};
use crate::support::only;

/// Who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, params: &CertificateParams) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().der().clone(), key)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }
}

fn params(common_name: Option<&str>, names: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    if let Some(name) = common_name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.subject_alt_names = names;
    params.serial_number = Some(SerialNumber::from(vec![0x8f, 1, 2]));
    params
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

const SPIFFE: &str = "spiffe://example.org/ns/shop/sa/billing";

/// A server that takes one connection after the other, and what it recorded.
async fn serve(authority: &Authority, layer: AuditLayer) -> std::net::SocketAddr {
    let (certificate, key) = authority.issue(&params(None, vec![dns("localhost")]));
    let provider = Arc::new(ring::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(authority.roots().into(), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let peer =
                stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(PeerCertificate::new);
            let handler = tower::service_fn(async |_| {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"order"))))
            });
            let service = layer.layer(handler);
            let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().extend(peer.clone().map(extension).unwrap_or_default());
                service.clone().oneshot(request)
            });
            _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    });
    address
}

fn extension(peer: PeerCertificate) -> http::Extensions {
    let mut extensions = http::Extensions::new();
    extensions.insert(peer);
    extensions
}

/// Two requests over one connection.
async fn call(
    authority: &Authority,
    address: std::net::SocketAddr,
    client: Option<(CertificateDer<'static>, KeyPair)>,
) {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots());
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(vec![certificate], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap(),
    };
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..2 {
        let request = Request::get("/orders/17").body(Full::<Bytes>::default()).unwrap();
        let (text, _) =
            crate::support::collect(sender.send_request(request).await.unwrap().into_body()).await;
        assert_eq!(text, "order");
    }
    drop(sender);
    _ = connection.await;
}

#[tokio::test]
async fn clients_are_known_by_their_certificates() {
    let authority = Authority::new();
    let (layer, records) = layer(sidetrail::Builder::client_certificates);
    let address = serve(&authority, layer).await;

    call(&authority, address, Some(authority.issue(&params(Some("billing"), vec![uri(SPIFFE)])))).await;
    let taken = take(&records, 2).await;
    for record in &taken {
        assert_eq!(
            record["userIdentity"],
            json!({
                "type": "AWSService",
                "principalId": SPIFFE,
                "invokedBy": SPIFFE,
                "identityProvider": "CN=Test CA",
                "credentialId": "8f0102",
            })
        );
        assert_eq!(record["additionalEventData"]["identitySource"], "mtls");
    }

    call(&authority, address, None).await;
    for record in take(&records, 2).await {
        assert_eq!(record["userIdentity"]["principalId"], "anonymous");
    }
}

/// The server makes a record when it has sent the answer, which may be after the client has read it.
async fn take(records: &MemorySink, count: usize) -> Vec<Value> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(records.take());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    taken.iter().map(|record| serde_json::to_value(record).unwrap()).collect()
}

async fn ask(certificate: PeerCertificate) -> (Value, Value) {
    let (layer, records) = layer(sidetrail::Builder::client_certificates);
    let mut request = super::get(&[]);
    request.extensions_mut().insert(certificate);
    send(&layer, request).await;
    let (identity, _, error) = who(&records);
    (identity["invokedBy"].clone(), error)
}

#[tokio::test]
async fn names_come_in_order() {
    let authority = Authority::new();
    let malformed = "mtls: MalformedCertificate";
    let long = format!("spiffe://example.org/{}", "a".repeat(2048));
    for (common_name, names, expected) in [
        (Some("cn"), vec![dns("a.example.org"), uri(SPIFFE)], Ok(SPIFFE)),
        (Some("cn"), vec![dns("a.example.org"), dns("b.example.org")], Ok("a.example.org")),
        (Some("cn"), vec![uri("https://example.org/")], Ok("cn")),
        (Some(" cn "), vec![], Ok("cn")),
        (None, vec![], Err("mtls: NamelessCertificate")),
        (Some(""), vec![], Err("mtls: NamelessCertificate")),
        (Some("a\nb"), vec![], Err(malformed)),
        (Some("cn"), vec![uri(SPIFFE), uri("spiffe://example.org/other")], Err(malformed)),
        (Some("cn"), vec![uri("https://example.org/"), uri(SPIFFE)], Err(malformed)),
        (Some("cn"), vec![uri("spiffe://Example.org/a")], Err(malformed)),
        (Some("cn"), vec![uri("SPIFFE://example.org/a")], Err(malformed)),
        (Some("cn"), vec![uri("spiffe:///a")], Err(malformed)),
        (Some("cn"), vec![uri("spiffe://example.org:80/a")], Err(malformed)),
        (Some("cn"), vec![uri("spiffe://jo@example.org/a")], Err(malformed)),
        (Some("cn"), vec![uri("spiffe://example.org/a/../b")], Err(malformed)),
        (Some("cn"), vec![uri("spiffe://example.org/a/")], Err(malformed)),
        (Some("cn"), vec![uri("spiffe://example.org/a?b")], Err(malformed)),
        (Some("cn"), vec![uri("spiffe://example.org/%41")], Err(malformed)),
        (Some("cn"), vec![uri(&long)], Err(malformed)),
        (Some("cn"), vec![uri("spiffe://example.org")], Ok("spiffe://example.org")),
    ] {
        let (certificate, _) = authority.issue(&params(common_name, names.clone()));
        let (name, error) = ask(PeerCertificate::new(certificate)).await;
        match expected {
            Ok(expected) => assert_eq!((name, error), (json!(expected), json!(null)), "{names:?}"),
            Err(expected) => assert_eq!((name, error), (json!(null), json!(expected)), "{names:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_no_certificate_is_nobody() {
    let (certificate, _) = Authority::new().issue(&params(Some("billing"), vec![uri(SPIFFE)]));
    let der = certificate.to_vec();
    let refused = (json!(null), json!("mtls: MalformedCertificate"));
    for end in (0..der.len()).step_by(7) {
        assert_eq!(ask(PeerCertificate::new(&der[..end])).await, refused, "{end}");
    }
    assert_eq!(ask(PeerCertificate::new([&der[..], b"x"].concat())).await, refused);
    assert_eq!(ask(PeerCertificate::new(vec![0x30; 100_000])).await, refused);
    // Whatever a byte is turned into, nothing panics.
    for at in 0..der.len() {
        let mut changed = der.clone();
        changed[at] ^= 0x55;
        _ = PeerCertificate::new(changed).identity();
    }
}

#[tokio::test]
async fn an_application_may_know_better() {
    let (certificate, _) = Authority::new().issue(&params(Some("jo"), vec![]));
    let (layer, records) = layer(|builder| {
        builder.identity_from(|certificate: &PeerCertificate| {
            let identity = UserIdentity::from(certificate.identity()?);
            Some(Identity::user(identity.credential_id?, identity.invoked_by?))
        })
    });
    let mut request = super::get(&[]);
    request.extensions_mut().insert(PeerCertificate::new(certificate));
    send(&layer, request).await;
    let record = only(&records);
    assert_eq!(record["userIdentity"]["userName"], "jo");
    assert_eq!(record["additionalEventData"]["identitySource"], "PeerCertificate");
}
