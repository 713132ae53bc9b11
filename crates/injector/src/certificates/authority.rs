//! Making certificates: an authority, and what it vouches for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Clocks differ: a certificate is good from that long before it is made.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// A certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It cannot be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// It is none.
    #[error("not a certificate in PEM")]
    Read,
    /// Its times are beyond what a certificate can say.
    #[error("the times of a certificate are out of range")]
    Times,
}

/// A certificate and its key, PEM both.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS#8.
    pub key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// A certificate that vouches for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority(pub Issued);

impl Authority {
    /// A new one, good for `validity` from `now` on.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(now: Timestamp, validity: SignedDuration) -> Result<Self, CertificateError> {
        let mut params = parameters(Vec::new(), "Sidetrail injector", now, validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self(Issued { certificate, key: key.serialize_pem() }))
    }

    /// A certificate for `names`, which ends with the authority at the latest.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn issue(
        &self,
        names: &[String],
        now: Timestamp,
        validity: SignedDuration,
    ) -> Result<Issued, CertificateError> {
        let left = expiry(&self.0.certificate)?.duration_since(now);
        let name = names.first().map_or("sidetrail-injector", String::as_str);
        // A common name has at most 64 characters; nobody reads it.
        let name = &name[..name.floor_char_boundary(64)];
        let mut params = parameters(names.to_vec(), name, now, validity.min(left))?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let issuer = Issuer::from_ca_cert_pem(&self.0.certificate, KeyPair::from_pem(&self.0.key)?)?;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem() })
    }
}

fn parameters(
    names: Vec<String>,
    common_name: &str,
    now: Timestamp,
    validity: SignedDuration,
) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let time = |at: Timestamp| {
        let since = u64::try_from(at.as_second()).map_err(|_| CertificateError::Times)?;
        Ok::<_, CertificateError>(std::time::UNIX_EPOCH + Duration::from_secs(since))
    };
    params.not_before = time(now - SKEW)?.into();
    params.not_after = time(now.checked_add(validity).map_err(|_| CertificateError::Times)?)?.into();
    Ok(params)
}

/// When the first certificate of a PEM text ends.
///
/// # Errors
/// If it is none.
pub fn expiry(pem: &str) -> Result<Timestamp, CertificateError> {
    times(pem).map(|(_, end)| end)
}

/// From when to when the first certificate of a PEM text is good, without the allowance for clocks.
pub(super) fn times(pem: &str) -> Result<(Timestamp, Timestamp), CertificateError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| CertificateError::Read)?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| CertificateError::Read)?;
    let at = |seconds| Timestamp::from_second(seconds).map_err(|_| CertificateError::Times);
    let validity = parsed.validity();
    Ok((at(validity.not_before.timestamp())? + SKEW, at(validity.not_after.timestamp())?))
}
