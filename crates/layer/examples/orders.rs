//! An orders service with an audit trail.
//!
//! ```text
//! cargo run -p sidetrail --features axum --example orders -- --listen 127.0.0.1:3000
//! ```
//!
//! `SIDETRAIL_COLLECTOR` says where its records go. Try it:
//!
//! ```text
//! curl -s localhost:3000/login --json '{"user": "alice", "password": "wonderland"}'
//! curl -s localhost:3000/orders --json '{"item": "tea", "cardNumber": "4111111111111111"}' -H "Authorization: Bearer $T"
//! ```
//!
//! What makes it an audited service is in `main` and `app`; the rest is an ordinary axum application. `authenticate`
//! tells the layer who calls, `refund` adds to the record what only the handler knows.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{FromRequestParts, Path, Query, Request, State},
    http::{StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::{StreamExt, stream};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, get_current_timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sidetrail::{Audit, AuditLayer, JwtClaims, Resource};
use tokio::{net::TcpListener, signal, time::sleep};
use tower_http::{
    catch_panic::CatchPanicLayer,
    trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer},
};
use tracing::Level;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let has = |name: &str| env::args().any(|argument| argument == name);
    // For benches: `--bare` shows what the layer costs, `--traced` what tower-http's for tracing does.
    let (is_bare, is_traced) = (has("--bare"), has("--traced"));
    let log = tracing_subscriber::fmt();
    let (writer, _guard) = tracing_appender::non_blocking(std::io::stderr());
    if is_traced {
        log.json().with_writer(writer).init();
    } else {
        log.with_writer(std::io::stderr).init();
    }

    let audit = sidetrail::layer("orders.example.com");
    let listener = TcpListener::bind(listen_address()).await?;
    println!("listening on http://{}", listener.local_addr()?);

    let app = if is_traced {
        let span = DefaultMakeSpan::new().level(Level::INFO).include_headers(true);
        let layer = TraceLayer::new_for_http().make_span_with(span);
        app(None).layer(layer.on_response(DefaultOnResponse::new().level(Level::INFO)))
    } else {
        app(Some(audit.clone()).filter(|_| !is_bare))
    };
    // With the connection's address, records say where a call came from.
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stopped()).await?;

    // The last requests are answered; their records may still be on the way.
    audit.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

fn app(audit: Option<AuditLayer>) -> Router {
    let routes = Router::new()
        .route("/login", post(login))
        .route("/orders", get(list).post(create))
        .route("/orders/export", get(export))
        .route("/orders/{id}", get(read).patch(update).delete(delete))
        .route("/orders/{id}/refund", post(refund))
        .route("/reports", post(report))
        .route("/boom", get(boom))
        .fallback(async || Failure::NotFound);
    // Around the routes, so that their templates are known; inside of what authenticates.
    let routes = match audit {
        Some(audit) => routes.layer(audit),
        None => routes,
    };
    routes
        .layer(middleware::from_fn(authenticate))
        .layer(CatchPanicLayer::new())
        .with_state(Orders::default())
}

// Who calls.

/// A shared secret is good enough for a demonstration.
const SECRET: &[u8] = b"not a secret at all";
const ISSUER: &str = "https://id.example.com";
const USERS: [(&str, &str); 3] = [("alice", "wonderland"), ("bob", "builder"), ("support", "helpdesk")];

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Claims {
    iss: String,
    sub: String,
    iat: u64,
    exp: u64,
    /// Who acts in the subject's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Actor {
    sub: String,
}

/// Verifies the caller's token. It turns nobody away, so that those who are turned away later are on record too.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(claims) = header.and_then(|header| verify(header.strip_prefix("Bearer ")?)) {
        let extensions = request.extensions_mut();
        // For the layer …
        if let Some(claims) = JwtClaims::new(&claims) {
            extensions.insert(claims);
        }
        // … and for the handlers.
        extensions.insert(claims);
    }
    next.run(request).await
}

fn verify(token: &str) -> Option<Claims> {
    let mut validation = Validation::default();
    validation.set_issuer(&[ISSUER]);
    let token = jsonwebtoken::decode(token, &DecodingKey::from_secret(SECRET), &validation);
    token.ok().map(|token| token.claims)
}

/// The caller's name. Handlers that ask for it are not for anonymous callers.
struct Caller(String);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let claims: &Claims = parts.extensions.get().ok_or(Failure::Unauthenticated)?;
        Ok(Self(claims.sub.clone()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    user: String,
    password: String,
    /// Support may act as somebody else; the record says so.
    act_as: Option<String>,
}

async fn login(Json(login): Json<Login>) -> Result<Json<serde_json::Value>, Failure> {
    if !USERS.contains(&(login.user.as_str(), login.password.as_str())) {
        return Err(Failure::Unauthenticated);
    }
    let (sub, act) = match login.act_as {
        Some(_) if login.user != "support" => return Err(Failure::Forbidden),
        Some(other) => (other, Some(Actor { sub: login.user })),
        None => (login.user, None),
    };
    let iat = get_current_timestamp();
    let claims = Claims { iss: ISSUER.to_owned(), sub, iat, exp: iat + 3600, act };
    let token = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET));
    Ok(Json(json!({ "token": token.map_err(|_| Failure::Internal)? })))
}

