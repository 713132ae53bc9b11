//! How a verifier is made.

use std::{fmt, io, path::PathBuf, time::Duration};

use jsonwebtoken::{Algorithm, Validation};

use super::{JwtVerifier, file, keys::KeySet};

/// Clocks differ by less than ten minutes.
const MAX_LEEWAY: Duration = Duration::from_secs(600);

/// How a token may be signed. There is neither `none` nor HMAC: whoever could verify could sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JwtAlgorithm {
    /// RSASSA-PKCS1-v1_5 using SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 using SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 using SHA-512.
    Rs512,
    /// RSASSA-PSS using SHA-256.
    Ps256,
    /// RSASSA-PSS using SHA-384.
    Ps384,
    /// RSASSA-PSS using SHA-512.
    Ps512,
    /// ECDSA on P-256 using SHA-256.
    Es256,
    /// ECDSA on P-384 using SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl JwtAlgorithm {
    const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    fn known(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Rs384 => Algorithm::RS384,
            Self::Rs512 => Algorithm::RS512,
            Self::Ps256 => Algorithm::PS256,
            Self::Ps384 => Algorithm::PS384,
            Self::Ps512 => Algorithm::PS512,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// Makes a [`JwtVerifier`].
#[derive(Clone, Debug)]
#[must_use]
pub struct JwtVerifierBuilder {
    source: Option<Source>,
    issuers: Vec<String>,
    audiences: Vec<String>,
    any_audience: bool,
    algorithms: Vec<JwtAlgorithm>,
    leeway: Duration,
}

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Text(String),
}

impl Default for JwtVerifierBuilder {
    fn default() -> Self {
        Self {
            source: None,
            issuers: Vec::new(),
            audiences: Vec::new(),
            any_audience: false,
            algorithms: JwtAlgorithm::ALL.to_vec(),
            leeway: Duration::from_secs(60),
        }
    }
}

impl JwtVerifierBuilder {
    /// The keys, in a file with a JSON Web Key Set (RFC 7517). It is read again when it changes.
    pub fn jwks_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.source = Some(Source::File(path.into()));
        self
    }

    /// The keys, as the text of a JSON Web Key Set. They stay as they are.
    pub fn jwks(mut self, text: impl Into<String>) -> Self {
        self.source = Some(Source::Text(text.into()));
        self
    }

    /// Believes tokens of this issuer (`iss`), and of those named before it; by default of any that has a key.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuers.push(issuer.into());
        self
    }

    /// Believes tokens for this audience (`aud`), and for those named before it. By default only tokens that have none:
    /// one that is meant for another service may have been stolen there.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Believes tokens for whatever audience.
    pub fn any_audience(mut self) -> Self {
        self.any_audience = true;
        self
    }

    /// Believes tokens with these signatures only. By default with all, each by the keys that are for it.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = JwtAlgorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// How far the issuer's clock may be off: a minute by default, ten at most.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway.min(MAX_LEEWAY);
        self
    }

    /// The verifier. It reads the keys now, and a file's thread starts.
    pub fn build(self) -> Result<JwtVerifier, JwksError> {
        let rules = Rules::new(&self);
        let verifier = match self.source {
            None => Err(JwksError::NoKeys),
            Some(Source::Text(text)) => {
                let keys = KeySet::parse(&text, &rules.algorithms())
                    .map_err(|reason| JwksError::Invalid { path: None, reason })?;
                Ok(JwtVerifier::new(rules, keys, None))
            }
            Some(Source::File(path)) => file::watch(rules, path),
        }?;
        if verifier.0.keys().is_operable() { Ok(verifier) } else { Err(JwksError::Backend) }
    }
}

/// What is asked of a token, per algorithm.
#[derive(Debug)]
pub(super) struct Rules(Vec<(Algorithm, Validation)>);

impl Rules {
    fn new(settings: &JwtVerifierBuilder) -> Self {
        let rule = |algorithm: Algorithm| {
            let mut validation = Validation::new(algorithm);
            validation.leeway = settings.leeway.as_secs();
            validation.validate_nbf = true;
            validation.validate_aud = !settings.any_audience;
            // A claim that is asked for has to be there.
            let mut required = vec!["exp"];
            if !settings.issuers.is_empty() {
                validation.set_issuer(&settings.issuers);
                required.push("iss");
            }
            if !settings.any_audience && !settings.audiences.is_empty() {
                validation.set_audience(&settings.audiences);
                required.push("aud");
            }
            validation.set_required_spec_claims(&required);
            (algorithm, validation)
        };
        Self(settings.algorithms.iter().map(|algorithm| rule(algorithm.known())).collect())
    }

    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        self.0.iter().map(|(algorithm, _)| *algorithm).collect()
    }

    /// What is asked of tokens with this signature; `None` if no such token is believed.
    pub(super) fn validation(&self, algorithm: Algorithm) -> Option<&Validation> {
        self.0.iter().find(|(known, _)| *known == algorithm).map(|(_, validation)| validation)
    }
}

/// Why there is no [`JwtVerifier`].
#[derive(Debug)]
#[non_exhaustive]
pub enum JwksError {
    /// Neither a file nor a text with keys was given.
    NoKeys,
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is there holds no keys to use.
    Invalid {
        /// The file, if it is one.
        path: Option<PathBuf>,
        /// What it is, or is not.
        reason: &'static str,
    },
    /// `jsonwebtoken` was built with two cryptographic backends: `CryptoProvider::install_default` says which to use.
    Backend,
    /// The thread that watches the file did not start.
    Thread(io::Error),
}

impl fmt::Display for JwksError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKeys => formatter.write_str("neither a file nor a text with keys is given"),
            Self::Read { path, .. } => write!(formatter, "cannot read key set {}", path.display()),
            Self::Invalid { path: Some(path), reason } => {
                write!(formatter, "key set {} is {reason}", path.display())
            }
            Self::Invalid { path: None, reason } => write!(formatter, "key set is {reason}"),
            Self::Backend => formatter.write_str("jsonwebtoken has no crypto provider installed"),
            Self::Thread(_) => formatter.write_str("key set's thread did not start"),
        }
    }
}

impl std::error::Error for JwksError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Thread(error) => Some(error),
            Self::NoKeys | Self::Invalid { .. } | Self::Backend => None,
        }
    }
}
