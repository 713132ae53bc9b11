//! The ways to a service: a plain call, HTTP/1.1 and HTTP/2 through a router, and gRPC.

use std::{
    convert::Infallible,
    fmt,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body, routing::any};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use sidetrail::{Audit, AuditLayer};
use tokio::sync::Notify;
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService, util::MapRequestLayer};
use tower_http::catch_panic::CatchPanicLayer;

use super::{Case, bodies::Carrier, callers::introduce, told};
use crate::{loopback::Server, sender::Collector};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tower,
    Http1,
    Http2,
    Unary,
    Streaming,
}

pub(super) const TRANSPORTS: [Transport; 5] =
    [Transport::Tower, Transport::Http1, Transport::Http2, Transport::Unary, Transport::Streaming];

/// Where it is said what is special about a route.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The builder, and delivery for all routes.
    Layer,
    /// The builder, for the route.
    Route,
    /// Around the handler.
    Handler,
}

impl Transport {
    pub(super) fn carrier(self) -> Carrier {
        match self {
            Self::Tower | Self::Http1 | Self::Http2 => Carrier::Http,
            Self::Unary => Carrier::Unary,
            Self::Streaming => Carrier::Streaming,
        }
    }

    pub(super) fn place(self) -> Place {
        match self {
            Self::Tower => Place::Layer,
            Self::Http1 | Self::Streaming => Place::Handler,
            Self::Http2 | Self::Unary => Place::Route,
        }
    }

    /// Whether there is a connection.
    pub(super) fn is_served(self) -> bool {
        self != Self::Tower
    }
}

/// What one call's handler has in common with its caller.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) case: Case,
    pub(super) collector: Collector,
    /// The handler has read the request.
    pub(super) begun: Arc<Notify>,
    /// Intents that the collector had when the handler began.
    pub(super) intents: Arc<AtomicUsize>,
}

impl Stage {
    pub(super) fn new(case: Case) -> Self {
        Self { case, collector: Collector::default(), begun: Arc::default(), intents: Arc::default() }
    }

    async fn handle<B>(self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error: fmt::Debug>,
    {
        self.intents.store(told::count(&self.collector).0, Ordering::SeqCst);
        let audit = Audit::of(request.extensions());
        self.case.caller.speak(&audit);
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, self.case.sent.body(), "a body that goes through unchanged");
        self.case.outcome.act(&self, &audit).await
    }
}

/// A service that can be called.
pub(super) enum Running {
    Here(BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>),
    Served(Box<(Server, Client<HttpConnector, Body>)>),
}

impl Running {
    pub(super) async fn start(stage: &Stage, layer: &AuditLayer) -> Self {
        let (case, stage) = (stage.case, stage.clone());
        if !case.transport.is_served() {
            let app = ServiceBuilder::new()
                .map_response(|response: Response<_>| response.map(Body::new))
                .map_request(introduce)
                .layer(layer.clone())
                .service_fn(move |request: Request<_>| stage.clone().handle(request).map(Ok));
            return Self::Here(BoxCloneSyncService::new(app));
        }
        let mut handler = any(move |request: axum::extract::Request| stage.clone().handle(request));
        if case.transport.place() == Place::Handler {
            handler = handler.layer(case.sent.rule().delivery(case.delivery));
        }
        // Without the last of them a panic would end the connection, and its caller would have no answer.
        let app = Router::new()
            .route(case.sent.route(), handler)
            .layer(layer.clone())
            .layer(MapRequestLayer::new(introduce))
            .layer(CatchPanicLayer::new());
        let is_http2 = case.transport != Transport::Http1;
        let client = Client::builder(TokioExecutor::new()).http2_only(is_http2).build_http();
        Self::Served(Box::new((Server::start(app).await, client)))
    }

    /// Dropped, it is a caller that goes away.
    pub(super) fn send(
        &self,
        mut request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, String>> {
        match self {
            Self::Here(app) => {
                let call = AssertUnwindSafe(app.clone().oneshot(request)).catch_unwind();
                async move { call.await.map(Result::unwrap).map_err(|_| "panic".to_owned()) }.boxed()
            }
            Self::Served(served) => {
                let (server, client) = &**served;
                *request.uri_mut() = format!("http://{}{}", server.address, request.uri()).parse().unwrap();
                let call = client.request(request);
                async move {
                    call.await.map(|response| response.map(Body::new)).map_err(|error| error.to_string())
                }
                .boxed()
            }
        }
    }

    /// Nothing of it runs any more.
    pub(super) async fn stop(self) {
        if let Self::Served(served) = self {
            let (server, client) = *served;
            drop(client);
            server.stop().await;
        }
    }
}
