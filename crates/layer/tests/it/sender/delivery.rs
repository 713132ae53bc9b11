//! Calls that wait for a collector.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use sidetrail::{AuditUnavailable, Builder, Delivery, Overflow, RequestBody};
use tower::{Layer, Service, ServiceExt};

use super::*;
use crate::support::request;

const SHORTLY: Duration = Duration::from_millis(150);

fn layer(socket: &Path, configure: impl FnOnce(Builder) -> Builder) -> AuditLayer {
    let builder = AuditLayer::builder("orders.example.com").collector(format!("unix:{}", socket.display()));
    configure(builder).build().unwrap()
}

fn app(
    layer: &AuditLayer,
) -> impl Service<
    http::Request<Full<Bytes>>,
    Response = Response<impl http_body::Body<Data = Bytes, Error = Box<dyn std::error::Error + Send + Sync>>>,
    Error = Infallible,
    Future: Send,
> + Clone {
    layer.layer(tower::service_fn(|_: http::Request<RequestBody<Full<Bytes>>>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::from("done"))))
    }))
}

async fn status(layer: &AuditLayer) -> StatusCode {
    let response = app(layer).oneshot(request(Method::POST, "/orders")).await.unwrap();
    let size = http_body::Body::size_hint(response.body()).exact();
    let status = response.status();
    assert_eq!(size.unwrap(), crate::support::collect(response.into_body()).await.0.len() as u64);
    status
}

fn kinds(log: &Log) -> String {
    let kind = |(_, _, payload): &(u64, u64, Payload)| match payload {
        Payload::Intent(_) => 'i',
        Payload::Call(_) => 'c',
        Payload::Record(_) => 'r',
        Payload::Dropped(_) => 'd',
    };
    log.stored.iter().map(kind).collect()
}

#[tokio::test]
async fn an_intent_is_stored_before_and_completed_after() {
    let (_directory, socket) = socket();
    let collector = Collector::default();
    let _server = collector.listen(&socket);
    let layer = layer(&socket, |layer| layer.delivery(Delivery::Guarded));
    for _ in 0..3 {
        assert_eq!(status(&layer).await, StatusCode::OK);
    }
    layer.shutdown(SOON).await.unwrap();
    collector.with(|log| {
        assert_eq!(kinds(log).matches('i').count(), 3);
        assert_eq!(log.completed.len(), 3);
        for (completion, intent) in &log.completed {
            let find =
                |number| log.stored.iter().find(|(first, ..)| first == number).map(|(.., payload)| payload);
            let (Some(Payload::Call(call)), Some(Payload::Intent(begun))) = (find(completion), find(intent))
            else {
                panic!("{completion} completes {intent}");
            };
            assert_eq!((&call.event_id, &call.event_name), (&begun.event_id, &begun.event_name));
            assert!(intent < completion);
        }
    });
    let stats = layer.stats();
    assert_eq!((stats.accepted, stats.acked, stats.dropped, stats.queued), (6, 6, 0, 0));
}

