//! Routers of axum, and stacks of tower.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::IntoResponse,
    routing::{any, get, post},
};
use sidetrail::{AuditLayer, MemorySink, RequestBody, Rule};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use super::{status, told};
use crate::support::{collect, layer, only};

async fn send<S, R>(app: S, method: &str, uri: &str) -> StatusCode
where
    S: Service<Request, Response = http::Response<R>, Error: std::fmt::Debug>,
    R: http_body::Body<Error: std::fmt::Debug>,
{
    let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let status = response.status();
    collect(response.into_body()).await;
    status
}

fn orders() -> Router {
    Router::new()
        .route("/orders", get(async || "all").post(async || "made"))
        .route("/orders/{id}", get(async || "one"))
}

#[tokio::test]
async fn around_a_router() {
    let (layer, records) = layer();
    let app = orders().layer(layer);
    for (method, uri, expected) in [
        ("GET", "/orders", ("ListOrders", Some("/orders"), None)),
        ("POST", "/orders", ("CreateOrder", Some("/orders"), None)),
        ("GET", "/orders/1?a=b", ("GetOrder", Some("/orders/{id}"), None)),
        ("HEAD", "/orders/1", ("GetOrder", Some("/orders/{id}"), None)),
        ("PUT", "/orders/1", ("UpdateOrder", Some("/orders/{id}"), Some("MethodNotAllowed"))),
        ("OPTIONS", "/orders", ("OptionsOrders", Some("/orders"), Some("MethodNotAllowed"))),
        // The router's own answer where nothing fits.
        ("GET", "/nowhere", ("GetNowhere", None, Some("ResourceNotFound"))),
        ("GET", "/orders/", ("ListOrders", None, Some("ResourceNotFound"))),
    ] {
        send(app.clone(), method, uri).await;
        assert_eq!(told(&only(&records)), expected, "{method} {uri}");
    }
}

#[tokio::test]
async fn around_the_routes_only() {
    let (layer, records) = layer();
    let app = orders().route_layer(layer).fallback(async || StatusCode::NOT_FOUND);
    assert_eq!(send(app.clone(), "GET", "/orders/1").await, StatusCode::OK);
    assert_eq!(told(&only(&records)), ("GetOrder", Some("/orders/{id}"), None));
    assert_eq!(send(app, "GET", "/nowhere").await, StatusCode::NOT_FOUND);
    assert!(records.take().is_empty(), "no route, no layer");
}

#[tokio::test]
async fn around_one_method() {
    let (layer, records) = layer();
    let app = Router::new().route("/orders", get(async || "all").layer(layer).post(async || "made"));
    send(app.clone(), "POST", "/orders").await;
    assert!(records.take().is_empty());
    send(app, "GET", "/orders").await;
    assert_eq!(told(&only(&records)), ("ListOrders", Some("/orders"), None));
}

#[tokio::test]
async fn in_and_around_nested_and_merged_routers() {
    let customers = Router::new().nest("/customers/{customer}", orders());
    let merged = Router::new().route("/reports", get(async || "all")).merge(customers);
    let api = || Router::new().nest("/api/v1", merged.clone());

    let (outside, records) = layer();
    let app = api().layer(outside);
    let route = Some("/api/v1/customers/{customer}/orders/{id}");
    send(app.clone(), "GET", "/api/v1/customers/5/orders/9").await;
    let record = only(&records);
    assert_eq!(told(&record), ("GetCustomerOrder", route, None));
    assert_eq!(record["requestParameters"], serde_json::json!({ "customer": "5", "id": "9" }));
    send(app, "GET", "/api/v1/reports").await;
    assert_eq!(told(&only(&records)), ("ListReports", Some("/api/v1/reports"), None));

    let (inside, records) = layer();
    let app = Router::new().nest("/api/v1", merged.clone().layer(inside));
    send(app, "GET", "/api/v1/customers/5/orders/9").await;
    let record = only(&records);
    assert_eq!(told(&record), ("GetCustomerOrder", route, None));
    assert_eq!(record["requestParameters"], serde_json::json!({ "customer": "5", "id": "9" }));
}

