//! Guides, one for each topic that takes more than a paragraph.

/// What of requests and responses is recorded, and how much of it.
#[doc = include_str!("guide/capture.md")]
pub mod capture {}

/// What is hidden, where, and how to say so.
#[doc = include_str!("guide/redaction.md")]
pub mod redaction {}
