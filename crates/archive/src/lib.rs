//! What evidence in the bucket looks like, and how it is believed.
//!
//! A collector writes three kinds of objects: gzip *log files* of records as CloudTrail writes them, one signed
//! *manifest* for each, and the *public keys* that the manifests are signed with. Who holds a trail's key writes *digests*
//! over them, as CloudTrail does. This crate owns their names ([`key`]), their bytes ([`log`], [`manifest`], [`digest`],
//! [`dsse`]), the signatures ([`sign`]) and the verification of a whole bucket ([`verify`]). The formats are described in `crates/ARCHITECTURE.md`, section "Formats".
//!
//! ```text
//! records ─▶ log::LogWriter ─▶ log file ──┐ digests, counts
//!                                         ▼
//!                              manifest::Manifest ─ seal(Signer) ─▶ manifest, next to the log file by name
//!
//! bucket ─▶ source::Bucket ─▶ verify::run ─▶ Report: valid, invalid, or could not check
//! ```
//!
//! The core is sans-I/O: it reads no clock and knows no runtime or network. What reads a bucket is a trait the caller
//! brings ([`source::Bucket`]); with the feature `store` one over `object_store` is included. Only key generation draws
//! randomness by itself, from the operating system.

pub mod causes;
pub mod content;
pub mod digest;
pub mod dsse;
pub mod hash;
pub mod key;
pub mod log;
pub mod manifest;
mod name;
pub mod quarantine;
pub mod receipt;
mod scan;
pub mod sign;
pub mod source;
#[cfg(feature = "store")]
pub mod store;
mod time;
pub mod tlog;
pub mod verify;

/// The example of the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
