//! Prints the coverage of a small service, and what is missing of it.
//!
//! ```text
//! cargo run -p sidetrail --features axum --example coverage
//! ```
//!
//! In a service of your own this is a test: see the guide `coverage`.

use std::error::Error;

use axum::{
    Router,
    body::Body,
    http::{Method, Request},
    routing::{get, post},
};
use http_body_util::BodyExt;
use sidetrail::{Audit, AuditLayer, Identity, Level, MemorySink, ResourceTemplate, Rule};
use tower::ServiceExt;

const ROUTES: [(Method, &str); 6] = [
    (Method::GET, "/v1/orders"),
    (Method::GET, "/v2/orders"),
    (Method::POST, "/v2/orders"),
    (Method::DELETE, "/v2/orders/{id}"),
    (Method::POST, "/login"),
    (Method::GET, "/health"),
];

async fn signed_in(audit: Audit) {
    audit.set_identity(Identity::user("17", "jo"));
}

fn app(layer: AuditLayer) -> Router {
    let order = ResourceTemplate::new("AWS::Orders::Order", "arn:aws:orders:{region}:{account}:order/{id}");
    Router::new()
        .route("/v1/orders", get(signed_in))
        .route("/v2/orders", get(signed_in).post(signed_in).layer(Rule::new().no_resource()))
        .route("/v2/orders/{id}", get(signed_in).delete(signed_in).layer(Rule::new().resource(order)))
        .route("/login", post(async || "token").layer(Rule::new().no_resource().level(Level::Metadata)))
        .layer(layer)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let layer = AuditLayer::builder("orders.example.com")
        .route(Method::GET, "/health", Rule::new().level(Level::None))
        .sink(MemorySink::default())
        .build()?;
    let app = app(layer.clone());
    // One is left out.
    for (method, template) in &ROUTES[..4] {
        let request = Request::builder().method(method).uri(template.replace("{id}", "17"));
        app.clone().oneshot(request.body(Body::empty())?).await?.into_body().collect().await?;
    }
    let coverage = layer.coverage().expect(ROUTES);
    println!("{coverage}");
    if let Err(gaps) = coverage.check() {
        println!("{gaps}");
    }
    Ok(())
}
