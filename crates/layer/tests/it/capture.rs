//! What of bodies and headers is recorded, and what is hidden.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use sidetrail::{AuditLayer, BuildError, Level, MemorySink, Rule, Sensitive};

use crate::support::{exchange, exchange_with, post, request};

const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";
const JSON: &str = "application/json";

#[tokio::test]
async fn forms_are_members() {
    let body = "item=tea&size=x+l&password=p&note=a&note=b";
    let record = exchange(
        |builder| builder,
        post("/orders", "/orders", "application/x-www-form-urlencoded", body),
        "",
    )
    .await;
    let expected = json!({ "item": "tea", "size": "x l", "password": HIDDEN, "note": ["a", "b"] });
    assert_eq!(record["requestParameters"], expected);
}

#[tokio::test]
async fn multipart_bodies_are_described() {
    let body = "--b\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"me.png\"\r\n\
                Content-Type: image/png\r\n\r\n12345\r\n--b--\r\n";
    let record =
        exchange(|builder| builder, post("/photos", "/photos", "multipart/form-data; boundary=b", body), "")
            .await;
    let part = json!({ "name": "photo", "fileName": "me.png", "contentType": "image/png", "size": 5 });
    assert_eq!(record["requestParameters"]["body"], json!({ "parts": [part], "count": 1 }));
    assert_eq!(record["additionalEventData"]["http.request.body.sha256"], json!(null));
}

#[tokio::test]
async fn what_is_not_recorded_is_hashed_unless_somebody_minds() {
    let body = vec![7; 100_000];
    let hash: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    let upload = || post("/files", "/files", "application/octet-stream", body.clone());
    let record = exchange(|builder| builder, upload(), "").await;
    assert_eq!(record["additionalEventData"]["http.request.body.sha256"], json!(hash));
    assert_eq!(
        record["requestParameters"]["body"],
        json!({ "reason": "body is not JSON", "omitted": true, "originalSize": 100_000,
                "contentType": "application/octet-stream" })
    );
    let no_hash = json!(null);
    let record = exchange(|builder| builder.body_hash(false), upload(), "").await;
    assert_eq!(record["additionalEventData"]["http.request.body.sha256"], no_hash);
    let rule = Rule::new().body_hash(false);
    let record = exchange(|builder| builder.route(Method::POST, "/files", rule), upload(), "").await;
    assert_eq!(record["additionalEventData"]["http.request.body.sha256"], no_hash);
    let record = exchange(|builder| builder.level(Level::Metadata), upload(), "").await;
    assert_eq!(record["additionalEventData"]["http.request.body.sha256"], no_hash);
}

#[tokio::test]
async fn chosen_response_elements() {
    const ANSWER: &str =
        r#"{"id":7,"items":[{"sku":"a","id":8}],"token":"t","note":"Bearer abc123","rest":1}"#;
    let rule =
        Rule::new().response_elements(["/id", "/items/0/sku", "/items/0/id", "/token", "/note", "/none"]);
    for level in [Level::Metadata, Level::RequestResponse] {
        let rule = rule.clone().level(level);
        let record = exchange(
            |builder| builder.route(Method::POST, "/orders", rule),
            post("/orders", "/orders", JSON, "{}"),
            ANSWER,
        )
        .await;
        assert_eq!(
            record["responseElements"],
            json!({ "id": 7, "sku": "a", "/items/0/id": 8, "token": HIDDEN, "note": HIDDEN })
        );
    }
    let rule = Rule::new().response_elements(["/id"]);
    let record = exchange(
        |builder| builder.body_cap(8).route(Method::POST, "/orders", rule),
        post("/orders", "/orders", JSON, "{}"),
        ANSWER,
    )
    .await;
    assert_eq!(record["responseElements"]["body"]["reason"], "body too large");
}

#[tokio::test]
async fn routes_hide_and_show_on_their_own() {
    let body = r#"{"session":"opening","note":"n","user":{"password":"p"},"amount":1}"#;
    let sent = || post("/talks/17?seat=3", "/talks/{id}", JSON, body);
    let record =
        |rule: Rule| exchange(|builder| builder.route(Method::POST, "/talks/{id}", rule), sent(), "");
    assert_eq!(
        record(Rule::new().allow("session").deny("Note")).await["requestParameters"],
        json!({ "id": "17", "seat": "3", "session": "opening", "note": HIDDEN,
                "user": { "password": HIDDEN }, "amount": 1 })
    );
    assert_eq!(
        record(Rule::new().only(["id", "user"])).await["requestParameters"],
        json!({ "id": "17", "seat": HIDDEN, "session": HIDDEN, "note": HIDDEN,
                "user": { "password": HIDDEN }, "amount": HIDDEN })
    );
    let rule = Rule::new().only(["id"]);
    let sent = post("/talks/17", "/talks/{id}", JSON, "[1]");
    let record = exchange(|builder| builder.route(Method::POST, "/talks/{id}", rule), sent, "").await;
    assert_eq!(record["requestParameters"], json!({ "id": "17", "body": HIDDEN }));
}

