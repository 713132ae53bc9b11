//! Who called and from where, as records have it.

#[cfg(feature = "jwt")]
mod jwt;
#[cfg(feature = "mtls")]
mod mtls;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use sidetrail::{
    ApiKeys, AuditLayer, Builder, Identity, JwtClaims, MemorySink, PeerAddr, ProxyHeaders, RequestBody,
};
use tower::{Layer, ServiceExt};

use crate::support::{Script, collect, only, request, service};

const HASHING_KEY: &str = "a key for tests of 16 bytes or more";

/// A layer with more to look at.
fn layer(configure: impl FnOnce(Builder) -> Builder) -> (AuditLayer, MemorySink) {
    let records = MemorySink::default();
    let builder = AuditLayer::builder("orders.example.com").sink(records.clone());
    (configure(builder).build().unwrap(), records)
}

/// Sends a request through it.
async fn send(layer: &AuditLayer, request: Request<Full<Bytes>>) {
    let handler = service(async |_: Request<RequestBody<_>>| {
        Ok(Response::builder().status(StatusCode::NO_CONTENT).body(Script::new([])).unwrap())
    });
    let response = layer.layer(handler).oneshot(request).await.unwrap();
    collect(response.into_body()).await;
}

fn get(headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = request(Method::GET, "/orders/17");
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

fn from(peer: &str, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(PeerAddr(peer));
    request
}

/// Identity, source and error of the one record.
fn who(records: &MemorySink) -> (Value, Value, Value) {
    let mut record = only(records);
    let additional = record["additionalEventData"].take();
    let [source, error] = ["identitySource", "identityError"].map(|name| additional[name].clone());
    (record["userIdentity"].take(), source, error)
}

#[tokio::test]
async fn places_are_asked_in_order() {
    let (layer, records) = layer(|builder| {
        builder.basic_auth().api_keys(ApiKeys::header("x-api-key", HASHING_KEY)).identity("legacy", |parts| {
            Some(Identity::user("0", parts.headers.get("x-legacy")?.to_str().ok()?))
        })
    });
    let basic = ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    let key = ("x-api-key", "hunter2");
    let legacy = ("x-legacy", "ada");

    send(&layer, get(&[])).await;
    let anonymous = json!({ "type": "Unknown", "principalId": "anonymous" });
    assert_eq!(who(&records), (anonymous, json!("none"), json!(null)));

    let mut claimed = get(&[]);
    claimed.extensions_mut().insert(JwtClaims::new(&json!({ "sub": "u1" })).unwrap());
    send(&layer, claimed).await;
    assert_eq!(who(&records).1, "jwt");

    let mut claimed = get(&[legacy]);
    claimed.extensions_mut().insert(JwtClaims::new(&json!({ "sub": "u1" })).unwrap());
    send(&layer, claimed).await;
    assert_eq!(who(&records).1, "legacy");

    send(&layer, get(&[key, legacy])).await;
    let (identity, source, _) = who(&records);
    let id = ApiKeys::header("x-api-key", HASHING_KEY).id("hunter2");
    assert_eq!(identity, json!({ "type": "IAMUser", "principalId": id, "accessKeyId": id }));
    assert_eq!(source, "apiKey");

    send(&layer, get(&[basic, key, legacy])).await;
    let identity = json!({ "type": "IAMUser", "principalId": "Aladdin", "userName": "Aladdin" });
    assert_eq!(who(&records), (identity, json!("basic"), json!(null)));

    let mut known = get(&[basic]);
    known.extensions_mut().insert(Identity::service("billing.example.com"));
    send(&layer, known).await;
    assert_eq!(who(&records).1, "extension");

    // What was not believed is told beside the one who answered.
    send(&layer, get(&[("authorization", "Basic !"), key])).await;
    let (_, source, error) = who(&records);
    assert_eq!((source, error), (json!("apiKey"), json!("basic: MalformedCredentials")));
}

#[tokio::test]
async fn proxies_are_believed_by_their_address() {
    let (layer, records) = layer(|builder| {
        builder
            .trusted_proxies(["10.0.0.0/8"])
            .proxy_headers(ProxyHeaders::behind(["10.0.0.1"]).id("x-forwarded-user"))
    });
    let headers = [("x-forwarded-user", "jo"), ("x-forwarded-for", "1.2.3.4, 192.0.2.7, 10.0.0.2")];

    send(&layer, from("10.0.0.1:9", get(&headers))).await;
    let record = only(&records);
    assert_eq!(record["sourceIPAddress"], "192.0.2.7");
    assert_eq!(record["userIdentity"]["userName"], "jo");
    let additional = &record["additionalEventData"];
    assert_eq!(additional["client.address"], "192.0.2.7");
    assert_eq!(additional["network.peer.address"], "10.0.0.1");

    for peer in ["192.0.2.9:9", "[2001:db8::1]:9"] {
        send(&layer, from(peer, get(&headers))).await;
        let record = only(&records);
        let peer: SocketAddr = peer.parse().unwrap();
        assert_eq!(record["sourceIPAddress"], peer.ip().to_string());
        assert_eq!(record["userIdentity"]["principalId"], "anonymous");
        let additional = &record["additionalEventData"];
        assert_eq!(additional["identityError"], "proxy: UntrustedProxy");
        assert_eq!(
            (&additional["client.address"], &additional["addressError"]),
            (&json!(null), &json!(null))
        );
    }

    // Without a connection's address, nobody is trusted.
    send(&layer, get(&headers)).await;
    let record = only(&records);
    assert_eq!(record["sourceIPAddress"], "unknown");
    assert_eq!(record["userIdentity"]["principalId"], "anonymous");
}

#[tokio::test]
async fn settings_that_make_no_sense_are_named() {
    let error = |configure: fn(Builder) -> Builder| {
        let builder = AuditLayer::builder("orders.example.com").sink(MemorySink::default());
        configure(builder).build().unwrap_err().to_string()
    };
    assert_eq!(
        error(|builder| builder.trusted_proxies(["10.0.0.0/8", "localhost"])),
        r#"trusted_proxies: "localhost" is neither a network nor an address"#
    );
    assert_eq!(
        error(|builder| builder.proxy_headers(ProxyHeaders::behind(["::1"]).id("x forwarded"))),
        r#"proxy_headers: "x forwarded" is not the name of a header"#
    );
    assert_eq!(
        error(|builder| builder.api_keys(ApiKeys::header("x-api-key", "hunter2")).trusted_proxies(["x"])),
        r#"api_keys: "the hashing key" is shorter than 16 bytes"#
    );
}

#[tokio::test]
async fn no_secret_is_in_a_record_or_a_message() {
    const SECRETS: [&str; 5] = ["hunter2", "opensesame", HASHING_KEY, "eyJhbGciOi", "c2lnbmF0dXJl"];
    let (layer, records) = layer(|builder| {
        let keys = ApiKeys::header("x-api-key", HASHING_KEY);
        let builder = builder.basic_auth().api_keys(keys);
        #[cfg(feature = "jwt")]
        let builder = builder.jwt(jwt::Issuer::new("k1").verifier());
        builder
    });
    assert!(!format!("{layer:?}").contains(HASHING_KEY));
    let token = "Bearer eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl";
    for headers in [
        &[("x-api-key", "hunter2")][..],
        // jo:opensesame, opensesame:, opensesame
        &[(header::AUTHORIZATION.as_str(), "Basic am86b3BlbnNlc2FtZQ==")],
        &[(header::AUTHORIZATION.as_str(), "Basic b3BlbnNlc2FtZTo=")],
        &[(header::AUTHORIZATION.as_str(), "Basic b3BlbnNlc2FtZQ==")],
        &[(header::AUTHORIZATION.as_str(), token)],
        &[(header::AUTHORIZATION.as_str(), token), ("x-api-key", "hunter2")],
        &[(header::AUTHORIZATION.as_str(), token), (header::AUTHORIZATION.as_str(), "Bearer hunter2")],
        &[(header::AUTHORIZATION.as_str(), "Bearer hunter2")],
    ] {
        send(&layer, get(headers)).await;
        let records = records.take();
        let text = serde_json::to_string(&records).unwrap() + &format!("{records:?}");
        for secret in SECRETS.into_iter().chain(["b3BlbnNlc2FtZ"]) {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