#[tokio::test]
async fn around_a_fallback_and_a_nested_service() {
    let (layer, records) = layer();
    let files = tower::service_fn(async |_: Request| Ok::<_, Infallible>("file".into_response()));
    let app = Router::new()
        .nest_service("/files", files)
        .route("/{*rest}", any(async || "anything"))
        .fallback(async || (StatusCode::IM_A_TEAPOT, "fallback"))
        .layer(layer);
    send(app.clone(), "GET", "/files/a/b.txt").await;
    // axum does not say what a nested service is called.
    assert_eq!(told(&only(&records)), ("GetFilesABTxt", None, None));
    send(app.clone(), "POST", "/a/b").await;
    assert_eq!(told(&only(&records)), ("UpdateRest", Some("/{*rest}"), None));
    send(app, "GET", "/").await;
    assert_eq!(told(&only(&records)), ("GetRoot", None, Some("BadRequest")));

    // But a rule can.
    let records = MemorySink::default();
    let layer = AuditLayer::builder("orders.example.com").route_any("/files/{*path}", Rule::new());
    let layer = layer.sink(records.clone()).build().unwrap();
    send(Router::new().nest_service("/files", files).layer(layer), "GET", "/files/a/b.txt").await;
    assert_eq!(told(&only(&records)), ("GetFile", Some("/files/{*path}"), None));
}

#[tokio::test]
async fn in_a_stack() {
    let (layer, records) = layer();
    let stack = ServiceBuilder::new()
        .timeout(Duration::from_secs(60))
        .layer(layer)
        .layer(Rule::new().name("Stacked"))
        .service(tower::service_fn(async |request: http::Request<RequestBody<Body>>| {
            Ok::<_, Infallible>(http::Response::new(request.into_body()))
        }));
    send(stack, "GET", "/orders/17").await;
    assert_eq!(told(&only(&records)), ("Stacked", None, None));
}

#[tokio::test]
async fn with_middleware_on_both_sides() {
    let (layer, records) = layer();
    let turn_away = middleware::from_fn(async |request: Request, next: Next| {
        if request.headers().contains_key("x-stop") {
            return StatusCode::FORBIDDEN.into_response();
        }
        next.run(request).await
    });
    let app = Router::new()
        .route("/orders/{id}/refund", post(async || "refunded").layer(Rule::new().name("GiveBack")))
        .layer(turn_away)
        .layer(ServiceBuilder::new().layer(layer).map_request(|request: Request<RequestBody<Body>>| request))
        .layer(middleware::from_fn(async |request: Request, next: Next| next.run(request).await));
    send(app.clone(), "POST", "/orders/1/refund").await;
    assert_eq!(told(&only(&records)), ("GiveBack", Some("/orders/{id}/refund"), None));
    let request = Request::post("/orders/1/refund").header("x-stop", "1").body(Body::empty()).unwrap();
    collect(app.oneshot(request).await.unwrap().into_body()).await;
    let record = only(&records);
    assert_eq!((told(&record).2, status(&record)), (Some("AccessDenied"), Some(403)));
}

#[tokio::test]
async fn twice_is_two_records_and_the_inner_handle() {
    let (outer, outside) = layer();
    let (inner, inside) = layer();
    let app = Router::new()
        .route("/orders", get(async |audit: sidetrail::Audit| audit.error("Told", "once")))
        .layer(inner)
        .layer(outer);
    send(app, "GET", "/orders").await;
    assert_eq!(told(&only(&inside)).2, Some("Told"));
    assert_eq!(told(&only(&outside)).2, None);
}

/// The usual bounds of services, so that the layer fits where they are asked for.
#[test]
fn types_are_as_those_around_them() {
    fn service<S: Service<Request> + Clone + Send + Sync + 'static>(_: &S) {}
    fn layer_of<L: Layer<axum::routing::Route> + Clone + Send + Sync + 'static>(_: &L) {}
    let (audit, _) = layer();
    let _: &AuditLayer = &audit;
    layer_of(&audit);
    layer_of(&Rule::new());
    service(&orders().layer(audit));
}
