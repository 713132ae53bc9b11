//! In axum routers, as applications use it.

use axum::{
    Json, Router,
    body::Body,
    extract::{ConnectInfo, Request},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use http::{StatusCode, header};
use serde_json::{Value, json};
use sidetrail::{Audit, Identity, JwtClaims, MemorySink};
use std::net::SocketAddr;
use tower::ServiceExt;

use crate::support::{collect, layer, only};

async fn send(app: &Router, request: Request) -> StatusCode {
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    collect(response.into_body()).await;
    status
}

fn get_request(uri: &str) -> Request {
    Request::builder().uri(uri).body(Body::empty()).unwrap()
}

fn app() -> (Router, MemorySink) {
    let (layer, records) = layer();
    let customers = Router::new().route("/{customer}/orders/{order}", get(async || "order")).route(
        "/{customer}/orders",
        post(async |audit: Audit, Json(order): Json<Value>| {
            audit.response_element("item", &order["item"]);
            StatusCode::CREATED
        }),
    );
    let app = Router::new()
        .nest("/api/v1/customers", customers)
        .route("/me", get(async |audit: Audit| audit.set_identity(Identity::user("7", "jo"))))
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(layer)
        .layer(middleware::from_fn(async |mut request: Request, next: Next| -> Response {
            request.extensions_mut().insert(JwtClaims::new(&json!({ "sub": "u1" })).unwrap());
            next.run(request).await
        }));
    (app, records)
}

#[tokio::test]
async fn nested_routes_have_their_full_template() {
    let (app, records) = app();
    let mut request = get_request("/api/v1/customers/jo%20e/orders/9?expand=lines");
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711))));
    assert_eq!(send(&app, request).await, StatusCode::OK);
    let record = only(&records);
    assert_eq!(record["eventName"], "GetCustomerOrder");
    assert_eq!(record["additionalEventData"]["http.route"], "/api/v1/customers/{customer}/orders/{order}");
    assert_eq!(record["requestParameters"], json!({ "customer": "jo e", "order": "9", "expand": "lines" }));
    assert_eq!(record["sourceIPAddress"], "192.0.2.1");
    assert_eq!(record["userIdentity"]["principalId"], "u1");
    assert_eq!(record["additionalEventData"]["identitySource"], "jwt");
}

#[tokio::test]
async fn handlers_take_the_handle_as_an_argument() {
    let (app, records) = app();
    let request = Request::post("/api/v1/customers/5/orders")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(r#"{"item":"tea","cardNumber":"4111"}"#))
        .unwrap();
    assert_eq!(send(&app, request).await, StatusCode::CREATED);
    let record = only(&records);
    assert_eq!(record["eventName"], "CreateCustomerOrder");
    let hidden = "HIDDEN_DUE_TO_SECURITY_REASONS";
    assert_eq!(record["requestParameters"], json!({ "customer": "5", "item": "tea", "cardNumber": hidden }));
    assert_eq!(record["responseElements"], json!({ "item": "tea" }));

    send(&app, get_request("/me")).await;
    assert_eq!(only(&records)["userIdentity"]["userName"], "jo");
}

#[tokio::test]
async fn what_no_route_takes_is_recorded_too() {
    let (app, records) = app();
    assert_eq!(send(&app, get_request("/nowhere/17")).await, StatusCode::NOT_FOUND);
    let record = only(&records);
    assert_eq!(
        (&record["eventName"], &record["errorCode"]),
        (&json!("GetNowhere"), &json!("ResourceNotFound"))
    );
    assert_eq!(record["additionalEventData"]["http.route"], json!(null));
    let request = Request::delete("/me").body(Body::empty()).unwrap();
    assert_eq!(send(&app, request).await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(only(&records)["errorCode"], "MethodNotAllowed");
}

#[tokio::test]
async fn without_the_layer_the_handle_is_detached() {
    let app = Router::new().route("/me", get(async |audit: Audit| audit.parameter("a", "b")));
    assert_eq!(send(&app, get_request("/me")).await, StatusCode::OK);
}
