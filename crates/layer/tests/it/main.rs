//! The layer from outside: what applications see of it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "that is how a test fails")]

#[cfg(feature = "axum")]
mod axum;
mod delivery;
mod identity;
mod outcomes;
mod passthrough;
#[cfg(feature = "grpc")]
mod sender;
mod support;
