//! CloudTrail for your own services: a [tower] layer that records who called what, with which parameters, and what came
//! of it.
//!
#![cfg_attr(feature = "grpc", doc = "```no_run")]
#![cfg_attr(not(feature = "grpc"), doc = "```ignore")]
//! use axum::{Router, routing::get};
//!
//! # async fn run() -> std::io::Result<()> {
//! let app = Router::new()
//!     .route("/orders/{id}", get(|| async { "order" }).delete(|| async { "gone" }))
//!     .layer(sidetrail::layer("orders.example.com"));
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).await
//! # }
//! ```
//!
//! That is all: each request becomes one CloudTrail record (`DeleteOrder` on `orders.example.com`) and goes to the
//! collector that `SIDETRAIL_COLLECTOR` names, by default the one at [`DEFAULT_COLLECTOR`]. With the feature `axum`,
//! names follow the router's templates and the caller's address is known.
//!
//! What the default does not know, a service says:
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, routing::post};
//! use http::Method;
//! use sidetrail::{Audit, AuditLayer, Delivery, Identity, Level, MemorySink, ResourceTemplate, Rule};
//!
//! #[derive(Clone)]
//! struct User {
//!     id: String,
//!     name: String,
//! }
//!
//! # #[cfg(feature = "axum")]
//! async fn refund(audit: Audit) -> &'static str {
//!     audit.parameter("reason", "damaged");
//!     audit.response_element("refundId", "r-17");
//!     "refunded"
//! }
//! # #[cfg(not(feature = "axum"))]
//! # async fn refund() {}
//!
//! let order = ResourceTemplate::new(
//!     "AWS::Orders::Order",
//!     "arn:aws:orders:{region}:{account}:order/{id}",
//! );
//! let records = MemorySink::default();
//! let layer = AuditLayer::builder("orders.example.com")
//!     .identity_from(|user: &User| Identity::user(&user.id, &user.name))
//!     .route(Method::GET, "/health", Rule::new().level(Level::None))
//!     .route(
//!         Method::POST,
//!         "/orders/{id}/refund",
//!         Rule::new().resource(order).delivery(Delivery::Guarded),
//!     )
//!     .route(Method::POST, "/orders/find", Rule::new().name("SearchOrders").read_only(true))
//!     .redact("taxNumber")
//!     // For tests. Without it records go to the collector.
//!     .sink(records.clone())
//!     .build()?;
//! let app: Router = Router::new()
//!     .route("/orders/{id}/refund", post(refund))
//!     .layer(layer.clone());
//! // … when the server has stopped:
//! # #[cfg(feature = "grpc")]
//! layer.shutdown_blocking(Duration::from_secs(5))?;
//! # drop(app);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it promises
//!
//! - **Every request yields exactly one record**: an answer, a streaming answer, an error, a panic, an upgrade, a caller
//!   that hangs up before or during the answer. Only routes at [`Level::None`] have none.
//! - **It does not get in the way.** It never blocks and never panics, and request, response, bodies, streaming and
//!   trailers are what they would be without it. Nothing is read that the handler does not read. Of a body at most
//!   [a bounded copy](Builder::body_cap) is kept.
//! - **Secrets stay where they are.** Values under names such as `password`, `apiKey` or `refresh_token`, at any depth,
//!   and values that look like credentials are replaced before a record leaves the process. The raw URI is never
//!   recorded.
//! - **It waits where you say so, and only there.** A route can hold its answer back until the record is on disk, or its
//!   handler until the intent is: see [`Delivery`].
//! - **Nothing is lost silently.** The [`Sender`] keeps records until the collector has them on disk; what a full queue
//!   cannot take is counted, and the gap is recorded.
//!
//! # What a record holds
//!
//! | CloudTrail | from |
//! |---|---|
//! | `eventSource` | the service's name |
//! | `eventName`, `readOnly` | method and route: `GET /orders` is `ListOrders`, `POST /orders/{id}/refund` is `RefundOrder`; a [`Rule`]; gRPC: the method |
//! | `resources` | [`Rule::resource`], [`Audit::add_resource`] |
//! | `managementEvent`, `eventCategory` | `Management`; `Data` where a [`Rule`] says so |
//! | `userIdentity` | the first of: [`Audit::set_identity`], the extension [`Identity`], what the builder adds (tokens, certificates, API keys, …), the extension [`JwtClaims`]; else `Unknown`, `anonymous`: see [`guide::identity`] |
//! | `sourceIPAddress` | axum's `ConnectInfo<SocketAddr>` or [`PeerAddr`]; a header only as far as [`Builder::trusted_proxies`] says |
//! | `requestParameters` | path, query and body (JSON, a form, a gRPC message) in one object. A name that is taken twice: query parameters go under `query`, body members under `body` |
//! | `responseElements` | [`Audit::response_element`], [`Rule::response_elements`]; at [`Level::RequestResponse`] the body |
//! | `errorCode`, `errorMessage` | status or gRPC status, [`Audit::error`], `ClientClosedRequest`, `InternalFailure` |
//! | `additionalEventData` | OpenTelemetry's names: `http.route`, `http.response.status_code`, `trace_id`, …; `durationMs`, `identitySource`, `identityError`, `claimedIdentity`; [`change`](Audit::change) |
//! | `requestID` | `x-request-id`, else the event's id |
//!
//! [`guide::capture`] and [`guide::redaction`] say more of bodies and secrets.
//!
//! # Where to put it
//!
//! Put it around the routes (`Router::layer`), so that the route is known. Middleware that authenticates goes outside
//! of it (a later `.layer(…)`) and inserts [`JwtClaims`], [`Identity`] or a type of its own into the request's extensions;
//! inside, it calls [`Audit::set_identity`]. A time-out belongs inside, too: one outside drops the call, which then reads
//! as `ClientClosedRequest`. Handlers get [`Audit`] from the extensions or, in axum, as an argument.
//!
//! The layer's requests have a body of another type, [`RequestBody`]. Routers and most middleware take any; where a
//! service insists on its own, put `tower_http::map_request_body::MapRequestBodyLayer::new(axum::body::Body::new)` in
//! between. What it wraps has to be `Clone`, and the data of its response body `From<Bytes>`, as nearly all are: the layer
//! may have to wait before it calls, and to answer in its place.
//!
//! # Features
//!
//! - `grpc` (default): the [`Sender`]. Without it there is no tokio, hyper or tonic, and a [`Sink`] has to be set.
//! - `axum`: `MatchedPath`, `OriginalUri` and `ConnectInfo` are understood, and [`Audit`] and `Recorded` are extractors.
//! - `jwt`: `JwtVerifier` checks tokens against a JWKS file.
//! - `mtls`: `PeerCertificate` says who a TLS client is.
//! - `tls`: the sender reaches collectors at `https://host:port`, with certificates on both sides: see
//!   `SenderBuilder::tls`.
//! - `grpc-messages`: gRPC messages are recorded by their descriptors.
//!
//! # Guides
//!
//! - [`identity`](guide::identity): who called, and from where.
//! - [`naming`](guide::naming): how names follow from routes, and what a call touches.
//! - [`capture`](guide::capture) and [`redaction`](guide::redaction): what of bodies is recorded, and what is hidden.
//! - [`delivery`](guide::delivery): how sure a call is to be recorded, and what waits for that.
//! - [`coverage`](guide::coverage): a test that no route was forgotten.
//!
//! What semantic versioning covers is in the crate's README.
//!
//! [tower]: https://docs.rs/tower

