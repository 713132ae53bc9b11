use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::Code;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const AT: &str = "2015-08-30T12:36:00Z";

#[derive(Deserialize)]
struct Suite {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    request: String,
    canonical: String,
    to_sign: String,
    authorization: String,
}

struct Parsed {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: String,
}

impl Parsed {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let line = lines.next().unwrap();
        let (method, rest) = line.split_once(' ').unwrap();
        let uri = rest.rsplit_once(' ').unwrap().0;
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let mut headers = HeaderMap::new();
        let mut last = None;
        for line in lines {
            // A line that begins with a space goes on with the header before it.
            let (name, value) = if line.starts_with(' ') {
                (last.clone().unwrap(), line)
            } else {
                let (name, value) = line.split_once(':').unwrap();
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), value)
            };
            headers.append(name.clone(), HeaderValue::from_str(value.trim()).unwrap());
            last = Some(name);
        }
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: body.to_owned(),
        }
    }

    fn request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: self.body.as_bytes(),
        }
    }
}

fn expected(now: &str) -> Expected<'static> {
    Expected { now: now.parse().unwrap(), service: "service", skew: SKEW }
}

/// The published suite: each request's canonical form, what is signed, and the signature, which we take and would make.
#[test]
fn the_published_vectors_hold() {
    let suite: Suite = serde_json::from_str(include_str!("../../testdata/sigv4.json")).unwrap();
    assert!(suite.cases.len() >= 29);
    for case in &suite.cases {
        let mut parsed = Parsed::of(&case.request);
        let name = &case.name;
        parsed.headers.insert(AUTHORIZATION, HeaderValue::from_str(&case.authorization).unwrap());
        let request = parsed.request();
        let claim = Claim::of(&request).unwrap_or_else(|error| panic!("{name}: {error}"));
        let canonical = canonical::request(&request, &claim.signed);
        assert_eq!(canonical, case.canonical, "{name}");
        let to_sign = canonical::to_sign(&claim.time, &claim.date, &claim.region, &claim.service, &canonical);
        assert_eq!(to_sign, case.to_sign, "{name}");
        let verified = claim.verify(&request, &Secret::new(SECRET), expected(AT));
        // One of the suite's is a token that is added after signing, which no service takes.
        if name == "post-sts-header-after" && parsed.headers.contains_key(TOKEN_HEADER) {
            assert!(verified.is_err(), "{name}");
        } else {
            assert_eq!(verified, Ok(()), "{name}");
        }

        let mut unsigned = parsed.headers.clone();
        unsigned.remove(AUTHORIZATION);
        let credentials = Credentials {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret: Secret::new(SECRET),
            session_token: None,
        };
        let request = Request { headers: &unsigned, ..request };
        let signed = sign(&request, &credentials, "us-east-1", "service", AT.parse().unwrap()).unwrap();
        assert_eq!(signed[AUTHORIZATION].to_str().unwrap(), case.authorization, "{name}");
    }
}

fn signed(at: &str, token: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost:1"));
    headers.insert("x-amz-target", HeaderValue::from_static("CloudTrail_20131101.ListTrails"));
    let credentials = Credentials {
        access_key: "AKID".to_owned(),
        secret: Secret::new("secret"),
        session_token: token.map(str::to_owned),
    };
    sign(&request(&headers, b"{}"), &credentials, "eu-west-1", "service", at.parse().unwrap()).unwrap()
}

fn request<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Request<'a> {
    Request { method: "POST", path: "/", query: "", headers, body }
}

fn verify(request: &Request<'_>, secret: &str, now: &str) -> Result<(), crate::Error> {
    Claim::of(request)?.verify(request, &Secret::new(secret), expected(now))
}

#[test]
fn what_was_changed_is_refused() {
    let headers = signed(AT, Some("token"));
    let good = request(&headers, b"{}");
    assert_eq!(Claim::of(&good).unwrap().session_token.as_deref(), Some("token"));
    assert_eq!(verify(&good, "secret", AT), Ok(()));
    let refused = |request: &Request<'_>, secret: &str| {
        let error = verify(request, secret, AT).unwrap_err();
        assert_eq!(error.code, Code::InvalidSignature, "{error}");
        assert!(!error.message.contains("secret"));
    };
    refused(&good, "Secret");
    refused(&Request { body: b"{ }", ..good }, "secret");
    refused(&Request { method: "GET", ..good }, "secret");
    refused(&Request { path: "/x", ..good }, "secret");
    refused(&Request { query: "a", ..good }, "secret");
    for (name, value) in [
        ("x-amz-target", "CloudTrail_20131101.DeleteTrail"),
        ("host", "elsewhere"),
        ("x-amz-security-token", "other"),
        // One that is new, and would be believed.
        ("x-amz-user-agent", "x"),
    ] {
        let mut headers = headers.clone();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        refused(&request(&headers, b"{}"), "secret");
    }
    let mut doubled = headers.clone();
    doubled.append("x-amz-target", HeaderValue::from_static("CloudTrail_20131101.DeleteTrail"));
    refused(&request(&doubled, b"{}"), "secret");
}

