//! The layer from outside: what applications see of it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "that is how a test fails")]

#[cfg(feature = "axum")]
mod axum;
mod capture;
mod change;
#[cfg(feature = "grpc-messages")]
mod grpc;
mod outcomes;
mod passthrough;
#[cfg(feature = "axum")]
mod secrets;
#[cfg(feature = "grpc")]
mod sender;
mod support;
