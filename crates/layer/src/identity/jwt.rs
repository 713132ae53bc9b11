//! Verifies JSON Web Tokens, for services that have nobody else to do it.
//!
//! `keys` is a key set that was read, with a `cache` of the tokens that it verified: new keys begin with an empty one.
//! `file` reads the set and reads it again when it changes, on a thread of its own. Here is what a token goes through.

mod cache;
mod file;
mod keys;
mod settings;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use http::{header, request::Parts};
use jsonwebtoken::errors::ErrorKind;
use serde_json::{Map, Value};

use self::{
    cache::Digest,
    file::Watch,
    keys::{Key, KeySet},
    settings::Rules,
};
pub use self::{
    file::JwksStatus,
    settings::{JwksError, JwtAlgorithm, JwtVerifierBuilder},
};
use super::{Answer, JwtClaims, asserted, chain::Caller};
use crate::base64;

/// Servers take headers of about that size at most.
const MAX_TOKEN: usize = 16 * 1024;

/// Claims that the record is made of; no others are kept.
const USED: [&str; 8] = ["iss", "sub", "preferred_username", "email", "jti", "iat", "amr", "act"];

/// Why a token was not believed.
const MALFORMED: &str = "MalformedToken";
const OVERSIZED: &str = "OversizedToken";
const ALGORITHM: &str = "UnsupportedAlgorithm";
const UNKNOWN_KEY: &str = "UnknownKey";
const SIGNATURE: &str = "InvalidSignature";
const EXPIRED: &str = "ExpiredToken";
const IMMATURE: &str = "ImmatureToken";
const ISSUER: &str = "InvalidIssuer";
const AUDIENCE: &str = "InvalidAudience";
const CLAIMS: &str = "InvalidClaims";
const NO_SUBJECT: &str = "MissingSubject";

/// Verifies tokens in `Authorization: Bearer …` by a JSON Web Key Set, for [`Builder::jwt`](crate::Builder::jwt).
///
/// It says who calls; it turns nobody away. A token that it does not believe is nobody's, and
/// `additionalEventData.identityError` says why: `bearer: ExpiredToken`. No part of a token is recorded but the claims
/// that [`Identity::from_claims`](crate::Identity::from_claims) uses.
///
/// To verify a token takes some tens of microseconds, before the service is called. A token that was verified is
/// remembered until it expires.
///
/// The file of keys is watched by a thread. A set that changes is taken over within seconds; while it cannot be read or
/// has no key that verifies, the keys before it stay, and [`status`](Self::status) tells. Clones share everything.
///
/// ```no_run
/// use sidetrail::{AuditLayer, JwtVerifier};
///
/// let verifier = JwtVerifier::builder()
///     .jwks_file("/etc/orders/jwks.json")
///     .issuer("https://id.example.com")
///     .audience("orders")
///     .build()?;
/// let layer = AuditLayer::builder("orders.example.com").jwt(verifier);
/// # drop(layer);
/// # Ok::<(), sidetrail::JwksError>(())
/// ```
#[derive(Clone, Debug)]
pub struct JwtVerifier(Arc<Shared>);

/// What verifier and watching thread share.
#[derive(Debug)]
struct Shared {
    rules: Rules,
    keys: RwLock<Arc<KeySet>>,
    /// `None` where the keys are not from a file.
    watch: Option<Watch>,
}

