//! Secrets, wherever callers and handlers put them, do not reach the bytes of a record.

use axum::{Json, Router, body::Body, extract::State, routing::post};
use http::{HeaderName, HeaderValue, Request, header::CONTENT_TYPE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sidetrail::{Audit, AuditLayer, Level, MemorySink, Recorded, Rule, Sensitive};
use tower::ServiceExt;

use crate::support::collect;

/// The same bytes in other clothes.
fn forms(secret: &str) -> Vec<String> {
    let json = Value::from(secret).to_string();
    let escaped: String = secret.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let mut forms = vec![
        secret.to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        json[1..json.len() - 1].to_owned(),
        escaped,
    ];
    // A secret within a longer text begins at any of three places of a group of four letters.
    for skip in 0..3 {
        let whole = &secret.as_bytes()[skip..];
        forms.push(base64(&whole[..whole.len() / 3 * 3]));
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |group: u32, shift: u32| char::from(LETTERS[(group >> shift & 63) as usize]);
    let group = |chunk: &[u8]| {
        let number = chunk.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        [18, 12, 6, 0].map(|shift| letter(number, shift))
    };
    bytes.chunks_exact(3).flat_map(group).collect()
}

/// No secret by its looks, and nothing else in a record has it.
fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9é\"\\\\ /+=]{12,24}".prop_map(|text| format!("zQ{text}Qz"))
}

/// A secret by its looks.
fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9._~-]{20,30}".prop_map(|text| format!("Bearer {text}")),
        "[a-zA-Z0-9]{36}".prop_map(|text| format!("ghp_{text}")),
        ("[a-zA-Z0-9_-]{12}", "[a-zA-Z0-9_-]{12}").prop_map(|(one, two)| format!("eyJhbGciOi.{one}.{two}")),
        "[a-zA-Z0-9]{12,20}".prop_map(|text| format!("postgres://app:{text}@db/orders")),
    ]
}

fn denied() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "password",
        "API-Key",
        "refresh_token",
        "clientSecret",
        "cvv",
        "Tax-Number",
        "x_session",
    ])
}

/// The secret somewhere deep.
fn bury(name: &str, secret: &str, depth: u8) -> Value {
    (0..depth).fold(json!({ name: secret, "shown": 1 }), |value, level| {
        if level % 2 == 0 { json!({ "inner": value }) } else { json!({ "list": [0, value] }) }
    })
}

#[derive(Clone, Deserialize, Serialize)]
struct Typed {
    shown: u8,
    /// A name that tells nothing.
    word: Sensitive<String>,
}

async fn add(State((name, secret, look)): State<(String, String, String)>, audit: Audit, body: Body) {
    let _ = axum::body::to_bytes(body, usize::MAX).await;
    audit.parameter(&name, &secret);
    audit.parameter("nested", &bury(&name, &secret, 3));
    audit.parameter("look", &look);
    audit.response_element(&name, &[&secret]);
    audit.error("Failed", format!("upstream said {look}"));
    audit.change(Some("a"), &json!({ &name: "old" }), &bury(&name, &secret, 0));
    audit.change(
        None,
        &json!({ "a": { "b": 1 } }),
        &json!({ "a": { "b": look }, "c": bury(&name, &secret, 2) }),
    );
}

async fn answer(State((name, secret, look)): State<(String, String, String)>, body: Body) -> Json<Value> {
    let _ = axum::body::to_bytes(body, usize::MAX).await;
    Json(json!({ "id": look, "deep": bury(&name, &secret, 2), name: secret }))
}

/// A message with the secrets in it.
#[cfg(feature = "grpc-messages")]
fn grpc(look: &str, secret: &str) -> Vec<(String, &'static str, Vec<u8>)> {
    let message = json!({ "orderId": look, "original": { "apiToken": secret } });
    vec![("/shop.v1.Orders/Refund".to_owned(), "application/grpc", crate::grpc::frame(&message))]
}