// Orders.

#[derive(Clone, Default)]
struct Orders(Arc<Mutex<BTreeMap<u64, Order>>>);

#[derive(Clone, Serialize)]
struct Order {
    id: u64,
    owner: String,
    item: String,
    quantity: u32,
    refunded: bool,
}

impl Orders {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Order>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes an order of the caller's own.
    fn change<T>(
        &self,
        id: u64,
        caller: &Caller,
        change: impl FnOnce(&mut Order) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut orders = self.lock();
        let order = orders.get_mut(&id).ok_or(Failure::NotFound)?;
        if order.owner == caller.0 { change(order) } else { Err(Failure::Forbidden) }
    }
}

#[derive(Deserialize)]
struct Filter {
    owner: Option<String>,
}

async fn list(State(orders): State<Orders>, Query(filter): Query<Filter>) -> Json<Vec<Order>> {
    let is_wanted = |order: &&Order| filter.owner.as_ref().is_none_or(|owner| *owner == order.owner);
    Json(orders.lock().values().filter(is_wanted).cloned().collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    item: String,
    #[serde(default = "one")]
    quantity: u32,
    #[expect(dead_code, reason = "this shop takes cards, but no money")]
    card_number: Option<String>,
}

fn one() -> u32 {
    1
}

async fn create(
    State(orders): State<Orders>,
    audit: Audit,
    caller: Caller,
    Json(new): Json<NewOrder>,
) -> (StatusCode, Json<Order>) {
    let mut orders = orders.lock();
    let id = orders.last_key_value().map_or(1, |(id, _)| id + 1);
    let order = Order { id, owner: caller.0, item: new.item, quantity: new.quantity, refunded: false };
    orders.insert(id, order.clone());
    // The id is the handler's: nothing in the request has it.
    audit.response_element("orderId", &id);
    audit.add_resource(resource(id));
    (StatusCode::CREATED, Json(order))
}

async fn read(State(orders): State<Orders>, Path(id): Path<u64>) -> Result<Json<Order>, Failure> {
    orders.lock().get(&id).cloned().map(Json).ok_or(Failure::NotFound)
}

#[derive(Deserialize)]
struct Change {
    quantity: u32,
}

async fn update(
    State(orders): State<Orders>,
    Path(id): Path<u64>,
    caller: Caller,
    Json(new): Json<Change>,
) -> Result<Json<Order>, Failure> {
    orders.change(id, &caller, |order| {
        order.quantity = new.quantity;
        Ok(Json(order.clone()))
    })
}

async fn delete(
    State(orders): State<Orders>,
    Path(id): Path<u64>,
    caller: Caller,
) -> Result<StatusCode, Failure> {
    orders.change(id, &caller, |_| Ok(()))?;
    orders.lock().remove(&id);
    Ok(StatusCode::NO_CONTENT)
}

async fn refund(
    State(orders): State<Orders>,
    Path(id): Path<u64>,
    audit: Audit,
    caller: Caller,
) -> Result<Json<Order>, Failure> {
    audit.add_resource(resource(id));
    orders.change(id, &caller, |order| {
        if order.refunded {
            audit.error("AlreadyRefunded", "the order was refunded before");
            return Err(Failure::Conflict);
        }
        order.refunded = true;
        Ok(Json(order.clone()))
    })
}

/// One line of JSON after the other, as they come.
async fn export(State(orders): State<Orders>, _: Caller) -> Response {
    let orders: Vec<Order> = orders.lock().values().cloned().collect();
    let lines = stream::iter(orders).then(async |order| {
        sleep(Duration::from_millis(10)).await;
        serde_json::to_string(&order).map(|line| line + "\n")
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// Takes so long that callers may hang up.
async fn report(_: Caller) -> Json<serde_json::Value> {
    sleep(Duration::from_secs(5)).await;
    Json(json!({ "pages": 17 }))
}

#[expect(clippy::panic, reason = "what the layer records of a panic is worth a look")]
async fn boom() -> StatusCode {
    panic!("boom")
}

fn resource(id: u64) -> Resource {
    Resource {
        kind: Some("Orders::Order".to_owned()),
        arn: Some(format!("arn:aws:orders:::order/{id}")),
        ..Resource::default()
    }
}

// The rest.

/// Why a call fails. The layer knows what the statuses mean.
enum Failure {
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    Internal,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({ "error": status.canonical_reason() }))).into_response()
    }
}

/// `--listen 127.0.0.1:0`, else `ORDERS_LISTEN`, else port 3000.
fn listen_address() -> String {
    let argument = env::args().skip_while(|argument| argument != "--listen").nth(1);
    argument.or_else(|| env::var("ORDERS_LISTEN").ok()).unwrap_or_else(|| "127.0.0.1:3000".to_owned())
}

/// Ctrl-C or SIGTERM.
async fn stopped() {
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signals) => signals.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = signal::ctrl_c() => {}
        _ = terminated => {}
    }
}
