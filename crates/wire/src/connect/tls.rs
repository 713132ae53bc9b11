//! TLS 1.3 from a client's side: who the collector must be, and who the client is.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, version,
};
use tokio_rustls::{TlsConnector, rustls};
use tonic::codegen::http::Uri;

use super::Files;
use crate::pem::{self, PemError};

/// The files for TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// One of them holds not what it should.
    #[error(transparent)]
    File(#[from] PemError),
    /// They do not go together.
    #[error("cannot use the files for TLS")]
    Unusable(#[from] Error),
    /// The verifier of the collector's certificate cannot be made of the authorities.
    #[error("cannot trust the authorities in {path}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::client::VerifierBuilderError,
    },
    /// The host of the address is no name that a certificate can be for.
    #[error("{0:?} is no name of a host")]
    Name(String),
}

/// Makes one kind of connection: to this host, as this client.
#[derive(Clone)]
pub(super) struct Connector {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Connector {
    /// Reads the files: three small ones, once for a connection.
    pub(super) fn new(files: &Files, uri: &Uri) -> Result<Self, TlsError> {
        let host = uri.host().unwrap_or_default();
        // A URI has an IPv6 address in brackets, a certificate has not.
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| TlsError::Name(host.clone()))?;
        let tls = TlsConnector::from(Arc::new(config(files)?));
        Ok(Self { host, port: uri.port_u16().unwrap_or_default(), name, tls })
    }

    pub(super) async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        self.tls.connect(self.name.clone(), stream).await
    }
}

fn config(files: &Files) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(&files.ca)? {
        roots.add(certificate)?;
    }
    let roots = Arc::new(roots);
    let by_name = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
        .build()
        .map_err(|source| TlsError::Authorities { path: files.ca.clone(), source })?;
    let verifier: Arc<dyn ServerCertVerifier> = match &files.id {
        Some(id) => Arc::new(ById { id: id.clone(), roots, provider: Arc::clone(&provider), by_name }),
        None => by_name,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &files.client {
        Some((certificate, key)) => {
            config.with_client_auth_cert(pem::certificates(certificate)?, pem::private_key(key)?)?
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Believes a certificate of the authorities that has this id, whatever host it is on: that is how SPIFFE names servers.
#[derive(Debug)]
struct ById {
    id: String,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    /// Knows how signatures are checked.
    by_name: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for ById {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        let certificate = webpki::EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        // An X.509-SVID has exactly one URI.
        let mut ids = certificate.valid_uri_names();
        match (ids.next(), ids.next()) {
            (Some(id), None) if id == self.id => Ok(ServerCertVerified::assertion()),
            _ => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_name.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_name.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_name.supported_verify_schemes()
    }
}
