//! TLS from the side of who listens: its certificate, the authorities it believes, and the peers it lets in.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    self, CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme, client::danger::HandshakeSignatureValid, version,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::peer::{Names, PeerPattern, is_spiffe_id};
use crate::pem::{self, PemError};

/// What a listener shows, and whom it lets in.
#[derive(Clone, Debug)]
pub struct Terms {
    /// PEM file of its certificate, followed by those between it and the authority.
    pub certificate: PathBuf,
    /// PEM file of its private key: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// Which certificates of clients are let in. `None` asks for none.
    pub clients: Option<Clients>,
    /// Speaks HTTP/1.1 too, and not HTTP/2 alone.
    pub http1: bool,
}

/// Which certificates of clients are let in.
#[derive(Clone, Debug)]
pub struct Clients {
    /// PEM file of the authorities that may vouch for them.
    pub ca: PathBuf,
    /// The names that may come.
    pub allowed: Vec<PeerPattern>,
    /// Whether a client without a certificate may come too.
    pub anonymous: bool,
    /// Is told of a client with a certificate of the authorities that may not come.
    pub refused: fn(&Names),
}

/// The files for TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// One of them holds not what it should.
    #[error(transparent)]
    File(#[from] PemError),
    /// Certificate and key do not go together, or the certificate is none.
    #[error("cannot use {certificate} with {key}")]
    Pair {
        /// The listener's certificate.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
        /// What is wrong.
        source: Error,
    },
    /// The listener's certificate is over.
    #[error("the certificate in {path} has expired")]
    Expired {
        /// The listener's certificate.
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
pub struct Tls {
    /// Makes them.
    pub acceptor: TlsAcceptor,
    /// What is shown.
    pub certificate: CertificateDer<'static>,
    /// When that ends, seconds since the Unix epoch.
    pub expires_unix_s: i64,
}

impl Tls {
    /// Reads and checks the files.
    pub fn load(terms: &Terms, now_unix_s: i64) -> Result<Self, TlsError> {
        let Terms { certificate, key, clients, http1 } = terms;
        let pair = |source| TlsError::Pair { certificate: certificate.clone(), key: key.clone(), source };
        let chain = pem::certificates(certificate)?;
        let shown = chain.first().and_then(|first| Some((first.clone(), identity(first)?.1)));
        let (shown, expires_unix_s) = shown.ok_or_else(|| pair(CertificateError::BadEncoding.into()))?;
        if expires_unix_s <= now_unix_s {
            return Err(TlsError::Expired { path: certificate.clone() });
        }
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ClientCertVerifier> = match clients {
            Some(clients) => Arc::new(Allowed::new(clients, &provider)?),
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .map_err(pair)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, pem::private_key(key)?)
            .map_err(pair)?;
        server.alpn_protocols.push(b"h2".to_vec());
        if *http1 {
            server.alpn_protocols.push(b"http/1.1".to_vec());
        }
        // A resumed session is not checked again, and senders stay for long: nothing is gained by it.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(server)), certificate: shown, expires_unix_s })
    }
}

/// The first of the names that a pattern admits.
#[must_use]
pub fn admitted<'a>(patterns: &[PeerPattern], names: &'a Names) -> Option<&'a str> {
    patterns.iter().find_map(|pattern| pattern.admits(names))
}

/// The names in a certificate, and when it ends, seconds since the Unix epoch. `None` of what is no certificate, which no
/// verifier lets through.
#[must_use]
pub fn identity(certificate: &CertificateDer<'_>) -> Option<(Names, i64)> {
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

/// Lets in who has a certificate of the authorities and a name that is allowed. It is said in the handshake, so that
/// the peer's log has the reason.
#[derive(Debug)]
struct Allowed {
    of_authorities: Arc<dyn ClientCertVerifier>,
    patterns: Vec<PeerPattern>,
    anonymous: bool,
    refused: fn(&Names),
}

impl Allowed {
    fn new(clients: &Clients, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let Clients { ca, allowed, anonymous, refused } = clients;
        let authorities = |source: AuthoritiesError| TlsError::Authorities { path: ca.clone(), source };
        let mut roots = RootCertStore::empty();
        for authority in pem::certificates(ca)? {
            roots.add(authority).map_err(|error| authorities(error.into()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| authorities(error.into()))?;
        Ok(Self {
            of_authorities: verifier,
            patterns: allowed.clone(),
            anonymous: *anonymous,
            refused: *refused,
        })
    }
}

impl ClientCertVerifier for Allowed {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.of_authorities.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        !self.anonymous
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
            (self.refused)(&names);
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
#[must_use]
pub fn is_refusal(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(inner, Some(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)))
}