mod additions;
mod address;
mod admission;
mod base64;
mod body;
mod builder;
mod capture;
mod coverage;
mod delivery;
mod draft;
mod exchange;
mod finish;
mod future;
mod guard;
pub mod guide;
mod handle;
mod id;
mod identity;
mod layer;
mod name;
mod outcome;
mod policy;
#[cfg(feature = "axum")]
mod recorded;
mod redact;
mod refusal;
mod route;
mod rule;
#[cfg(feature = "grpc")]
mod sender;
mod sensitive;
mod service;
mod sink;

pub use sidetrail_record::{Record, Resource, UserIdentity};
#[cfg(feature = "tls")]
pub use sidetrail_wire::connect::ClientTls;

#[cfg(feature = "mtls")]
pub use self::identity::PeerCertificate;
#[cfg(feature = "jwt")]
pub use self::identity::{JwksError, JwksStatus, JwtAlgorithm, JwtVerifier, JwtVerifierBuilder};
#[cfg(feature = "axum")]
pub use self::recorded::Recorded;
#[cfg(feature = "grpc")]
pub use self::sender::{DEFAULT_COLLECTOR, Sender, SenderBuilder, ShutdownError, Stats};
pub use self::{
    address::{ForwardedHeader, PeerAddr},
    body::{RequestBody, ResponseBody},
    builder::{BuildError, Builder, DEFAULT_BODY_CAP, MAX_BODY_CAP},
    capture::Level,
    coverage::{Aspect, Coverage, Gap, Gaps, RedactionDecision, ResourceDecision, RouteCoverage},
    delivery::{AuditUnavailable, DEFAULT_DEADLINE, Delivery, Overflow, Permit, Promise, Receipt},
    draft::Draft,
    future::ResponseFuture,
    handle::Audit,
    identity::{ApiKeys, Identity, JwtClaims, ProxyHeaders},
    layer::AuditLayer,
    policy::Naming,
    route::RouteTemplate,
    rule::{ResourceTemplate, Rule, RuleService},
    sensitive::{Sensitive, hidden},
    service::AuditService,
    sink::{MemorySink, Sink},
};

/// A layer for the service of this name that sends its records to the collector at `SIDETRAIL_COLLECTOR`:
/// `unix:/path/to/socket` or `http://host:port`, by default [`DEFAULT_COLLECTOR`].
///
/// It never fails. If the address makes no sense, that is logged as an error and every record is counted as dropped:
/// see [`AuditLayer::stats`], and [`Builder::build`] for an error to handle. Call it anywhere, inside a runtime or not.
#[cfg(feature = "grpc")]
pub fn layer(service: impl Into<String>) -> AuditLayer {
    AuditLayer::builder(service).build_or_log()
}

/// The code in the repository's README is tested as it stands there.
#[cfg(all(doctest, feature = "axum", feature = "grpc"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
