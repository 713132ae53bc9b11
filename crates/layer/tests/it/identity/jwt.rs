//! Tokens of a real issuer, and of others.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    encoding::AsDer,
    rsa::KeySize,
    signature::{Ed25519KeyPair, RsaKeyPair},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp, jwk::Jwk};
use rcgen::KeyPair;
use serde_json::{Value, json};
use sidetrail::{AuditLayer, JwtAlgorithm, JwtVerifier, JwtVerifierBuilder, MemorySink};

use super::{get, layer, send, who};

/// Somebody with a key.
#[derive(Clone)]
pub(super) struct Issuer {
    id: &'static str,
    algorithm: Algorithm,
    key: Arc<EncodingKey>,
}

impl Issuer {
    /// With an Ed25519 key of this name.
    pub(super) fn new(id: &'static str) -> Self {
        let key = Ed25519KeyPair::generate().and_then(|key| key.to_pkcs8v1()).unwrap();
        Self::with(id, Algorithm::EdDSA, EncodingKey::from_ed_der(key.as_ref()))
    }

    fn ecdsa(id: &'static str) -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self::with(id, Algorithm::ES256, EncodingKey::from_ec_der(key.serialized_der()))
    }

    fn rsa(id: &'static str) -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap();
        // What PKCS#8 puts in front of a key of that size, which is PKCS#1.
        const FRONT: usize = 26;
        Self::with(id, Algorithm::RS256, EncodingKey::from_rsa_der(&pkcs8.as_ref()[FRONT..]))
    }

    fn with(id: &'static str, algorithm: Algorithm, key: EncodingKey) -> Self {
        Self { id, algorithm, key: Arc::new(key) }
    }

    fn jwk(&self) -> Value {
        let mut key = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        key.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(key).unwrap()
    }

    /// For tokens of `https://id` for `orders`.
    pub(super) fn verifier(&self) -> JwtVerifier {
        self.settings().build().unwrap()
    }

    fn settings(&self) -> JwtVerifierBuilder {
        JwtVerifier::builder().jwks(set(&[self])).issuer("https://id").audience("orders")
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) }
    }

    fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header(), claims, &self.key).unwrap()
    }

    fn token(&self) -> String {
        self.sign(&claims())
    }
}

fn set(issuers: &[&Issuer]) -> String {
    json!({ "keys": issuers.iter().map(|issuer| issuer.jwk()).collect::<Vec<_>>() }).to_string()
}

fn claims() -> Value {
    let now = get_current_timestamp();
    json!({ "iss": "https://id", "aud": "orders", "sub": "u1", "exp": now + 300, "nbf": now, "name": "Jo" })
}

/// Claims with one of them changed.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

async fn ask(layer: &AuditLayer, records: &MemorySink, token: &str) -> Result<String, String> {
    send(layer, get(&[("authorization", &format!("Bearer {token}"))])).await;
    let (identity, source, error) = who(records);
    match error {
        Value::Null => {
            assert_eq!(source, "bearer");
            Ok(identity["principalId"].as_str().unwrap().to_owned())
        }
        error => {
            assert_eq!((&identity["principalId"], source), (&json!("anonymous"), json!("none")));
            Err(error.as_str().unwrap().strip_prefix("bearer: ").unwrap().to_owned())
        }
    }
}

async fn verify(settings: JwtVerifierBuilder, token: &str) -> Result<String, String> {
    let (layer, records) = layer(|builder| builder.jwt(settings.build().unwrap()));
    ask(&layer, &records, token).await
}

fn believed() -> Result<String, String> {
    Ok("https://id:u1".to_owned())
}

fn refused(code: &str) -> Result<String, String> {
    Err(code.to_owned())
}