#[cfg(not(feature = "grpc-messages"))]
fn grpc(_: &str, _: &str) -> Vec<(String, &'static str, Vec<u8>)> {
    Vec::new()
}

/// Sends everything everywhere. The text of all records.
async fn records(name: &str, secret: &str, look: &str, depth: u8, key: bool) -> String {
    let sink = MemorySink::default();
    let mut builder = AuditLayer::builder("orders.example.com")
        .sink(sink.clone())
        .level(Level::RequestResponse)
        .redact("taxNumber")
        .record_headers(["x-look", "x-api-key", "cookie"])
        .route(http::Method::POST, "/picked", Rule::new().response_elements(["/id", "/deep", "/deep/list"]))
        .route(http::Method::POST, "/denied", Rule::new().deny("xSession"))
        .redact("xSession");
    if key {
        builder = builder.redaction_key([1; 32]);
    }
    #[cfg(feature = "grpc-messages")]
    {
        builder = builder.grpc_descriptors(&crate::grpc::descriptors());
    }
    let layer = builder.build().unwrap();
    let state = (name.to_owned(), secret.to_owned(), look.to_owned());
    let app = Router::new()
        .route("/add", post(add))
        .route("/{password}/look/{id}", post(answer))
        .route("/picked", post(answer))
        .route("/denied", post(answer))
        .route("/typed", post(async |Recorded(typed): Recorded<Typed>| Json(typed)))
        .route("/shop.v1.Orders/Refund", post(answer))
        .with_state(state)
        .layer(layer);
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (name_, secret_, look_) = (encode(name), encode(secret), encode(look));
    let query = format!("{name_}={secret_}&x={look_}&{name_}={secret_}&card[{name_}]={secret_}");
    let body = json!({ "a": bury(name, secret, depth), name: [secret], "text": look }).to_string();
    let multipart = format!(
        "--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename*=UTF-8''{secret_}\r\n\r\n{secret}\r\n\
         --b\r\nContent-Disposition: form-data; name=n; filename=\"{look}\"\r\n\r\n{look}\r\n--b--\r\n"
    );
    let mut requests = grpc(look, secret);
    requests.extend([
        ("/add".to_owned(), "application/json", body.clone().into_bytes()),
        (
            format!("/{secret_}/look/{look_}?{query}"),
            "application/x-www-form-urlencoded",
            query.clone().into(),
        ),
        (format!("/picked?{query}"), "multipart/form-data; boundary=b", multipart.into()),
        ("/denied".to_owned(), "application/json", body.clone().into_bytes()),
        // Not JSON, and not the type.
        ("/denied".to_owned(), "application/json", body[..body.len() - 1].into()),
        ("/denied".to_owned(), "text/plain", body.clone().into_bytes()),
        ("/typed".to_owned(), "application/json", json!({ "shown": 1, "word": secret }).to_string().into()),
        ("/typed".to_owned(), "application/json", json!({ "shown": 1, "words": secret }).to_string().into()),
    ]);
    let count = requests.len();
    for (uri, content_type, body) in requests {
        let mut request =
            Request::post(uri).header(CONTENT_TYPE, content_type).body(Body::from(body)).unwrap();
        for (name, value) in
            [("x-look", look), ("x-api-key", secret), ("cookie", secret), ("user-agent", look)]
        {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                request.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        let response = app.clone().oneshot(request).await.unwrap();
        collect(response.into_body()).await;
    }
    let records = sink.take();
    assert_eq!(records.len(), count);
    serde_json::to_string(&records).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_secret_reaches_a_record(
        name in denied(),
        secret in word(),
        look in token(),
        depth in 0..6_u8,
        key in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let text = runtime.block_on(records(name, &secret, &look, depth, key));
        for form in forms(&secret).into_iter().chain(forms(&look)) {
            prop_assert!(!text.contains(&form), "{form} in {text}");
        }
    }
}
