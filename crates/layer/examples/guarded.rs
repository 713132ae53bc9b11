//! A payments service that does nothing it could not account for.
//!
//! ```text
//! cargo run -p sidetrail --features axum --example guarded
//! ```
//!
//! It needs no collector to show what it is about: without one every payout is refused, and nothing happens.
//!
//! ```text
//! curl -si localhost:3000/payouts --json '{"to": "bob", "amount": 100}'     # 503 AuditUnavailable
//! curl -s  localhost:3000/payouts                                           # still []
//! ```
//!
//! With one (`cargo run -p sidetrail-collector`, and `SIDETRAIL_COLLECTOR` for its address) payouts are made, and each has
//! a record, even one during which this process is killed: `curl localhost:3000/payouts?slow=true …`, then kill it.

use std::{
    env,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{Method, StatusCode},
    routing::get,
};
use serde::{Deserialize, Serialize};
use sidetrail::{Audit, AuditLayer, Delivery, Rule};
use tokio::{net::TcpListener, time::sleep};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();

    let audit = AuditLayer::builder("payments.example.com")
        // The handler begins when the collector has on disk that it is about to.
        .route(Method::POST, "/payouts", Rule::new().name("CreatePayout").delivery(Delivery::Guarded))
        .deadline(Duration::from_secs(1))
        .build()?;
    let app = Router::new()
        .route("/payouts", get(list).post(create))
        .layer(audit.clone())
        .with_state(Payouts::default());

    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(stopped()).await?;
    audit.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

type Payouts = Arc<Mutex<Vec<Payout>>>;

#[derive(Clone, Deserialize, Serialize)]
struct Payout {
    to: String,
    amount: u64,
}

#[derive(Deserialize)]
struct Pace {
    /// Leaves time to kill the process.
    #[serde(default)]
    slow: bool,
}

async fn list(State(payouts): State<Payouts>) -> Json<Vec<Payout>> {
    Json(payouts.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

async fn create(
    audit: Audit,
    State(payouts): State<Payouts>,
    Query(pace): Query<Pace>,
    Json(payout): Json<Payout>,
) -> (StatusCode, Json<Payout>) {
    println!("paying {} to {}", payout.amount, payout.to);
    if pace.slow {
        sleep(Duration::from_secs(30)).await;
    }
    let mut payouts = payouts.lock().unwrap_or_else(PoisonError::into_inner);
    payouts.push(payout.clone());
    audit.response_element("payoutId", &payouts.len());
    (StatusCode::CREATED, Json(payout))
}

async fn stopped() {
    // Without a signal handler there is nothing to wait for.
    let _ = tokio::signal::ctrl_c().await;
}
