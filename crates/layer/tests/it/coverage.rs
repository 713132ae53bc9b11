//! The report on what is known of each route.

use axum::{
    Router,
    body::Body,
    extract::Request,
    routing::{any, get, post},
};
use http::{Method, StatusCode};
use serde_json::json;
use sidetrail::{
    Aspect, Audit, AuditLayer, Builder, Identity, Level, MemorySink, Naming, Resource, ResourceTemplate, Rule,
};
use tower::ServiceExt;

use crate::support::collect;

const ROUTES: [(Method, &str); 5] = [
    (Method::GET, "/orders"),
    (Method::POST, "/orders"),
    (Method::GET, "/orders/{id}"),
    (Method::POST, "/login"),
    (Method::GET, "/health"),
];

fn order() -> ResourceTemplate {
    ResourceTemplate::new("AWS::Orders::Order", "arn:aws:orders:{region}:{account}:order/{id}")
}

fn layer(configure: impl FnOnce(Builder) -> Builder) -> AuditLayer {
    configure(AuditLayer::builder("orders.example.com").sink(MemorySink::default())).build().unwrap()
}

async fn create(audit: Audit) {
    audit.set_identity(Identity::user("1", "jo"));
    audit.add_resource(Resource { arn: Some("arn:aws:orders:::order/1".to_owned()), ..Resource::default() });
}

fn app(layer: &AuditLayer) -> Router {
    let signed_in = async |audit: Audit| audit.set_identity(Identity::user("1", "jo"));
    Router::new()
        .route("/orders", get(signed_in).post(post(create).layer(Rule::new().default_redaction())))
        .route("/orders/{id}", get(signed_in))
        .route("/login", post(async || "token").layer(Rule::new().no_resource().level(Level::Metadata)))
        .route("/health", get(async || "well"))
        .layer(layer.clone())
}

async fn send(app: &Router, method: Method, uri: &str) -> StatusCode {
    let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    collect(response.into_body()).await;
    status
}

#[tokio::test]
async fn a_service_that_says_everything_passes() {
    let layer = layer(|builder| {
        builder
            .route(Method::GET, "/orders", Rule::new().no_resource())
            .route(Method::GET, "/health", Rule::new().level(Level::None))
            .route_any("/orders/{id}", Rule::new().resource(order()))
    });
    let app = app(&layer);
    for (method, uri) in [
        (Method::GET, "/orders"),
        (Method::POST, "/orders"),
        (Method::GET, "/orders/17"),
        (Method::HEAD, "/orders/17"),
        (Method::POST, "/login"),
        (Method::GET, "/health"),
    ] {
        assert_eq!(send(&app, method, uri).await, StatusCode::OK);
    }
    // Not routes of the service.
    assert_eq!(send(&app, Method::DELETE, "/orders").await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(send(&app, Method::GET, "/wp-admin").await, StatusCode::NOT_FOUND);
    let coverage = layer.coverage().expect(ROUTES).waive_for(&Method::POST, "/login", Aspect::Identity);
    assert_eq!(coverage.check(), Ok(()), "\n{coverage}");
    assert_eq!(coverage.unnamed(), 1);
    let text = coverage.to_string();
    let lines: Vec<_> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "METHOD ROUTE NAME NAMED BY IDENTITY RESOURCE REDACTION EXERCISED",
            "GET /health not recorded",
            "POST /login Login route anonymous none no body yes",
            "GET /orders ListOrders route handler none no body yes",
            "POST /orders CreateOrder route handler handler rule yes",
            "GET /orders/{id} GetOrder route handler rule no body yes",
            "HEAD /orders/{id} GetOrder route handler rule no body yes",
            "unnamed: 1 requests had no route and no answer",
        ]
    );
}

#[tokio::test]
async fn what_is_missing_is_told_with_a_way_to_mend_it() {
    let layer = layer(|builder| {
        builder
            .route(
                Method::GET,
                "/orders/{id}",
                Rule::new().resource(ResourceTemplate::new("O", "order/{order}")),
            )
            .route_any("/gone/{id}", Rule::new())
    });
    let app = app(&layer);
    send(&app, Method::GET, "/orders/17").await;
    send(&app, Method::POST, "/login").await;
    let gaps = layer.coverage().expect(ROUTES).check().unwrap_err();
    let short: Vec<_> =
        gaps.gaps().iter().map(|gap| format!("{} {} {}", gap.method, gap.route, gap.aspect)).collect();
    assert_eq!(
        short,
        [
            "ANY /gone/{id} exercised",
            "ANY /gone/{id} resource",
            "ANY /gone/{id} redaction",
            "GET /health exercised",
            "GET /health resource",
            "POST /login identity",
            "GET /orders exercised",
            "GET /orders resource",
            "POST /orders exercised",
            "POST /orders resource",
            "POST /orders redaction",
            "GET /orders/{id} resource",
        ]
    );
    let text = gaps.to_string();
    assert!(text.starts_with("12 gaps in the audit coverage of orders.example.com\n"), "{text}");
    assert!(
        text.ends_with(
            "GET /orders/{id} (GetOrder): resource: left out: `order/{order}` needs a path parameter `order`"
        ),
        "{text}"
    );
    assert_eq!(format!("{gaps:?}"), text, "a failing test shows Debug");
    let waived = layer
        .coverage()
        .expect(ROUTES)
        .waive(Aspect::Exercised)
        .waive(Aspect::Identity)
        .waive(Aspect::Resource)
        .waive(Aspect::Redaction);
    assert_eq!(waived.check(), Ok(()));
}

