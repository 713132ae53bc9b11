//! Guides, one topic each: what to do, in which order, and what to look out for.

#[doc = include_str!("guide/capture.md")]
pub mod capture {}

#[doc = include_str!("guide/coverage.md")]
pub mod coverage {}

#[doc = include_str!("guide/delivery.md")]
pub mod delivery {}

#[doc = include_str!("guide/identity.md")]
pub mod identity {}

#[doc = include_str!("guide/naming.md")]
pub mod naming {}

#[doc = include_str!("guide/redaction.md")]
pub mod redaction {}
