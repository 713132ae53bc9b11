//! What the injector asks of the Kubernetes API: a handful of calls, and two watches.
//!
//! A client library would bring a parser of YAML, one of JSONPath and much else into the one component that holds a
//! signing key and sees all pods; so this is written on hyper, with Kubernetes' own types.

mod client;
mod lease;
mod watch;

pub use client::{ApiError, Client, ClientError};
pub use lease::{Leader, LeaseKeeper};
pub use watch::{Change, watch};
