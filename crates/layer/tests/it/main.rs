//! The layer from outside: what applications see of it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "that is how a test fails")]

#[cfg(feature = "axum")]
mod apps;
#[cfg(feature = "axum")]
mod axum;
mod capture;
mod change;
#[cfg(feature = "axum")]
mod compat;
#[cfg(feature = "axum")]
mod coverage;
mod delivery;
#[cfg(feature = "grpc-messages")]
mod grpc;
mod identity;
#[cfg(feature = "axum")]
mod loopback;
#[cfg(all(feature = "axum", feature = "grpc"))]
mod matrix;
mod outcomes;
mod passthrough;
mod routes;
#[cfg(feature = "axum")]
mod secrets;
#[cfg(feature = "grpc")]
mod sender;
mod support;