#[test]
fn clocks_may_be_five_minutes_apart() {
    let headers = signed(AT, None);
    let request = request(&headers, b"{}");
    for now in ["2015-08-30T12:41:00Z", "2015-08-30T12:31:00Z"] {
        assert_eq!(verify(&request, "secret", now), Ok(()), "{now}");
    }
    for (now, says) in [
        ("2015-08-30T12:41:01Z", "Signature expired: 20150830T123600Z is now earlier than 20150830T124101Z"),
        ("2015-08-30T12:30:59Z", "Signature not yet current: 20150830T123600Z is still later"),
    ] {
        let error = verify(&request, "secret", now).unwrap_err();
        assert_eq!(error.code, Code::InvalidSignature);
        assert!(error.message.contains(says), "{}", error.message);
    }
}

fn presigned(expires: &str, now: &str) -> Result<(), crate::Error> {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost:1"));
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20150830%2Feu-west-1%2Fservice%2Faws4_request\
         &X-Amz-Date=20150830T123600Z&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host"
    );
    let unsigned = Request { method: "POST", path: "/", query: &query, headers: &headers, body: b"{}" };
    let canonical = canonical::request(&unsigned, &["host".to_owned()]);
    let to_sign = canonical::to_sign("20150830T123600Z", "20150830", "eu-west-1", "service", &canonical);
    let signing_key = key::signing_key(&Secret::new("secret"), "20150830", "eu-west-1", "service");
    let signature = key::hex(&key::signature(&signing_key, &to_sign));
    let query = format!("{query}&X-Amz-Signature={signature}");
    verify(&Request { query: &query, ..unsigned }, "secret", now)
}

#[test]
fn a_presigned_request_is_good_for_as_long_as_it_says() {
    assert_eq!(presigned("900", "2015-08-30T12:51:00Z"), Ok(()));
    let error = presigned("900", "2015-08-30T12:51:01Z").unwrap_err();
    assert!(error.message.starts_with("Signature expired"), "{}", error.message);
    assert_eq!(presigned("604800", "2015-09-06T12:36:00Z"), Ok(()));
    for expires in ["0", "604801", "-1", "x", ""] {
        assert_eq!(presigned(expires, AT).unwrap_err().code, Code::IncompleteSignature, "{expires}");
    }
}

#[test]
fn what_is_not_all_there_is_named() {
    let empty = HeaderMap::new();
    let nothing = request(&empty, b"");
    assert_eq!(Claim::of(&nothing).unwrap_err().code, Code::MissingAuthenticationToken);
    for value in [
        "Bearer abc",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a",
        "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host, Signature=zz",
        "AWS4-HMAC-SHA256 Credential=a/20150830/r/s/aws4_request, Credential=b, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=a/20150830/r/s/aws4_request, SignedHeaders=Host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=a/20150830/r/s/aws4_request, SignedHeaders=x;host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=a/20150830/r/s/aws4_request, SignedHeaders=host, Signature=é",
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        headers.insert(DATE_HEADER, HeaderValue::from_static("20150830T123600Z"));
        let error = Claim::of(&request(&headers, b"")).unwrap_err();
        assert!(matches!(error.code, Code::IncompleteSignature | Code::InvalidSignature), "{value}: {error}");
    }
}

#[test]
fn secrets_are_compared_as_a_whole_and_never_shown() {
    let secret = Secret::new("abc");
    assert!(secret.is("abc"));
    assert!(!secret.is("abd"));
    assert!(!secret.is("ab"));
    assert_eq!(format!("{secret:?}"), "Secret(…)");
}

proptest! {
    #[test]
    fn no_text_panics(value in ".{0,200}", query in ".{0,100}", at in -4_000_000_000_i64..4_000_000_000) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&format!("AWS4-HMAC-SHA256 {value}")) {
            headers.insert(AUTHORIZATION, value);
        }
        headers.insert(DATE_HEADER, HeaderValue::from_static("20150830T123600Z"));
        let request = Request { method: "POST", path: "/", query: &query, headers: &headers, body: b"" };
        if let Ok(claim) = Claim::of(&request) {
            let now = Timestamp::from_second(at).unwrap();
            let expected = Expected { now, service: "service", skew: SignedDuration::ZERO };
            prop_assert!(claim.verify(&request, &Secret::new("s"), expected).is_err());
        }
    }
}