#[tokio::test]
async fn each_kind_of_key_verifies() {
    for issuer in [Issuer::new("a"), Issuer::ecdsa("b"), Issuer::rsa("c")] {
        let (layer, records) = layer(|builder| builder.jwt(issuer.verifier()));
        for _ in 0..3 {
            assert_eq!(ask(&layer, &records, &issuer.token()).await, believed(), "{}", issuer.id);
        }
        // Another key under the same name.
        let other = match issuer.algorithm {
            Algorithm::ES256 => Issuer::ecdsa(issuer.id),
            Algorithm::RS256 => Issuer::rsa(issuer.id),
            _ => Issuer::new(issuer.id),
        };
        assert_eq!(ask(&layer, &records, &other.token()).await, refused("InvalidSignature"));
    }
}

#[tokio::test]
async fn claims_have_to_hold() {
    let issuer = Issuer::new("a");
    let now = get_current_timestamp();
    let (layer, records) = layer(|builder| builder.jwt(issuer.verifier()));
    for (name, value, expected) in [
        ("exp", json!(now - 30), believed()),
        ("exp", json!(now - 90), refused("ExpiredToken")),
        ("exp", json!("soon"), refused("InvalidClaims")),
        ("exp", json!(-1), refused("InvalidClaims")),
        ("exp", json!(null), refused("InvalidClaims")),
        ("nbf", json!(now + 30), believed()),
        ("nbf", json!(now + 90), refused("ImmatureToken")),
        ("nbf", json!(u64::MAX), refused("ImmatureToken")),
        ("nbf", json!(null), believed()),
        ("iss", json!("https://other"), refused("InvalidIssuer")),
        ("iss", json!(["https://id"]), refused("InvalidIssuer")),
        ("iss", json!(null), refused("InvalidClaims")),
        ("aud", json!(["other", "orders"]), believed()),
        ("aud", json!("other"), refused("InvalidAudience")),
        ("aud", json!([]), refused("InvalidAudience")),
        ("aud", json!(null), refused("InvalidClaims")),
        ("sub", json!(null), refused("MissingSubject")),
        ("sub", json!(7), refused("MissingSubject")),
    ] {
        let token = issuer.sign(&with(name, value.clone()));
        assert_eq!(ask(&layer, &records, &token).await, expected, "{name} {value}");
    }
    // Without leeway, and with as much as there is.
    let expired = issuer.sign(&with("exp", json!(now - 30)));
    let settings = issuer.settings().leeway(Duration::ZERO);
    assert_eq!(verify(settings, &expired).await, refused("ExpiredToken"));
    let expired = issuer.sign(&with("exp", json!(now - 700)));
    let settings = issuer.settings().leeway(Duration::MAX);
    assert_eq!(verify(settings, &expired).await, refused("ExpiredToken"));
}

#[tokio::test]
async fn an_audience_nobody_asked_for_is_somebody_elses() {
    let issuer = Issuer::new("a");
    let settings = || JwtVerifier::builder().jwks(set(&[&issuer]));
    assert_eq!(verify(settings(), &issuer.token()).await, refused("InvalidAudience"));
    assert_eq!(verify(settings().any_audience(), &issuer.token()).await, believed());
    assert_eq!(verify(settings(), &issuer.sign(&with("aud", json!(null)))).await, believed());
}

