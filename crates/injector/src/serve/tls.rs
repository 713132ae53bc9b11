//! The certificate that is shown, which may be another one for the next connection.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig, version};

/// A certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What it holds is not PEM of the right kind.
    #[error("no {what} in PEM")]
    Pem {
        /// Certificate or private key.
        what: &'static str,
        /// What was met instead.
        source: pem::Error,
    },
    /// Certificate and key do not go together, or cannot be used.
    #[error("the certificate cannot be used with its key")]
    Pair(#[from] rustls::Error),
}

/// The certificate that is shown. Until there is one, handshakes fail.
#[derive(Debug, Default)]
pub struct Presented(RwLock<Option<Arc<CertifiedKey>>>);

impl Presented {
    /// Shows another one from the next handshake on. Connections that are open go on.
    ///
    /// # Errors
    /// If it cannot be used; then what was shown before stays.
    pub fn show(&self, certificate: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let of = |what| move |source| TlsError::Pem { what, source };
        let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(of("certificate"))?;
        if chain.is_empty() {
            return Err(of("certificate")(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(of("private key"))?;
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(pair));
        Ok(())
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.current().is_some()
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // There is one name, and an API server that calls by address sends none.
        self.current()
    }
}

/// TLS 1.3 with what is presented, HTTP/2 and 1.1.
///
/// # Errors
/// If the cryptography cannot do that.
pub fn acceptor(presented: Arc<Presented>) -> Result<TlsAcceptor, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(presented);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
