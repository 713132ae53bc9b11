//! Guides to what takes more than a paragraph.

#[doc = include_str!("guide/coverage.md")]
pub mod coverage {}

#[doc = include_str!("guide/naming.md")]
pub mod naming {}
