//! All of it: an injector with nothing but an API server beside it, from the first start to the end.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sidetrail_injector::run::{Identity, Injector};

use crate::api::{Api, MUTATING, webhook_configuration};
use crate::caller::{Clock, bundle, call};
use crate::judge::valid;
use crate::pods::{OWN, captured, config, patched};

/// A page, as a probe gets it.
async fn page(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { return (0, String::new()) };
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    (text[9..12].parse().unwrap(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_injector_needs_nothing_but_an_api_server() {
    let api = Api::start().await;
    api.put(MUTATING, webhook_configuration(&[("namespace", "/mutate/namespace"), ("pod", "/mutate/pod")]));
    api.put(
        "/api/v1/namespaces/shop",
        json!({ "metadata": { "name": "shop", "labels": { "sidetrail.dev/inject": "enabled" },
            "annotations": { "sidetrail.dev/delivery": "guarded" } } }),
    );
    let config = config("listen: 127.0.0.1:0\nhealth: 127.0.0.1:0\n");
    let identity = Identity { pod: "injector-1".to_owned(), namespace: OWN.to_owned() };
    let injector = Injector::start(config, api.client(), identity).await.unwrap();
    let (webhooks, health) = (injector.address, injector.health);
    for _ in 0..500 {
        if page(health, "/readyz").await.0 == 200 && bundle(&api.get(MUTATING).unwrap()).is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(page(health, "/readyz").await.0, 200);
    assert_eq!(page(health, "/livez").await.0, 200);

    let believed = bundle(&api.get(MUTATING).unwrap()).unwrap();
    let clock = Clock(Arc::new(AtomicI64::new(Timestamp::now().as_second())));
    let review = captured("create-pod-from-stateful-set");
    let answer = call(webhooks, &believed, &clock, "/mutate/namespace", review.to_string()).await.unwrap();
    assert_eq!(answer["response"]["allowed"], true, "{answer:#}");
    let patch: k8s_openapi::ByteString = serde_json::from_value(answer["response"]["patch"].clone()).unwrap();
    let patch: Value = serde_json::from_slice(&patch.0).unwrap();
    let pod = patched(&review["request"]["object"], &patch);
    assert_eq!(valid::problems(&pod), Vec::<String>::new());
    // The namespace's annotation came over the watch.
    assert!(pod["spec"]["containers"][0]["env"].to_string().contains("guarded"));

    // What cannot be answered is no 200, so that the failurePolicy decides.
    let error = call(webhooks, &believed, &clock, "/mutate/namespace", "{}".to_owned()).await.unwrap_err();
    assert!(error.to_string().starts_with("400"), "{error}");
    let large = " ".repeat(9 << 20);
    let error = call(webhooks, &believed, &clock, "/mutate/namespace", large).await.unwrap_err();
    assert!(error.to_string().starts_with("413"), "{error}");

    let (status, text) = page(health, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains(r#"reviews_total{webhook="namespace",outcome="injected"} 1"#), "{text}");
    assert!(text.contains(r#"reviews_total{webhook="namespace",outcome="error"} 1"#), "{text}");
    assert!(page(health, "/unaudited").await.1.contains("<h1>Unaudited pods</h1>"));
    assert!(page(health, "/unaudited.json").await.1.contains(r#""unaudited":0"#));

    let ending = tokio::spawn(injector.shutdown(Duration::from_millis(300)));
    while page(health, "/readyz").await.0 == 200 {}
    // It goes, and still answers.
    call(webhooks, &believed, &clock, "/mutate/namespace", review.to_string()).await.unwrap();
    ending.await.unwrap();
    assert!(call(webhooks, &believed, &clock, "/mutate/namespace", review.to_string()).await.is_err());
    let lease =
        api.get("/apis/coordination.k8s.io/v1/namespaces/sidetrail/leases/sidetrail-injector").unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "", "given back");
}
