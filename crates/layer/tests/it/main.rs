//! The layer from outside: what applications see of it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "that is how a test fails")]

#[cfg(feature = "axum")]
mod apps;
#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "axum")]
mod compat;
#[cfg(feature = "axum")]
mod coverage;
mod delivery;
mod identity;
#[cfg(feature = "axum")]
mod loopback;
mod outcomes;
mod passthrough;
mod routes;
#[cfg(feature = "grpc")]
mod sender;
mod support;
