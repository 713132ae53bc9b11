//! Changes, from wherever handlers record them.

use std::sync::Arc;

use http::{Method, Request, Response};
use serde_json::json;
use sidetrail::Audit;
use tower::{Layer, ServiceExt};

use crate::support::{Script, Step, collect, layer, only, request, service};

#[tokio::test]
async fn a_task_that_the_handler_spawned() {
    let (layer, records) = layer();
    let app = layer.layer(service(async |request: Request<_>| {
        let audit = Audit::of(request.extensions());
        let task = tokio::spawn(async move {
            audit.change(Some("order/17"), &json!({ "status": "open" }), &json!({ "status": "refunded" }));
            audit.change(None, &json!({ "password": "a" }), &json!({ "password": "b" }));
        });
        task.await.unwrap();
        Ok(Response::new(Script::new([])))
    }));
    app.oneshot(request(Method::POST, "/orders/17/refund")).await.unwrap();
    assert_eq!(
        only(&records)["additionalEventData"]["change"],
        json!([
            { "op": "replace", "path": "/status", "value": "refunded", "resource": "order/17" },
            { "op": "replace", "path": "/password", "value": "HIDDEN_DUE_TO_SECURITY_REASONS" },
        ])
    );
}

#[tokio::test]
async fn a_stream_whose_head_is_gone() {
    let (layer, records) = layer();
    let app = layer.layer(service(async |request: Request<_>| {
        let audit = Audit::of(request.extensions());
        let change = move || {
            audit.change(None, &json!({ "sent": 0 }), &json!({ "sent": 1 }));
            audit.response_element("lines", &1);
        };
        let steps = [Step::Data("a".into()), Step::Run(Arc::new(change)), Step::Data("b".into())];
        Ok(Response::new(Script::new(steps)))
    }));
    let response = app.oneshot(request(Method::GET, "/orders/export")).await.unwrap();
    assert!(records.take().is_empty());
    collect(response.into_body()).await;
    let record = only(&records);
    assert_eq!(
        record["additionalEventData"]["change"],
        json!([{ "op": "replace", "path": "/sent", "value": 1 }])
    );
    assert_eq!(record["responseElements"], json!({ "lines": 1 }));
}

#[tokio::test]
async fn after_the_record_is_made() {
    let (layer, records) = layer();
    let (kept, mut held) = tokio::sync::mpsc::channel(1);
    let app = layer.layer(service(move |request: Request<_>| {
        kept.try_send(Audit::of(request.extensions())).unwrap();
        std::future::ready(Ok(Response::new(Script::new([]))))
    }));
    app.oneshot(request(Method::GET, "/orders")).await.unwrap();
    let audit = held.recv().await.unwrap();
    audit.change(None, &1, &2);
    audit.request_body(&json!({ "a": 1 }));
    assert_eq!(only(&records)["additionalEventData"].get("change"), None);
    Audit::detached().change(None, &1, &2);
}