#[tokio::test]
async fn what_does_not_come_in_time_is_answered_with_503() {
    let (_directory, socket) = socket();
    let collector = Collector::default();
    collector.with(|log| log.silent = true);
    let _server = collector.listen(&socket);
    for delivery in [Delivery::Guarded, Delivery::Durable] {
        let layer = layer(&socket, |layer| layer.delivery(delivery).deadline(SHORTLY));
        assert_eq!(status(&layer).await, StatusCode::SERVICE_UNAVAILABLE);
        let stats = layer.stats();
        assert_eq!((stats.acked, stats.dropped), (0, 0), "what was sent stays until it is acked");
        assert_eq!(stats.queued, if delivery == Delivery::Guarded { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_collector_that_is_away_stops_guarded_calls() {
    let (_directory, socket) = socket();
    let layer = layer(&socket, |layer| layer.delivery(Delivery::Guarded).deadline(SHORTLY));
    let calls = (0..20).map(|_| status(&layer));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|status| *status == StatusCode::SERVICE_UNAVAILABLE));
    // Both halves arrive when it is back, in order.
    let collector = Collector::default();
    let _server = collector.listen(&socket);
    layer.shutdown(SOON).await.unwrap();
    collector
        .with(|log| assert_eq!((kinds(log), log.completed.len()), ("i".repeat(20) + &"c".repeat(20), 20)));
}

#[tokio::test]
async fn an_intent_that_is_refused_is_not_completed() {
    let (_directory, socket) = socket();
    let collector = Collector::default();
    collector.with(|log| log.refuse = Some(1));
    let _server = collector.listen(&socket);
    let layer = layer(&socket, |layer| layer.delivery(Delivery::Guarded));
    assert_eq!(status(&layer).await, StatusCode::SERVICE_UNAVAILABLE);
    layer.shutdown(SOON).await.unwrap();
    collector.with(|log| assert_eq!((kinds(log).as_str(), log.completed.len()), ("ic", 0)));
}

#[tokio::test]
async fn guarded_calls_need_two_places() {
    let (_directory, socket) = socket();
    let layer = layer(&socket, |layer| layer.delivery(Delivery::Guarded).deadline(SHORTLY).queue(3, 1 << 20));
    let (first, second) = futures_util::future::join(status(&layer), status(&layer)).await;
    assert_eq!((first, second), (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE));
    let stats = layer.stats();
    assert_eq!(stats.accepted, stats.queued + stats.dropped);
    assert_eq!(stats.dropped, 0, "a call that was refused at once has one place, the first has two");
}

#[tokio::test]
async fn blocked_calls_go_on_when_there_is_room() {
    let (_directory, socket) = socket();
    let layer = layer(&socket, |layer| layer.overflow(Overflow::Block).deadline(SOON).queue(2, 1 << 20));
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let layer = layer.clone();
            tokio::spawn(async move { status(&layer).await })
        })
        .collect();
    eventually(|| layer.stats().queued == 2).await;
    let collector = Collector::default();
    let _server = collector.listen(&socket);
    for call in calls {
        assert_eq!(call.await.unwrap(), StatusCode::OK);
    }
    layer.shutdown(SOON).await.unwrap();
    collector.with(|log| assert_eq!(kinds(log), "c".repeat(50)));
    assert_eq!(layer.stats().dropped, 0);
}

#[tokio::test]
async fn blocked_calls_give_up_in_the_end() {
    let (_directory, socket) = socket();
    let layer = layer(&socket, |layer| layer.overflow(Overflow::Block).deadline(SHORTLY).queue(1, 1 << 20));
    assert_eq!(status(&layer).await, StatusCode::OK);
    assert_eq!(status(&layer).await, StatusCode::SERVICE_UNAVAILABLE);
    let waiting = tokio::spawn({
        let layer = layer.clone();
        async move { status(&layer).await }
    });
    tokio::task::yield_now().await;
    assert!(layer.shutdown(Duration::ZERO).await.is_err());
    assert_eq!(waiting.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status(&layer).await, StatusCode::SERVICE_UNAVAILABLE, "it has ended");
}

#[tokio::test]
async fn calls_that_wait_are_told_of_the_end() {
    for delivery in [Delivery::Guarded, Delivery::Durable] {
        // One that has it and does not ack, and none at all.
        for listens in [true, false] {
            let (_directory, socket) = socket();
            let collector = Collector::default();
            collector.with(|log| log.silent = true);
            let _server = listens.then(|| collector.listen(&socket));
            let layer = layer(&socket, |layer| layer.delivery(delivery).deadline(Duration::from_secs(3600)));
            let waiting = tokio::spawn({
                let layer = layer.clone();
                async move { status(&layer).await }
            });
            eventually(|| layer.stats().queued > 0).await;
            assert!(layer.shutdown(SHORTLY).await.is_err());
            let status = tokio::time::timeout(SOON, waiting).await;
            assert_eq!(status.unwrap().unwrap(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}

#[tokio::test]
async fn places_that_nobody_uses_go_back() {
    let (_directory, socket) = socket();
    let sender = sender(&socket, 1);
    let permit = sender.reserve(SOON).await.unwrap();
    assert!(sender.reserve(SHORTLY).await.is_err());
    drop(permit);
    let (first, second) = (sender.reserve(SOON), sender.reserve(SOON));
    drop(first);
    assert!(second.await.is_ok());
    let (permit, receipt) = (sender.reserve(SOON).await.unwrap(), sender.reserve(SOON));
    drop(permit);
    drop(receipt);
    assert_eq!(sender.reserve(SOON).await.map(drop), Ok::<_, AuditUnavailable>(()));
    assert_eq!(sender.stats().queued, 0);
}
