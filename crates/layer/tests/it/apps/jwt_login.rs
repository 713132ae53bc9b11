//! A login service: credentials in, a token out, and claims that only an extractor knows.

use std::sync::LazyLock;

use axum::{
    Json, Router,
    extract::FromRequestParts,
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::HeaderValue;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode, get_current_timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sidetrail::{Identity, JwtClaims};

use super::{complete, layer};
use crate::loopback::{Server, empty, json, record};

static KEYS: LazyLock<(EncodingKey, DecodingKey)> = LazyLock::new(|| {
    let secret = b"a shared secret that signs";
    (EncodingKey::from_secret(secret), DecodingKey::from_secret(secret))
});

#[derive(Deserialize, Serialize)]
struct Claims {
    sub: String,
    company: String,
    exp: u64,
}

#[derive(Serialize)]
struct AuthBody {
    access_token: String,
    token_type: &'static str,
}

#[derive(Deserialize)]
struct AuthPayload {
    client_id: String,
    client_secret: String,
}

enum AuthError {
    WrongCredentials,
    MissingCredentials,
    InvalidToken,
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::WrongCredentials => (StatusCode::UNAUTHORIZED, "Wrong credentials"),
            Self::MissingCredentials => (StatusCode::BAD_REQUEST, "Missing credentials"),
            Self::InvalidToken => (StatusCode::BAD_REQUEST, "Invalid token"),
        };
        (status, Json(json!({ "error": message }))).into_response()
    }
}

fn claims(headers: &HeaderMap) -> Option<Claims> {
    let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    Some(decode(token, &KEYS.1, &Validation::default()).ok()?.claims)
}

impl<S: Sync> FromRequestParts<S> for Claims {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AuthError> {
        claims(&parts.headers).ok_or(AuthError::InvalidToken)
    }
}

async fn authorize(Json(payload): Json<AuthPayload>) -> Result<Json<AuthBody>, AuthError> {
    if payload.client_id.is_empty() || payload.client_secret.is_empty() {
        return Err(AuthError::MissingCredentials);
    }
    if payload.client_id != "foo" || payload.client_secret != "bar-hunter2" {
        return Err(AuthError::WrongCredentials);
    }
    let claims =
        Claims { sub: "b@b.com".into(), company: "ACME".into(), exp: get_current_timestamp() + 3600 };
    let access_token = encode(&Header::default(), &claims, &KEYS.0).unwrap();
    Ok(Json(AuthBody { access_token, token_type: "Bearer" }))
}

async fn protected(claims: Claims) -> String {
    format!("Welcome to the protected area, {} of {}", claims.sub, claims.company)
}

fn app() -> Router {
    Router::new().route("/protected", get(protected)).route("/authorize", post(authorize))
}

const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// Logs in and calls the protected route; the record of that call.
async fn journey(server: &Server, sink: &sidetrail::MemorySink) -> Value {
    let login = |secret| json!({ "client_id": "foo", "client_secret": secret });
    for (secret, status, code) in
        [("", 400, json!("BadRequest")), ("wrong-hunter2", 401, json!("Unauthorized"))]
    {
        assert_eq!(server.text(json("POST", "/authorize", &login(secret))).await.0, status);
        let record = record(sink).await;
        complete(&record, "Authorize", "/authorize", status);
        assert_eq!(record["errorCode"], code);
        assert_eq!(record["requestParameters"], json!({ "client_id": "foo", "client_secret": HIDDEN }));
    }
    let (status, text) = server.text(json("POST", "/authorize", &login("bar-hunter2"))).await;
    assert_eq!(status, 200);
    let token = serde_json::from_str::<Value>(&text).unwrap()["access_token"].as_str().unwrap().to_owned();
    let granted = record(sink).await;
    complete(&granted, "Authorize", "/authorize", 200);

    let call = async |token: &str| {
        let mut request = empty("GET", "/protected");
        let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, value);
        (server.text(request).await.0, record(sink).await)
    };
    let (status, refused) = call("made.up.token").await;
    assert_eq!(status, 400);
    complete(&refused, "GetProtected", "/protected", 400);
    assert_eq!(refused["userIdentity"]["principalId"], "anonymous");
    let (status, welcome) = call(&token).await;
    assert_eq!(status, 200);
    complete(&welcome, "GetProtected", "/protected", 200);
    for record in [&granted, &refused, &welcome] {
        for secret in ["hunter2", &token, "made.up.token"] {
            assert!(!record.to_string().contains(secret), "{record:#}");
        }
    }
    welcome
}

#[tokio::test]
async fn who_only_an_extractor_knows_is_anonymous_and_claimed() {
    let (layer, sink) = layer(|builder| builder);
    let server = Server::start(app().layer(layer)).await;
    let welcome = journey(&server, &sink).await;
    assert_eq!(welcome["userIdentity"], json!({ "type": "Unknown", "principalId": "anonymous" }));
    assert_eq!(welcome["additionalEventData"]["identitySource"], "none");
    // Whom the token names is told, and not believed.
    assert_eq!(welcome["additionalEventData"]["claimedIdentity"], json!({ "subject": "b@b.com" }));
    server.stop().await;
    assert!(sink.take().is_empty(), "exactly one each");
}

#[tokio::test]
async fn the_layer_can_be_told_where_to_look() {
    let (layer, sink) = layer(|builder| {
        builder.level(sidetrail::Level::RequestResponse).identity("bearer", |parts| {
            JwtClaims::new(&claims(&parts.headers)?).and_then(|claims| Identity::from_claims(&claims))
        })
    });
    let server = Server::start(app().layer(layer)).await;
    let welcome = journey(&server, &sink).await;
    assert_eq!(welcome["userIdentity"]["type"], "WebIdentityUser");
    assert_eq!(welcome["userIdentity"]["principalId"], "b@b.com");
    assert_eq!(welcome["additionalEventData"]["identitySource"], "bearer");
    assert_eq!(welcome["additionalEventData"]["claimedIdentity"], Value::Null);
    server.stop().await;
    assert!(sink.take().is_empty(), "exactly one each");
}
