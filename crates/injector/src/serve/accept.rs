//! Connections: how many there may be, how long they may take, and how they end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What connections may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time. An API server has a few.
    pub connections: usize,
    /// Requests at a time on one of them.
    pub streams: u32,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How long the head of a request may take.
    pub head: Duration,
    /// How long open requests may take when it ends.
    pub end: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            streams: 256,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(10),
            end: Duration::from_secs(10),
        }
    }
}

/// Serves `router` over TLS until `end`, then lets open requests finish.
pub async fn serve_tls(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    limits: Limits,
    end: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .keep_alive_interval(Duration::from_secs(30));
    let builder = Arc::new(builder);
    loop {
        // Beyond the places the kernel lets them wait.
        let place = tokio::select! {
            () = end.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let stream = tokio::select! {
            () = end.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Of file descriptors there may be none for a while.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        // Answers are small: waiting for more to send costs the caller 40 ms.
        drop(stream.set_nodelay(true));
        let (acceptor, builder, watcher) = (acceptor.clone(), Arc::clone(&builder), graceful.watcher());
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _place = place;
            let handshake = tokio::time::timeout(limits.handshake, acceptor.accept(stream)).await;
            let stream = match handshake {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "handshake failed");
                    return;
                }
                Err(_) => {
                    tracing::debug!("handshake took too long");
                    return;
                }
            };
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.end, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}
