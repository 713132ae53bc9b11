//! A JSON body goes through the layer untouched, and no value under a secret's name reaches the record.

use std::convert::Infallible;
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use sidetrail::{AuditLayer, Level, MemorySink, RequestBody, RouteTemplate};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, ServiceExt};

pub(super) const WORDS: &[&str] = &[
    "\"password\":\"",
    "\"apiKey\":{",
    "\"client_secret\":[",
    "\"Set-Cookie\":",
    "\"pass\\u0077ord\":\"",
    "\"pin\":",
    "Bearer ",
    "eyJhbGciOiJIUzI1NiJ9.e30.",
    "-----BEGIN PRIVATE KEY-----",
    "ghp_",
    "https://u:p@h/",
    "\\u0000",
    "[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "\\ud83d\\ude00",
    "1e999",
    ", ",
    "\n",
    "null",
];

const SEEDS: [&str; 8] = [
    r#"{"user":"ana","password":"correct horse","order":{"id":17,"apiKey":"k-1234567890","lines":[{"sku":"a","n":1.10}]}}"#,
    r#"[{"client_secret":{"a":["deep","deeper"]}},{"note":"Bearer abcdefghijklmnopqrstuvwxyz"}]"#,
    r#"{"card":{"number":"4111111111111111","cvv":"123","pin":9999},"card.pin":"1234","card[pin]":"1234"}"#,
    r#"{"pass\u0077ord":"escaped name","PASS-WORD":"folded","x":"\ud83d\ude00","y":"tab\tnewline\n"}"#,
    r#"{"url":"https://user:hunter2@example.com/","jwt":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"}"#,
    r#"{ "a" : [ 1 , -0.5e+10 , true , null , "" ] , "b" : { } }"#,
    r#"{"password":null,"token":false,"cookie":[],"secret":"","a":{"password":{"password":"inner value"}}}"#,
    r#""just a text""#,
];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let real = super::real_records().into_iter().map(String::into_bytes);
    SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).chain(real).collect()
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime without drivers"));

pub(super) fn check(input: &[u8]) {
    let records = MemorySink::default();
    let builder = AuditLayer::builder("orders.example.com").level(Level::RequestResponse);
    let layer = builder.sink(records.clone()).build().expect("a layer");
    // The service answers with what it was sent, so both bodies are looked at.
    let echo = layer.layer(tower::service_fn(|request: Request<RequestBody<Full<Bytes>>>| async {
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let response = Response::builder().header(CONTENT_TYPE, "application/json");
        Ok::<_, Infallible>(response.body(Full::new(body)).expect("a response"))
    }));
    let request = Request::post("/orders")
        .header(CONTENT_TYPE, "application/json")
        .extension(RouteTemplate::new("/orders"))
        .body(Full::new(Bytes::copy_from_slice(input)))
        .expect("a request");
    let answered = RUNTIME.block_on(async {
        let response = echo.oneshot(request).await.expect("infallible");
        response.into_body().collect().await.expect("a body").to_bytes()
    });
    assert_eq!(answered, input, "the layer changed a body");

    let records = records.take();
    assert_eq!(records.len(), 1, "one request, one record");
    let text = serde_json::to_string(&records[0]).expect("a record can be written");
    // Whatever a body holds, its record is one that everybody can read.
    let record: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        // A number that is none for `Value` is one in JSON.
        assert!(error.to_string().contains("number out of range"), "{error}: {text}");
        Value::Null
    });
    let Ok(body) = serde_json::from_slice::<Value>(input) else { return };
    let mut texts = Texts::default();
    texts.collect(&body, false);
    let mut shown = Texts::default();
    shown.collect(&record, false);
    for secret in &texts.secret {
        let elsewhere = texts.open.iter().any(|open| open.contains(secret.as_str()));
        assert!(elsewhere || !shown.open.contains(secret), "a secret is in the record: {text}");
    }
}

/// The strings of a document that are long enough to be told from others, by whether their name hides them.
#[derive(Default)]
struct Texts {
    open: Vec<String>,
    secret: Vec<String>,
}

impl Texts {
    fn collect(&mut self, value: &Value, hidden: bool) {
        match value {
            Value::String(text) if hidden && text.len() < 6 => {}
            Value::String(text) if hidden => self.secret.push(text.clone()),
            Value::String(text) => self.open.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| self.collect(value, hidden)),
            Value::Object(members) => {
                for (name, value) in members {
                    // Names are shown.
                    self.open.push(name.clone());
                    self.collect(value, hidden || name == "password");
                }
            }
            _ => {}
        }
    }
}
