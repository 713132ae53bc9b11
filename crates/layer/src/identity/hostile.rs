//! Whatever a client sends, no place to look panics: a [`Chain`](super::Chain) would hide it.

use http::{HeaderValue, request::Parts};
use proptest::prelude::*;

use super::{Answer, ApiKeys, ProxyHeaders, basic};
use crate::PeerAddr;

/// Every place that reads what a client sent.
fn ask_all(parts: &Parts) -> Vec<Answer> {
    let keys = ApiKeys::header("x-api-key", "0123456789abcdef");
    let proxy = ProxyHeaders::behind(["0.0.0.0/0"]).id("x-forwarded-user").look();
    let answers = vec![basic(parts), keys.look()(parts), proxy.unwrap_or_else(|_| panic!("settings"))(parts)];
    #[cfg(feature = "jwt")]
    let answers = {
        const KEY: &str =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let verifier = super::JwtVerifier::builder().jwks(format!("{{\"keys\":[{KEY}]}}")).build().unwrap();
        answers.into_iter().chain([verifier.look(parts)]).collect()
    };
    answers
}

fn header() -> impl Strategy<Value = Vec<u8>> {
    let plausible =
        r"(Bearer|Basic|bearer) ?(eyJhbGciOiJFZERTQSJ9\.)?[A-Za-z0-9_=.-]{0,24}(\.[A-Za-z0-9_-]{0,12}){0,2}";
    let plausible = proptest::string::string_regex(plausible).unwrap().prop_map(String::into_bytes);
    prop_oneof![plausible, proptest::collection::vec(any::<u8>(), 0..64)].prop_map(|mut bytes| {
        bytes.retain(|byte| HeaderValue::from_bytes(&[*byte]).is_ok());
        bytes
    })
}

proptest! {
    #[test]
    fn no_header_panics(authorization in header(), key in header(), user in header()) {
        let request = http::Request::builder()
            .header("authorization", authorization)
            .header("x-api-key", key)
            .header("x-forwarded-user", user);
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(PeerAddr(([192, 0, 2, 1], 80).into()));
        prop_assert!(ask_all(&parts).len() >= 3);
    }

    #[cfg(feature = "mtls")]
    #[test]
    fn no_certificate_panics(der in proptest::collection::vec(any::<u8>(), 0..512)) {
        prop_assert_eq!(super::PeerCertificate::new(der).identity(), None);
    }
}
