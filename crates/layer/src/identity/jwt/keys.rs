//! A JSON Web Key Set: the keys in it that verify signatures.

use std::fmt;

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use super::{ALGORITHM, UNKNOWN_KEY, cache::Cache};

/// Issuers have a handful.
const MAX_KEYS: usize = 64;

/// Why a text is no key set that verifies anything.
pub(super) const NOT_A_SET: &str = "not a JSON Web Key Set";
pub(super) const NO_KEY: &str = "without a key for an allowed algorithm";
pub(super) const TOO_MANY: &str = "over 64 keys";

/// A public key.
pub(super) struct Key {
    id: Option<String>,
    /// What it may verify: the key decides, not the token.
    algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

/// The keys of a set, and the tokens that they verified.
pub(super) struct KeySet {
    keys: Vec<Key>,
    pub(super) cache: Cache,
}

impl KeySet {
    /// Reads a set. Keys of other kinds, for other purposes or other algorithms are left out, as RFC 7517 has it.
    pub(super) fn parse(text: &str, allowed: &[Algorithm]) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_str(text).map_err(|_| NOT_A_SET)?;
        if set.keys.len() > MAX_KEYS {
            return Err(TOO_MANY);
        }
        let keys: Vec<_> = set.keys.into_iter().filter_map(|key| Key::read(key, allowed)).collect();
        if keys.is_empty() {
            return Err(NO_KEY);
        }
        Ok(Self { keys, cache: Cache::default() })
    }

    /// Whether the library can verify at all: with two backends in one program, it panics until it is told which to use.
    pub(super) fn is_operable(&self) -> bool {
        let verify = |key: &Key| {
            for algorithm in &key.algorithms {
                _ = jsonwebtoken::crypto::verify("", b"", &key.key, *algorithm);
            }
        };
        std::panic::catch_unwind(|| self.keys.first().map(verify)).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key that a token names, if it is for the algorithm that the token names. A token may leave the name out if
    /// there is one key for its algorithm only.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, &'static str> {
        let mut known = self.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id).peekable();
        if known.peek().is_none() {
            return Err(UNKNOWN_KEY);
        }
        let mut suitable = known.filter(|key| key.algorithms.contains(&algorithm));
        match (suitable.next(), suitable.next()) {
            (None, _) => Err(ALGORITHM),
            (Some(_), Some(_)) => Err(UNKNOWN_KEY),
            (Some(key), None) => Ok(key),
        }
    }
}

impl Key {
    fn read(key: Value, allowed: &[Algorithm]) -> Option<Self> {
        let key: Jwk = serde_json::from_value(key).ok()?;
        let common = &key.common;
        let is_for_signatures =
            common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
                && common
                    .key_operations
                    .as_ref()
                    .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let stated = match common.key_algorithm {
            Some(stated) => Some(Algorithm::try_from(stated).ok()?),
            None => None,
        };
        let algorithms: Vec<_> = possible(&key.algorithm)
            .iter()
            .copied()
            .filter(|algorithm| {
                allowed.contains(algorithm) && stated.is_none_or(|stated| stated == *algorithm)
            })
            .collect();
        if !is_for_signatures || algorithms.is_empty() {
            return None;
        }
        Some(Self { id: key.common.key_id.clone(), key: DecodingKey::from_jwk(&key).ok()?, algorithms })
    }
}

/// What a key can verify by its kind. A symmetric one is not public and has no place in a set of public keys.
fn possible(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    match parameters {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => &[],
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.keys.iter().map(|key| (&key.id, &key.algorithms))).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: [Algorithm; 9] = [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ];

    fn parse(keys: &Value) -> Result<KeySet, &'static str> {
        KeySet::parse(&json!({ "keys": keys }).to_string(), &ALL)
    }

    fn ed(id: &str) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
    }

    #[test]
    fn keys_are_found_by_name_and_algorithm() {
        let rsa = json!({ "kty": "RSA", "kid": "r", "alg": "RS256", "n": "AQAB", "e": "AQAB" });
        let ec = json!({ "kty": "EC", "crv": "P-256", "kid": "e", "x": "AQAB", "y": "AQAB", "use": "sig" });
        let keys = parse(&json!([rsa, ec, ed("o"), ed("p")])).unwrap();
        let find = |id, algorithm| keys.find(id, algorithm).map(|key| key.id.as_deref().unwrap());
        assert_eq!(find(Some("r"), Algorithm::RS256), Ok("r"));
        assert_eq!(find(None, Algorithm::RS256), Ok("r"));
        assert_eq!(find(Some("e"), Algorithm::ES256), Ok("e"));
        assert_eq!(find(Some("p"), Algorithm::EdDSA), Ok("p"));
        // The key says RS256, and is no secret for anybody's HMAC.
        for algorithm in [Algorithm::RS512, Algorithm::PS256, Algorithm::HS256, Algorithm::ES256] {
            assert_eq!(find(Some("r"), algorithm), Err(ALGORITHM));
        }
        assert_eq!(find(Some("e"), Algorithm::ES384), Err(ALGORITHM));
        assert_eq!(find(Some("x"), Algorithm::RS256), Err(UNKNOWN_KEY));
        assert_eq!(find(None, Algorithm::EdDSA), Err(UNKNOWN_KEY));
        assert_eq!(format!("{keys:?}").matches("11qYA").count(), 0);
    }

    #[test]
    fn what_does_not_verify_is_left_out() {
        let with = |name: &str, value: Value| {
            let mut key = ed("o");
            key[name] = value;
            parse(&json!([key])).map(|keys| keys.len())
        };
        assert_eq!(with("use", json!("sig")), Ok(1));
        assert_eq!(with("key_ops", json!(["verify"])), Ok(1));
        for (name, value) in [
            ("use", json!("enc")),
            ("key_ops", json!(["sign"])),
            ("alg", json!("HS256")),
            ("alg", json!("RSA-OAEP")),
            ("alg", json!("something")),
            ("crv", json!("X25519")),
            ("crv", json!("P-256")),
            ("kty", json!("oct")),
            ("kty", json!("unheard-of")),
            ("x", json!(7)),
            ("x", json!("no base64!")),
        ] {
            assert_eq!(with(name, value.clone()), Err(NO_KEY), "{name} {value}");
        }
        let secret = json!({ "kty": "oct", "kid": "s", "alg": "HS256", "k": "c2VjcmV0" });
        assert_eq!(parse(&json!([secret])).err(), Some(NO_KEY));
        assert_eq!(parse(&json!([secret, ed("o")])).unwrap().len(), 1);
        assert_eq!(parse(&json!(vec![ed("o"); 65])).err(), Some(TOO_MANY));
        for text in ["", "[]", "{}", "{\"keys\":7}", "{\"keys\":[]} x"] {
            assert_eq!(KeySet::parse(text, &ALL).err(), Some(NOT_A_SET), "{text}");
        }
        assert_eq!(KeySet::parse(r#"{"keys":[]}"#, &ALL).err(), Some(NO_KEY));
    }
}
