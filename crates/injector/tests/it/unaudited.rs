//! The controller: pods of every kind in, a report, metrics, Events and a page out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sidetrail_injector::kube::LeaseKeeper;
use sidetrail_injector::metrics::Metrics;
use sidetrail_injector::namespaces::Namespaces;
use sidetrail_injector::unaudited::{Asker, Board, Look, Pods, Reason, Report, html};

use crate::api::Api;
use crate::pods::{Cluster, config, review};

/// A collector's port, which answers with metrics.
async fn collector(metrics: &'static str) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/metrics", get(move || async move { metrics }))).await
    });
    port
}

/// A pod that runs, given a collector on `port`, or none.
fn pod(namespace: &str, name: &str, created: Timestamp, port: Option<u16>) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "containers": [{ "name": "app", "image": "app:1" }] }
    });
    if let Some(port) = port {
        pod["metadata"]["annotations"] = json!({ "sidetrail.dev/metrics-port": port.to_string() });
        pod = Cluster::new("").inject(&review(&pod)).unwrap();
    }
    pod["metadata"]["uid"] = format!("uid-{namespace}-{name}").into();
    pod["metadata"]["creationTimestamp"] = created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
    pod["status"] = json!({ "phase": "Running", "podIP": "127.0.0.1", "initContainerStatuses": [{
        "name": "sidetrail-collector", "image": "c", "imageID": "c", "ready": true, "restartCount": 0, "started": true,
        "state": { "running": { "startedAt": "2026-11-28T00:00:00Z" } } }] });
    pod
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come to that");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_are_not_audited_are_found_and_told_of() {
    let api = Api::start().await;
    let label =
        |value: &str| json!({ "metadata": { "name": "shop", "labels": { "sidetrail.dev/inject": value } } });
    api.put("/api/v1/namespaces/shop", label("enabled"));
    api.put("/api/v1/namespaces/other", json!({ "metadata": { "name": "other" } }));
    let now = Timestamp::now();
    let old = now - SignedDuration::from_hours(1);
    let greeted = collector("sidetrail_streams_open 2\n# EOF\n").await;
    let never = collector("sidetrail_streams_open 0\n# EOF\n").await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let put = |pod: Value| {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        let namespace = pod["metadata"]["namespace"].as_str().unwrap().to_owned();
        api.put(&format!("/api/v1/namespaces/{namespace}/pods/{name}"), pod);
    };
    put(pod("shop", "audited", old, Some(greeted)));
    put(pod("shop", "no-layer", old, Some(never)));
    put(pod("shop", "silent", old, Some(closed)));
    put(pod("shop", "young", now, Some(never)));
    put(pod("shop", "bare", old, None));
    put(pod("other", "nobody-asked", old, None));
    let mut out = pod("shop", "opted-out", old, None);
    out["metadata"]["labels"] = json!({ "sidetrail.dev/inject": "disabled" });
    put(out);
    let mut through = pod("shop", "through", old, None);
    through["status"]["phase"] = "Succeeded".into();
    put(through);
    let mut stuck = pod("shop", "stuck", old, Some(greeted));
    stuck["status"]["initContainerStatuses"][0]["started"] = false.into();
    stuck["status"]["initContainerStatuses"][0]["state"] =
        json!({ "waiting": { "reason": "ImagePullBackOff" } });
    put(stuck);

    let config = config("");
    let namespaces = Arc::new(Namespaces::new(None));
    tokio::spawn(Arc::clone(&namespaces).follow(api.client()));
    let pods = Arc::new(Pods::default());
    tokio::spawn(Look::follow(Arc::clone(&pods), api.client(), config.clone()));
    eventually(|| namespaces.is_complete() && pods.all().is_some()).await;
    let (board, metrics) = (Arc::new(Board::default()), Arc::new(Metrics::new()));
    let mut look = Look {
        config,
        client: api.client(),
        leader: LeaseKeeper::new(api.client(), "sidetrail", "l", "one").leader(),
        pods: Arc::clone(&pods),
        namespaces,
        board: Arc::clone(&board),
        metrics: Arc::clone(&metrics),
        identity: "one".to_owned(),
        hellos: BTreeMap::new(),
        told: BTreeSet::new(),
        asker: Asker::default(),
    };
    look.look(now).await;
    let found = |report: &Report| {
        report.findings.iter().map(|finding| (finding.pod.clone(), finding.reason)).collect::<Vec<_>>()
    };
    let expected = [
        ("bare", Reason::NotInjected),
        ("no-layer", Reason::NoLayer),
        ("silent", Reason::CollectorUnreachable),
        ("stuck", Reason::CollectorNotStarted),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(name, reason)| (name.to_owned(), reason)).collect();
    let report = board.read();
    assert_eq!(found(&report), expected);
    assert_eq!((report.audited, report.opted_out, report.unaudited), (1, 1, 4));

    let text = metrics.encode().unwrap();
    for line in [
        r#"sidetrail_injector_pods{namespace="shop",state="audited"} 1"#,
        r#"sidetrail_injector_pods{namespace="shop",state="unaudited"} 4"#,
        r#"sidetrail_injector_pods{namespace="shop",state="opted_out"} 1"#,
        r#"sidetrail_injector_unaudited_pods{namespace="shop",reason="no_layer"} 1"#,
    ] {
        assert!(text.contains(line), "{text}");
    }
    let events = api.list("/apis/events.k8s.io/v1/namespaces/shop/events");
    assert_eq!(events.len(), 4);
    assert_eq!(events[0]["regarding"]["name"], "bare");
    assert_eq!((&events[0]["type"], &events[0]["reason"]), (&json!("Warning"), &json!("Unaudited")));
    for event in &events {
        serde_json::from_value::<k8s_openapi::api::events::v1::Event>(event.clone()).unwrap();
    }

    let page = html(&report, None);
    assert!(page.contains("Layer missing") && page.contains("<td>no-layer"), "{page}");
    assert!(html(&report, Some("other")).contains("Every pod that is meant to be audited is"));

    // Told once, also by one that begins anew.
    look.look(now).await;
    look.told.clear();
    look.look(now).await;
    assert_eq!(api.list("/apis/events.k8s.io/v1/namespaces/shop/events").len(), 4);

    // What changes is seen, also after the server has forgotten what was.
    api.delete("/api/v1/namespaces/shop/pods/bare");
    eventually(|| pods.all().is_some_and(|pods| pods.iter().all(|pod| pod.name != "bare"))).await;
    api.forget();
    eventually(|| api.calls("GET /api/v1/pods") >= 5 && pods.all().is_some()).await;
    api.put("/api/v1/namespaces/shop", label("disabled"));
    // It may not be known at all for a moment: it is read anew.
    let known = || look.namespaces.known("shop");
    eventually(|| known().is_some_and(|known| known.labels["sidetrail.dev/inject"] == "disabled")).await;
    look.look(now).await;
    assert_eq!(found(&board.read()), []);
}
