//! The certificate that a TLS client showed, and the name in it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use http::request::Parts;
use sidetrail_record::{UserIdentity, limits};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use super::{Answer, Identity};

/// TLS itself allows more, certificates have a few kilobytes.
const MAX_CERTIFICATE: usize = 64 * 1024;

/// The longest SPIFFE id that the standard allows.
const MAX_SPIFFE_ID: usize = 2048;

const MALFORMED: &str = "MalformedCertificate";
const NAMELESS: &str = "NamelessCertificate";

/// The certificate that the TLS client of a connection showed, for
/// [`Builder::client_certificates`](crate::Builder::client_certificates): insert a clone into the extensions of the
/// connection's requests.
///
/// **The TLS server has to have verified it**: the layer believes what it says. It is read when the first request needs
/// it, once for all clones.
///
/// | certificate | `userIdentity`, of `type: AWSService` |
/// |---|---|
/// | SPIFFE id in a URI SAN, else the first DNS SAN, else the subject's common name | `invokedBy`, `principalId` |
/// | serial number, in hexadecimal | `credentialId` |
/// | issuer | `identityProvider` |
///
/// With tokio-rustls:
///
/// ```
/// use sidetrail::PeerCertificate;
/// # struct TlsStream;
/// # impl TlsStream {
/// #     fn get_ref(&self) -> ((), &Self) { ((), self) }
/// #     fn peer_certificates(&self) -> Option<&[Vec<u8>]> { None }
/// # }
///
/// fn peer(stream: &TlsStream) -> Option<PeerCertificate> {
///     let (_, connection) = stream.get_ref();
///     connection.peer_certificates()?.first().map(PeerCertificate::new)
/// }
/// # assert!(peer(&TlsStream).is_none());
/// ```
///
/// The example `mtls` has the rest.
#[derive(Clone)]
pub struct PeerCertificate(Arc<Inner>);

struct Inner {
    der: Box<[u8]>,
    identity: OnceLock<Result<Identity, &'static str>>,
}

impl PeerCertificate {
    /// From the bytes of the client's own certificate, the first of its chain, in DER.
    pub fn new(der: impl AsRef<[u8]>) -> Self {
        Self(Arc::new(Inner { der: der.as_ref().into(), identity: OnceLock::new() }))
    }

    /// Whose certificate it is. `None` if it cannot be read, or has no name in it.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.named().ok()
    }

    /// Its bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    pub(crate) fn look(parts: &Parts) -> Answer {
        let certificate = parts.extensions.get::<Self>();
        certificate.map_or(Answer::Nobody, |certificate| match certificate.named() {
            Ok(identity) => identity.into(),
            Err(code) => Answer::Refused(code),
        })
    }

    fn named(&self) -> Result<Identity, &'static str> {
        self.0.identity.get_or_init(|| read(&self.0.der)).clone()
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("PeerCertificate").field(&self.identity()).finish()
    }
}

fn read(der: &[u8]) -> Result<Identity, &'static str> {
    if der.len() > MAX_CERTIFICATE {
        return Err(MALFORMED);
    }
    let Ok(([], certificate)) = X509Certificate::from_der(der) else { return Err(MALFORMED) };
    let name = name(&certificate)?;
    let mut issuer = certificate.issuer().to_string();
    limits::cut(&mut issuer, limits::MAX_TEXT);
    Ok(Identity::from(UserIdentity {
        kind: Some("AWSService".to_owned()),
        principal_id: Some(name.clone()),
        invoked_by: Some(name),
        identity_provider: Some(issuer).filter(|issuer| !issuer.is_empty()),
        credential_id: Some(serial(certificate.raw_serial())),
        ..UserIdentity::default()
    }))
}

/// SPIFFE id, else DNS name, else common name.
fn name(certificate: &X509Certificate<'_>) -> Result<String, &'static str> {
    let extension = certificate.subject_alternative_name().map_err(|_| MALFORMED)?;
    let names = extension.map_or(&[][..], |extension| &extension.value.general_names);
    let uris =
        || names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    if uris().any(is_spiffe) {
        // A workload has one name. A certificate with a SPIFFE id and another URI is none of SPIFFE's.
        let mut uris = uris();
        return match (uris.next(), uris.next()) {
            (Some(id), None) if is_spiffe_id(id) => Ok(id.to_owned()),
            _ => Err(MALFORMED),
        };
    }
    let dns =
        names.iter().find_map(|name| if let GeneralName::DNSName(dns) = name { Some(*dns) } else { None });
    let common = || certificate.subject().iter_common_name().next()?.as_str().ok();
    let name = dns.or_else(common).map(str::trim).filter(|name| !name.is_empty()).ok_or(NAMELESS)?;
    if name.len() > limits::MAX_TEXT || name.chars().any(char::is_control) {
        return Err(MALFORMED);
    }
    Ok(name.to_owned())
}

const SPIFFE: &str = "spiffe://";

fn is_spiffe(uri: &str) -> bool {
    uri.get(..SPIFFE.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SPIFFE))
}

/// `spiffe://trust.domain/path/segments`, by the letter of the standard.
fn is_spiffe_id(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix(SPIFFE).filter(|_| uri.len() <= MAX_SPIFFE_ID) else { return false };
    let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
    let is_domain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_path);
    !domain.is_empty()
        && domain.bytes().all(is_domain)
        && path.is_none_or(|path| path.split('/').all(is_segment))
}

/// Two digits per byte, without what only keeps the number positive.
fn serial(bytes: &[u8]) -> String {
    /// RFC 5280 allows 20 bytes.
    const MAX_SERIAL: usize = 32;
    let bytes = if let [0, rest @ ..] = bytes
        && !rest.is_empty()
    {
        rest
    } else {
        bytes
    };
    bytes.iter().take(MAX_SERIAL).map(|byte| format!("{byte:02x}")).collect()
}