#[tokio::test]
async fn one_name_for_two_routes_is_a_collision() {
    let layer = layer(|builder| builder.route(Method::GET, "/v3/orders", Rule::new().name("ListOrdersV3")));
    let app = Router::new()
        .route("/v1/orders", any(async || ()))
        .route("/v2/orders", get(async || ()))
        .route("/v3/orders", get(async || ()))
        .route("/v4/orders", get(async || ()).layer(Rule::new().name("ListOrdersV4")))
        .layer(layer.clone());
    for version in 1..=4 {
        send(&app, Method::GET, &format!("/v{version}/orders")).await;
        send(&app, Method::HEAD, &format!("/v{version}/orders")).await;
    }
    let coverage = layer.coverage();
    let collisions: Vec<_> = coverage
        .routes()
        .iter()
        .filter(|route| !route.collides_with.is_empty())
        .map(|route| format!("{} {}: {}", route.method, route.route, route.collides_with.join(" ")))
        .collect();
    assert_eq!(collisions, ["GET /v1/orders: GET /v2/orders", "GET /v2/orders: GET /v1/orders"]);
    assert!(
        coverage.to_string().contains("collision: GET /v1/orders and GET /v2/orders are both ListOrders")
    );
    let gaps = coverage.check().unwrap_err();
    assert_eq!(gaps.gaps().iter().filter(|gap| gap.aspect == Aspect::Name).count(), 2);
}

/// What is logged, as text.
#[cfg(feature = "grpc")]
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

#[cfg(feature = "grpc")]
impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "grpc")]
#[tokio::test]
async fn a_collision_is_logged_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let dispatch = tracing::Dispatch::new(subscriber);
    let _guard = tracing::dispatcher::set_default(&dispatch);
    let layer = layer(|builder| builder);
    let app = Router::new()
        .route("/v1/orders", get(async || ()))
        .route("/v2/orders", get(async || ()))
        .route("/v3/orders", get(async || ()))
        .route("/v4/orders", get(async || ()).layer(Rule::new().name("ListOrdersV4")))
        .layer(layer);
    for version in [4, 1, 2, 3, 1, 2, 3] {
        send(&app, Method::GET, &format!("/v{version}/orders")).await;
    }
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("WARN") && text.contains("route=GET /v2/orders other=GET /v1/orders"), "{text}");
}

#[tokio::test]
async fn guesses_are_gaps() {
    let layer = layer(|builder| builder);
    let app = Router::new().fallback(async || "page").layer(layer.clone());
    for index in 0..200 {
        send(&app, Method::GET, &format!("/pages{}/{index}", index % 100)).await;
    }
    let coverage = layer.coverage();
    assert_eq!(coverage.routes().len(), 64, "bounded");
    assert!(coverage.routes().iter().all(|route| route.naming == Naming::Guessed));
    let gaps = coverage.check().unwrap_err();
    assert!(gaps.gaps().iter().all(|gap| gap.aspect == Aspect::Name));
}

#[tokio::test]
async fn grpc_methods_are_known_when_the_service_has_answered() {
    let layer = layer(|builder| builder.route_any("/shop.v1.Orders/Refund", Rule::new().no_resource()));
    let app = Router::new()
        .route(
            "/shop.v1.Orders/{*rest}",
            post(async |request: Request| {
                let known = request.uri().path().ends_with("/Refund");
                [("grpc-status", if known { "7" } else { "12" }), ("content-type", "application/grpc")]
            }),
        )
        .layer(layer.clone());
    for method in ["Refund", "MadeUp"] {
        let request = Request::post(format!("/shop.v1.Orders/{method}"))
            .header("content-type", "application/grpc")
            .body(Body::empty())
            .unwrap();
        collect(app.clone().oneshot(request).await.unwrap().into_body()).await;
    }
    let coverage = serde_json::to_value(layer.coverage()).unwrap();
    assert_eq!(
        coverage,
        json!({
            "service": "orders.example.com",
            "unnamed": 0,
            "routes": [{
                "method": "POST", "route": "/shop.v1.Orders/Refund", "name": "Refund", "naming": "derived",
                "collidesWith": [], "recorded": true, "exercised": true, "identities": [], "anonymous": true,
                "resource": "noResource", "resourceProblems": [], "redaction": "undecided",
            }],
        })
    );
}