#[tokio::test]
async fn keys_and_algorithms_go_together() {
    let (rsa, ecdsa) = (Issuer::rsa("r"), Issuer::ecdsa("e"));
    let keys = || JwtVerifier::builder().jwks(set(&[&rsa, &ecdsa])).issuer("https://id").audience("orders");
    let (layer, records) = layer(|builder| builder.jwt(keys().build().unwrap()));
    assert_eq!(ask(&layer, &records, &rsa.token()).await, believed());
    assert_eq!(ask(&layer, &records, &ecdsa.token()).await, believed());

    // The public key, which everybody has, as the secret of an HMAC.
    let public = rsa.jwk()["n"].as_str().unwrap().to_owned();
    for secret in [public.clone(), set(&[&rsa]), rsa.jwk().to_string()] {
        let header = Header { kid: Some("r".to_owned()), ..Header::new(Algorithm::HS256) };
        let forged = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret.as_bytes()));
        assert_eq!(ask(&layer, &records, &forged.unwrap()).await, refused("UnsupportedAlgorithm"));
    }
    // No signature at all.
    let (head, body) = (r#"{"alg":"none","kid":"r"}"#, claims().to_string());
    for signature in ["", "AA"] {
        let forged = format!("{}.{}.{signature}", base64(head), base64(&body));
        assert_eq!(ask(&layer, &records, &forged).await, refused("UnsupportedAlgorithm"));
    }
    // One's own key under the other's name, and a key that comes along.
    let crossed = Issuer { id: "r", ..ecdsa.clone() };
    assert_eq!(ask(&layer, &records, &crossed.token()).await, refused("UnsupportedAlgorithm"));
    let stranger = Issuer::ecdsa("e");
    let key = serde_json::from_value(stranger.jwk()).unwrap();
    let header = Header { jwk: Some(key), ..stranger.header() };
    let forged = jsonwebtoken::encode(&header, &claims(), &stranger.key).unwrap();
    assert_eq!(ask(&layer, &records, &forged).await, refused("InvalidSignature"));
    // A name that is not there, none, and one too many to need none.
    assert_eq!(ask(&layer, &records, &Issuer::new("x").token()).await, refused("UnknownKey"));
    let nameless = |issuer: &Issuer| {
        let header = Header { kid: None, ..issuer.header() };
        jsonwebtoken::encode(&header, &claims(), &issuer.key).unwrap()
    };
    assert_eq!(ask(&layer, &records, &nameless(&rsa)).await, believed());
    let two = set(&[&rsa, &Issuer::rsa("r2")]);
    let settings = JwtVerifier::builder().jwks(two).any_audience();
    assert_eq!(verify(settings, &nameless(&rsa)).await, refused("UnknownKey"));
    // Something that has to be understood, and is not.
    let header = Header { crit: Some(vec!["b64".to_owned()]), ..rsa.header() };
    let token = jsonwebtoken::encode(&header, &claims(), &rsa.key).unwrap();
    assert_eq!(ask(&layer, &records, &token).await, refused("MalformedToken"));

    let settings = keys().algorithms([JwtAlgorithm::Es256]);
    assert_eq!(verify(settings.clone(), &ecdsa.token()).await, believed());
    assert_eq!(verify(settings, &rsa.token()).await, refused("UnsupportedAlgorithm"));
}

