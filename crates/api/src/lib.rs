//! CloudTrail's HTTP API: what clients and servers of it have in common.
//!
//! Names and shapes only: nothing here opens a connection, knows an HTTP framework, or reads a clock.
//!
//! - [`Operation`]: the operations, and by which `X-Amz-Target` they are asked for.
//! - [`shape`]: what goes in and comes out, in the API's own spelling.
//! - [`Code`] and [`Error`]: exception names, and the texts that clients see.
//! - [`arn`] and [`name`]: what things are called.
//! - [`json`]: request bodies, read with bounds.
//! - [`token`]: page tokens that belong to one query.
//! - [`sigv4`]: Signature Version 4, both sides.
//!
//! # Protocol
//!
//! `POST /` with `Content-Type: application/x-amz-json-1.1` and `X-Amz-Target: PREFIX.Operation`; two prefixes are in
//! use. A body is one JSON object, and no body is an empty one. Times are numbers, seconds since the epoch; bytes are
//! base64. Members that are absent are left out, never null. An error is status 400 with
//! `{"__type": "TrailNotFoundException", "message": "…"}`.

pub mod arn;
mod error;
pub mod json;
pub mod name;
mod operation;
pub mod shape;
pub mod sigv4;
pub mod token;

pub use error::{Code, Error, quoted};
pub use operation::{Access, Operation, Rate, Service};

/// The media type of bodies, both ways.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// The header that names the operation.
pub const TARGET_HEADER: &str = "x-amz-target";
/// The header that names a request in its answer.
pub const REQUEST_ID_HEADER: &str = "x-amzn-requestid";
