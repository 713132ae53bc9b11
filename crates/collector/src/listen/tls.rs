//! TLS from the collector's side: its certificate, the authorities it believes, and the peers it lets in.

use std::path::PathBuf;
use std::sync::Arc;

use sidetrail_wire::pem::{self, PemError};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    self, CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme, client::danger::HandshakeSignatureValid, version,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::quiet;
use crate::config::{self, Names, PeerPattern, is_spiffe_id};

/// The files for TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of them holds not what it should.
    #[error(transparent)]
    File(#[from] PemError),
    /// Certificate and key do not go together, or the certificate is none.
    #[error("cannot use {certificate} with {key}")]
    Pair {
        /// The collector's certificate.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
        /// What is wrong.
        source: Error,
    },
    /// The collector's certificate is over.
    #[error("the certificate in {path} has expired")]
    Expired {
        /// The collector's certificate.
        path: PathBuf,
    },
    /// The authorities cannot be used.
    #[error("cannot use the authorities in {path}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: AuthoritiesError,
    },
}

/// What is wrong with the authorities.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum AuthoritiesError {
    /// One of them.
    One(#[from] Error),
    /// All of them.
    All(#[from] VerifierBuilderError),
}

/// What handshakes are made with, as of the last look at the files.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    /// When the collector's certificate ends, seconds since the Unix epoch.
    pub(super) expires_unix_s: i64,
}

impl Tls {
    /// Reads and checks the files.
    pub(super) fn load(config: &config::Tls, now_unix_s: i64) -> Result<Self, TlsError> {
        let config::Tls { certificate, key, client_ca, allowed_peers } = config;
        let pair = |source| TlsError::Pair { certificate: certificate.clone(), key: key.clone(), source };
        let chain = pem::certificates(certificate)?;
        let expires_unix_s =
            chain.first().and_then(expiry).ok_or_else(|| pair(CertificateError::BadEncoding.into()))?;
        if expires_unix_s <= now_unix_s {
            return Err(TlsError::Expired { path: certificate.clone() });
        }
        let provider = Arc::new(ring::default_provider());
        let authorities =
            |source: AuthoritiesError| TlsError::Authorities { path: client_ca.clone(), source };
        let mut roots = RootCertStore::empty();
        for authority in pem::certificates(client_ca)? {
            roots.add(authority).map_err(|error| authorities(error.into()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| authorities(error.into()))?;
        let verifier = Allowed { of_authorities: verifier, patterns: allowed_peers.clone() };
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .map_err(pair)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(chain, pem::private_key(key)?)
            .map_err(pair)?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session is not checked again, and senders stay for long: nothing is gained by it.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(server)), expires_unix_s })
    }
}

/// The first of the names that a pattern admits.
pub(super) fn admitted<'a>(patterns: &[PeerPattern], names: &'a Names) -> Option<&'a str> {
    patterns.iter().find_map(|pattern| pattern.admits(names))
}

/// The names in a certificate, and when it ends. `None` of what is no certificate, which no verifier lets through.
pub(super) fn identity(certificate: &CertificateDer<'_>) -> Option<(Names, i64)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut names = Names::default();
    let mut uris = Vec::new();
    if let Ok(Some(alternative)) = parsed.subject_alternative_name() {
        for name in &alternative.value.general_names {
            match name {
                GeneralName::URI(uri) => uris.push(*uri),
                GeneralName::DNSName(dns) => names.dns.push(dns.to_ascii_lowercase()),
                _ => {}
            }
        }
    }
    // An X.509-SVID has exactly one URI.
    if let [uri] = uris.as_slice()
        && is_spiffe_id(uri)
    {
        names.spiffe = Some((*uri).to_owned());
    }
    Some((names, parsed.validity().not_after.timestamp()))
}

fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    identity(certificate).map(|(_, expires)| expires)
}

/// Lets in who has a certificate of the authorities and a name that is allowed. It is said in the handshake, so that
/// the peer's log has the reason.
#[derive(Debug)]
struct Allowed {
    of_authorities: Arc<dyn ClientCertVerifier>,
    patterns: Vec<PeerPattern>,
}

impl ClientCertVerifier for Allowed {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.of_authorities.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.of_authorities.verify_client_cert(end_entity, intermediates, now)?;
        let (names, _) = identity(end_entity).ok_or(CertificateError::BadEncoding)?;
        if admitted(&self.patterns, &names).is_none() {
            if quiet::allows() {
                let Names { spiffe, dns } = &names;
                tracing::warn!(spiffe, ?dns, "peer is not in listen.tls.allowed_peers");
            }
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.of_authorities.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.of_authorities.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.of_authorities.supported_verify_schemes()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("expires_unix_s", &self.expires_unix_s).finish_non_exhaustive()
    }
}

/// Whether a handshake failed for what the peer is, and not for the network.
pub(super) fn is_refusal(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(inner, Some(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)))
}