#[tokio::test]
async fn what_is_no_token_is_nobody() {
    let issuer = Issuer::new("a");
    let (layer, records) = layer(|builder| builder.jwt(issuer.verifier()));
    let token = issuer.token();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (head, body) = message.split_once('.').unwrap();
    let changed = base64(&with("sub", json!("root")).to_string());
    for (token, expected) in [
        (String::new(), "MalformedToken"),
        ("..".to_owned(), "MalformedToken"),
        ("opaque".to_owned(), "MalformedToken"),
        (format!("{token}."), "MalformedToken"),
        (message.to_owned(), "MalformedToken"),
        (format!("{message}."), "InvalidSignature"),
        (format!("{message}.=="), "MalformedToken"),
        (format!("{head}.{changed}.{signature}"), "InvalidSignature"),
        (format!("{}.{body}.{signature}", base64("{}")), "MalformedToken"),
        (format!("{}.{body}.{signature}", base64(r#"{"alg":7}"#)), "MalformedToken"),
        (format!("{head}.{}.{signature}", base64("[]")), "InvalidSignature"),
        (format!("{head}.{body}.{}", "A".repeat(20_000)), "OversizedToken"),
    ] {
        assert_eq!(ask(&layer, &records, &token).await, refused(expected), "{token}");
    }
    // Another scheme is another matter.
    send(&layer, get(&[("authorization", &format!("Token {token}"))])).await;
    assert_eq!(who(&records).2, json!(null));
    send(&layer, get(&[("authorization", &format!("bearer  {token}"))])).await;
    assert_eq!(who(&records).1, "bearer");
}

#[tokio::test]
async fn actors_are_told() {
    let issuer = Issuer::new("a");
    let (layer, records) = layer(|builder| builder.jwt(issuer.verifier()));
    let act = json!({ "sub": "support", "act": { "sub": "desk", "iss": "https://b" } });
    send(&layer, get(&[("authorization", &format!("Bearer {}", issuer.sign(&with("act", act))))])).await;
    let record = crate::support::only(&records);
    assert_eq!(record["userIdentity"]["sessionContext"]["sessionIssuer"]["userName"], "support");
    assert_eq!(record["additionalEventData"]["priorActors"], json!(["https://b:desk"]));
    assert!(!record.to_string().contains("Jo"), "only what is used is kept");
}

/// Asks again until the answer is the one that is expected: the file is read by somebody else.
async fn until(layer: &AuditLayer, records: &MemorySink, token: &str, expected: Result<String, String>) {
    let start = Instant::now();
    loop {
        let answer = ask(layer, records, token).await;
        if answer == expected {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{answer:?} is not {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

#[tokio::test]
async fn keys_rotate() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let (old, new) = (Issuer::new("old"), Issuer::ecdsa("new"));
    replace(&path, &set(&[&old]));
    let verifier = JwtVerifier::builder().jwks_file(&path).any_audience().build().unwrap();
    let (layer, records) = layer(|builder| builder.jwt(verifier.clone()));
    assert_eq!(ask(&layer, &records, &old.token()).await, believed());
    assert_eq!(ask(&layer, &records, &new.token()).await, refused("UnknownKey"));

    // A token that names an unknown key has the file read.
    replace(&path, &set(&[&old, &new]));
    until(&layer, &records, &new.token(), believed()).await;
    assert_eq!(ask(&layer, &records, &old.token()).await, believed());
    assert_eq!((verifier.status().keys, verifier.status().reloads), (2, 1));

    // What is no key set does not replace one.
    for (failures, text) in [(1, "{\"keys\":["), (2, "{\"keys\":[]}")] {
        replace(&path, text);
        let start = Instant::now();
        while verifier.status().failures < failures {
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", verifier.status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(verifier.status().error.unwrap().contains("jwks.json"));
        assert_eq!(ask(&layer, &records, &new.token()).await, believed());
    }

    // A key that is gone believes nothing any more, tokens it verified a moment ago included.
    let token = old.token();
    assert_eq!(ask(&layer, &records, &token).await, believed());
    replace(&path, &set(&[&new]));
    until(&layer, &records, &token, refused("UnknownKey")).await;
    assert_eq!(ask(&layer, &records, &new.token()).await, believed());
    let status = verifier.status();
    assert_eq!((status.keys, status.reloads, status.failures, status.error), (1, 2, 2, None));
}

#[test]
fn a_verifier_needs_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let error = |path: &Path| JwtVerifier::from_jwks_file(path).unwrap_err().to_string();
    assert_eq!(error(&path), format!("cannot read key set {}", path.display()));
    assert_eq!(error(directory.path()), format!("cannot read key set {}", directory.path().display()));
    fs::write(&path, "secret").unwrap();
    assert_eq!(error(&path), format!("key set {} is not a JSON Web Key Set", path.display()));
    fs::write(&path, " ".repeat(600_000)).unwrap();
    assert_eq!(error(&path), format!("key set {} is over 512 KiB", path.display()));
    let none = JwtVerifier::builder().build().unwrap_err();
    assert_eq!(none.to_string(), "neither a file nor a text with keys is given");
    let settings = Issuer::new("a").settings().algorithms([JwtAlgorithm::Rs256]);
    let message = settings.build().unwrap_err().to_string();
    assert_eq!(message, "key set is without a key for an allowed algorithm");
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sextets = |chunk: &[u8]| {
        let bits = chunk.iter().chain([&0; 2]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        (0..=chunk.len()).map(move |at| char::from(ALPHABET[bits >> (18 - 6 * at) & 63])).collect::<String>()
    };
    text.as_bytes().chunks(3).map(sextets).collect()
}
