//! What rules make of a call: its name, its kind, the resources it touches.

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::Full;
use serde_json::{Value, json};
use sidetrail::{
    Audit, AuditLayer, Builder, Level, MemorySink, RequestBody, Resource, ResourceTemplate, RouteTemplate,
    Rule,
};
use tower::{Layer, Service, ServiceExt};

use crate::support::{Script, Step, collect, only, request, service};

fn order() -> ResourceTemplate {
    ResourceTemplate::new("AWS::Orders::Order", "arn:aws:orders:{region}:{account}:order/{id}")
}

fn build(configure: impl FnOnce(Builder) -> Builder) -> (AuditLayer, MemorySink) {
    let records = MemorySink::default();
    let builder = AuditLayer::builder("orders.example.com").sink(records.clone());
    (configure(builder).build().unwrap(), records)
}

fn echo() -> impl Service<
    Request<RequestBody<Full<Bytes>>>,
    Response = Response<Script>,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone {
    service(async |request: Request<RequestBody<Full<Bytes>>>| {
        let (text, _) = collect(request.into_body()).await;
        let mut response = Response::new(Script::new([Step::Data(text.into())]));
        response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        Ok(response)
    })
}

fn routed(method: Method, uri: &str, template: &'static str) -> Request<Full<Bytes>> {
    let mut request = request(method, uri);
    request.extensions_mut().insert(RouteTemplate::new(template));
    request
}

async fn send<S, B>(app: S, request: Request<Full<Bytes>>)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: std::fmt::Debug>,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    collect(app.oneshot(request).await.unwrap().into_body()).await;
}

#[tokio::test]
async fn resources_are_named_by_the_path() {
    let line =
        ResourceTemplate::new("AWS::Orders::Line", "arn:aws:orders:{region}:{account}:line/{id}/{line}");
    let (layer, records) = build(|builder| {
        builder
            .route_any("/orders/{id}/lines/{line}", Rule::new().resource(order()).resource(line))
            .route(
                Method::GET,
                "/reset/{token}",
                Rule::new().resource(ResourceTemplate::new("T", "reset/{token}")),
            )
            .route(Method::GET, "/orders", Rule::new().resource(order()))
    });
    let app = layer.layer(echo());
    send(
        app.clone(),
        routed(Method::GET, "/orders/1%3A%2F%7Baccount%7D/lines/2", "/orders/{id}/lines/{line}"),
    )
    .await;
    assert_eq!(
        only(&records)["resources"],
        json!([
            { "type": "AWS::Orders::Order", "ARN": "arn:aws:orders:{region}:{account}:order/1%3A%2F%7Baccount%7D" },
            { "type": "AWS::Orders::Line", "ARN": "arn:aws:orders:{region}:{account}:line/1%3A%2F%7Baccount%7D/2" },
        ])
    );
    send(app.clone(), routed(Method::GET, "/reset/abc", "/reset/{token}")).await;
    assert_eq!(only(&records)["resources"][0]["ARN"], "reset/HIDDEN_DUE_TO_SECURITY_REASONS");
    send(app, routed(Method::GET, "/orders", "/orders")).await;
    assert_eq!(only(&records)["resources"], Value::Null, "a template that does not fit");
}

#[tokio::test]
async fn handlers_add_to_declared_resources() {
    let (layer, records) = build(|builder| builder.route_any("/orders/{id}", Rule::new().resource(order())));
    let app = layer.layer(service(async |request: Request<_>| {
        for _ in 0..100 {
            let resource = Resource { arn: Some("arn:x".to_owned()), ..Resource::default() };
            Audit::of(request.extensions()).add_resource(resource);
        }
        Ok(Response::new(Script::new([])))
    }));
    send(app, routed(Method::GET, "/orders/1", "/orders/{id}")).await;
    let record = only(&records);
    assert_eq!(record["resources"].as_array().unwrap().len(), 64);
    assert_eq!(record["resources"][0]["type"], "AWS::Orders::Order");
    assert_eq!(record["resources"][63]["ARN"], "arn:x");

    let (layer, records) = build(|builder| builder);
    let app = layer.layer(service(async |request: Request<_>| {
        for size in [40_000, 40_000, 10] {
            let resource = Resource { arn: Some("x".repeat(size)), ..Resource::default() };
            Audit::of(request.extensions()).add_resource(resource);
        }
        Ok(Response::new(Script::new([])))
    }));
    send(app, request(Method::GET, "/orders")).await;
    assert_eq!(only(&records)["resources"].as_array().unwrap().len(), 2, "what does not fit is left out");
}

#[tokio::test]
async fn data_events_are_said_to_be_some() {
    let (layer, records) = build(|builder| {
        builder.routes([
            (Method::GET, "/objects/{key}", Rule::new().data_event(true)),
            (Method::PUT, "/objects/{key}", Rule::new().data_event(false)),
        ])
    });
    let app = layer.layer(echo());
    for (method, expected) in [
        (Method::GET, json!([false, "Data"])),
        (Method::PUT, json!([true, "Management"])),
        (Method::DELETE, json!([true, "Management"])),
    ] {
        send(app.clone(), routed(method, "/objects/a", "/objects/{key}")).await;
        let record = only(&records);
        assert_eq!(json!([record["managementEvent"], record["eventCategory"]]), expected);
    }
}

