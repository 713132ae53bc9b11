//! Guides, one topic each: what to do, in which order, and what to look out for.

/// What of requests and responses is recorded, and how much of it.
#[doc = include_str!("guide/capture.md")]
pub mod capture {}

/// A test that no route was forgotten.
#[doc = include_str!("guide/coverage.md")]
pub mod coverage {}

/// How sure a call is to be recorded, and what waits for that.
#[doc = include_str!("guide/delivery.md")]
pub mod delivery {}

/// Who called, and from where.
#[doc = include_str!("guide/identity.md")]
pub mod identity {}

/// How names follow from routes, and what a call touches.
#[doc = include_str!("guide/naming.md")]
pub mod naming {}

/// What is hidden, where, and how to say so.
#[doc = include_str!("guide/redaction.md")]
pub mod redaction {}
