//! Certificates for tests: an authority, and what it vouches for, as the files that programs read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use sidetrail_wire::connect::ClientTls;

/// A certificate authority with a directory of files.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

impl Authority {
    /// An authority that writes `ca.pem` and what it issues to `directory`, which is made.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn new(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, directory.display().to_string());
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::write(directory.join("ca.pem"), issuer.pem())?;
        Ok(Self { directory: directory.to_owned(), issuer })
    }

    /// The file with the authority's own certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// A certificate for these names: SPIFFE ids, DNS names or addresses. A file of that name is replaced.
    ///
    /// # Errors
    ///
    /// When a name is none, or a file cannot be written.
    pub fn issue(&self, file: &str, names: &[&str]) -> Result<Identity> {
        let mut params = CertificateParams::default();
        for name in names {
            params.subject_alt_names.push(if name.starts_with("spiffe://") {
                SanType::URI((*name).try_into()?)
            } else if let Ok(address) = name.parse() {
                SanType::IpAddress(address)
            } else {
                SanType::DnsName((*name).try_into()?)
            });
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let at = |end: &str| self.directory.join(format!("{file}{end}"));
        let identity = Identity { certificate: at(".pem"), key: at("-key.pem") };
        fs::write(&identity.certificate, certificate.pem())?;
        fs::write(&identity.key, key.serialize_pem())?;
        Ok(identity)
    }

    /// What a client of this identity needs. With an id the collector must have that.
    #[must_use]
    pub fn client(&self, identity: &Identity, id: Option<&str>) -> ClientTls {
        let Identity { certificate, key } = identity.clone();
        ClientTls { ca: self.ca(), certificate, key, id: id.map(str::to_owned) }
    }
}
