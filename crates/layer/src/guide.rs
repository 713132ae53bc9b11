//! Guides, one topic each: what to do, in which order, and what to look out for.

#[doc = include_str!("guide/identity.md")]
pub mod identity {}

#[doc = include_str!("guide/delivery.md")]
pub mod delivery {}