#[tokio::test]
async fn equal_secrets_can_be_told_to_be_equal() {
    let body =
        r#"{"password":"\u0070w","pin":1234,"a":{"api_key":"pw"},"secret":{"x":1},"b":"Bearer abc123"}"#;
    let record = exchange(
        |builder| builder.redaction_key([7; 32]).record_headers(["authorization"]),
        {
            let mut request = post("/login?token=pw", "/login", JSON, body);
            request.headers_mut().insert("authorization", "Bearer abc123".parse().unwrap());
            request
        },
        "",
    )
    .await;
    let parameters = &record["requestParameters"];
    let code = parameters["password"].as_str().unwrap().strip_prefix(HIDDEN).unwrap();
    assert!(code.starts_with(":hmac-sha256:") && code.len() == 29, "{code}");
    assert_eq!(
        (&parameters["token"], &parameters["a"]["api_key"]),
        (&parameters["password"], &parameters["password"])
    );
    assert_ne!(parameters["pin"], parameters["password"]);
    assert_eq!(parameters["secret"], HIDDEN);
    assert_eq!(record["additionalEventData"]["http.request.header.authorization"], json!([parameters["b"]]));
    let error = AuditLayer::builder("a").sink(MemorySink::default()).redaction_key("").build();
    assert!(matches!(error, Err(BuildError::RedactionKey)));
}

#[tokio::test]
async fn headers_are_recorded_on_demand() {
    let mut request = request(Method::GET, "/orders");
    for (name, value) in [("x-tenant", "a"), ("x-tenant", "b"), ("cookie", "sid=1"), ("x-other", "o")] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let record =
        exchange(|builder| builder.record_headers(["X-Tenant", "cookie", "x-none"]), request, "").await;
    let data = &record["additionalEventData"];
    assert_eq!(data["http.request.header.x-tenant"], json!(["a", "b"]));
    assert_eq!(data["http.request.header.cookie"], json!([HIDDEN]));
    assert!(
        data.get("http.request.header.x-other").is_none() && data.get("http.request.header.x-none").is_none()
    );
    let error = AuditLayer::builder("a").sink(MemorySink::default()).record_headers(["no name"]).build();
    assert!(matches!(error, Err(BuildError::Header(name)) if name == "no name"));
}

#[derive(Deserialize, Serialize)]
struct Login {
    user: String,
    word: Sensitive<String>,
}

#[tokio::test]
async fn bodies_by_type() {
    let sent = || post("/login", "/login", JSON, r#"{"user":"jo","word":"sesame","more":"sesame"}"#);
    let handle = |audit: &sidetrail::Audit| {
        audit.request_body(&Login { user: "jo".to_owned(), word: "sesame".to_owned().into() });
        audit.response_body(&json!({ "id": 1, "token": "sesame" }));
    };
    let record =
        exchange_with(|builder| builder.level(Level::RequestResponse), sent(), r#"{"a":"sesame"}"#, handle)
            .await;
    assert_eq!(record["requestParameters"], json!({ "user": "jo", "word": HIDDEN }));
    assert_eq!(record["responseElements"], json!({ "id": 1, "token": HIDDEN }));

    let record = exchange_with(|builder| builder.level(Level::Metadata), sent(), "{}", handle).await;
    assert_eq!((&record["requestParameters"], &record["responseElements"]), (&json!(null), &json!(null)));

    let record = exchange_with(|builder| builder.body_cap(8), sent(), "{}", handle).await;
    assert_eq!(record["requestParameters"]["body"]["omitted"], true);
}

#[tokio::test]
async fn error_texts_are_redacted() {
    let handle = |audit: &sidetrail::Audit| audit.error("Upstream", "refused Bearer abc123def");
    let record = exchange_with(|builder| builder, request(Method::GET, "/orders"), "", handle).await;
    assert_eq!((&record["errorCode"], &record["errorMessage"]), (&json!("Upstream"), &json!(HIDDEN)));
}