impl Shared {
    fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl JwtVerifier {
    /// A verifier with the keys of a JWKS file, of any issuer, for tokens without an audience. For more see
    /// [`builder`](Self::builder).
    pub fn from_jwks_file(path: impl Into<std::path::PathBuf>) -> Result<Self, JwksError> {
        Self::builder().jwks_file(path).build()
    }

    /// A verifier of any other kind.
    pub fn builder() -> JwtVerifierBuilder {
        JwtVerifierBuilder::default()
    }

    /// How many keys there are, and how reading their file went.
    #[must_use]
    pub fn status(&self) -> JwksStatus {
        let status = self.0.watch.as_ref().map(Watch::status).unwrap_or_default();
        JwksStatus { keys: self.0.keys().len(), ..status }
    }

    fn new(rules: Rules, keys: KeySet, watch: Option<Watch>) -> Self {
        Self(Arc::new(Shared { rules, keys: RwLock::new(Arc::new(keys)), watch }))
    }

    pub(crate) fn look(&self, parts: &Parts) -> Answer {
        let token = match asserted::only(&parts.headers, &header::AUTHORIZATION) {
            Ok(value) => value.and_then(|value| asserted::credential(value, "Bearer")),
            Err(code) => return Answer::Refused(code),
        };
        match token.map(|token| self.verify(token)) {
            None => Answer::Nobody,
            Some(Ok(claims)) => Answer::Found(Caller::Claims(claims)),
            Some(Err(code)) => Answer::Refused(code),
        }
    }

    /// The claims of a token that is what it says, or why it is not believed.
    fn verify(&self, token: &[u8]) -> Result<JwtClaims, &'static str> {
        if token.len() > MAX_TOKEN {
            return Err(OVERSIZED);
        }
        let keys = self.0.keys();
        let digest = Digest::of(token);
        if let Some(claims) = keys.cache.get(&digest, now()) {
            return Ok(claims);
        }
        let verified = self.check(&keys, token);
        if verified.as_ref().is_err_and(|code| *code == UNKNOWN_KEY)
            && let Some(watch) = &self.0.watch
        {
            watch.hurry();
        }
        let (claims, end) = verified?;
        keys.cache.put(digest, token.len(), &claims, end);
        Ok(claims)
    }

    /// The claims, and until when they hold.
    fn check(&self, keys: &KeySet, token: &[u8]) -> Result<(JwtClaims, u64), &'static str> {
        let rules = &self.0.rules;
        let header = jsonwebtoken::decode_header(token).map_err(|_| header_problem(token))?;
        // Nobody here understands what the token insists on being understood.
        if header.crit.is_some() {
            return Err(MALFORMED);
        }
        let validation = rules.validation(header.alg).ok_or(ALGORITHM)?;
        let Key { key, .. } = keys.find(header.kid.as_deref(), header.alg)?;
        let token = jsonwebtoken::decode::<Map<String, Value>>(token, key, validation);
        let mut claims = token.map_err(|error| problem(error.kind()))?.claims;
        // RFC 7519 knows one issuer per token, the library several.
        if validation.iss.is_some() && !claims.get("iss").is_some_and(Value::is_string) {
            return Err(ISSUER);
        }
        let end = claims.get("exp").and_then(Value::as_u64).unwrap_or(0);
        claims.retain(|name, _| USED.contains(&name.as_str()));
        let claims = JwtClaims::from(claims);
        claims.has_subject().then(|| (claims, end.saturating_add(validation.leeway))).ok_or(NO_SUBJECT)
    }
}

/// An algorithm that the library does not know, `none` among them, makes a header unreadable for it.
fn header_problem(token: &[u8]) -> &'static str {
    #[derive(serde::Deserialize)]
    struct Header {
        alg: String,
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let header = parts.next().and_then(base64::decode);
    let header = header.and_then(|header| serde_json::from_slice::<Header>(&header).ok());
    let is_unknown = header.is_some_and(|header| header.alg.parse::<jsonwebtoken::Algorithm>().is_err());
    if is_unknown && parts.count() == 2 { ALGORITHM } else { MALFORMED }
}

fn problem(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => EXPIRED,
        ErrorKind::ImmatureSignature => IMMATURE,
        ErrorKind::InvalidIssuer => ISSUER,
        ErrorKind::InvalidAudience => AUDIENCE,
        ErrorKind::InvalidAlgorithm => ALGORITHM,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => CLAIMS,
        ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Json(_) | ErrorKind::Utf8(_) => MALFORMED,
        _ => SIGNATURE,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