#[tokio::test]
async fn a_path_goes_by_the_template_of_a_rule_where_no_router_says_more() {
    let (layer, records) = build(|builder| {
        builder
            .route(Method::POST, "/orders/{id}/refund", Rule::new().resource(order()))
            .route_any("/orders/{id}", Rule::new())
            .route(Method::GET, "/health", Rule::new().level(Level::None))
    });
    let app = layer.layer(echo());
    send(app.clone(), request(Method::POST, "/orders/blue%20one/refund")).await;
    let record = only(&records);
    assert_eq!(record["eventName"], "RefundOrder");
    assert_eq!(record["additionalEventData"]["http.route"], "/orders/{id}/refund");
    assert_eq!(record["requestParameters"], json!({ "id": "blue one" }));
    assert_eq!(record["resources"][0]["ARN"], "arn:aws:orders:{region}:{account}:order/blue%20one");
    send(app.clone(), request(Method::GET, "/orders/blue")).await;
    assert_eq!(only(&records)["eventName"], "GetOrder");
    for method in [Method::GET, Method::HEAD] {
        send(app.clone(), request(method, "/health")).await;
        assert!(records.take().is_empty());
    }
    send(app, request(Method::GET, "/customers/17")).await;
    let record = only(&records);
    assert_eq!(record["additionalEventData"]["url.template"], "/customers/{customerId}");
    assert_eq!(record["additionalEventData"]["http.route"], Value::Null);
}

/// A JSON body goes through the layer, a rule of the builder's and one around the handler.
async fn by_rules(outer: Rule, inner: Rule) -> Vec<Value> {
    let (layer, records) = build(|builder| builder.route(Method::POST, "/orders/{id}", outer));
    let app = layer.layer(inner.layer(echo()));
    for _ in 0..2 {
        let mut request = routed(Method::POST, "/orders/17", "/orders/{id}");
        *request.body_mut() = Full::from(r#"{"a":1}"#);
        request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        send(app.clone(), request).await;
    }
    records.take().iter().map(|record| serde_json::to_value(record).unwrap()).collect()
}

#[tokio::test]
async fn the_innermost_rule_decides() {
    let outer = Rule::new().name("Outer").read_only(true).data_event(true).resource(order());
    let records = by_rules(outer, Rule::new().name("Inner").level(Level::RequestResponse)).await;
    assert_eq!(records.len(), 2);
    for record in records {
        assert_eq!(record["eventName"], "Inner");
        assert_eq!((&record["readOnly"], &record["eventCategory"]), (&json!(true), &json!("Data")));
        assert_eq!(record["resources"][0]["ARN"], "arn:aws:orders:{region}:{account}:order/17");
        assert_eq!(record["requestParameters"], json!({ "id": "17", "a": 1 }));
        assert_eq!(record["responseElements"], json!({ "a": 1 }));
    }
    let records = by_rules(Rule::new(), Rule::new().level(Level::Metadata).no_resource()).await;
    assert_eq!(records[1]["requestParameters"], json!({ "id": "17" }));
    let records = by_rules(Rule::new().level(Level::Metadata), Rule::new().level(Level::Request)).await;
    assert_eq!(records[1]["requestParameters"], json!({ "id": "17", "a": 1 }));
}

#[tokio::test]
async fn an_inner_rule_can_switch_records_off() {
    assert!(by_rules(Rule::new(), Rule::new().level(Level::None)).await.is_empty());
    assert!(by_rules(Rule::new().level(Level::None), Rule::new()).await.is_empty());
}

#[tokio::test]
async fn an_inner_rule_can_switch_records_on_where_the_default_is_none() {
    let (layer, records) = build(|builder| builder.level(Level::None));
    send(layer.layer(echo()), request(Method::GET, "/orders")).await;
    assert!(records.take().is_empty());
    let app = layer.layer(Rule::new().level(Level::Metadata).layer(echo()));
    send(app, routed(Method::GET, "/orders", "/orders")).await;
    assert_eq!(only(&records)["eventName"], "ListOrders");
}

#[tokio::test]
async fn a_rule_without_the_layer_is_nothing() {
    let app = Rule::new().name("Anything").layer(tower::service_fn(async |request: Request<Full<Bytes>>| {
        assert!(request.extensions().is_empty());
        Ok::<_, std::convert::Infallible>(Response::new(request.into_body()))
    }));
    send(app, request(Method::GET, "/orders")).await;
}

#[tokio::test]
async fn any_method_and_any_path_has_a_record() {
    let (layer, records) = build(|builder| builder);
    let app = layer.layer(echo());
    for index in 0..2000 {
        let method = Method::from_bytes(format!("X{index}").as_bytes()).unwrap();
        send(app.clone(), routed(method, "/orders", "/orders")).await;
        let mut call = request(Method::POST, &format!("/shop.v1.Orders/M{index}"));
        call.headers_mut().insert(header::CONTENT_TYPE, "application/grpc".parse().unwrap());
        send(app.clone(), call).await;
    }
    let names: Vec<_> = records.take().into_iter().filter_map(|record| record.event_name).collect();
    assert_eq!((names.len(), &*names[0], &*names[1]), (4000, "X0Orders", "M0"));
    // What callers made up is not kept.
    assert!(layer.coverage().routes().is_empty());
}
