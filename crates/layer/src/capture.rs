//! How much of a request is recorded, and the bounded copies of bodies.

mod fields;
#[cfg(feature = "grpc-messages")]
mod grpc;
mod kind;
mod multipart;
mod object;
mod pointer;
mod tee;

pub(crate) use fields::{Fields, push_number, push_string};
#[cfg(feature = "grpc-messages")]
pub(crate) use grpc::Descriptors;
pub(crate) use object::Object;
pub(crate) use pointer::Pointer;
pub(crate) use tee::{Plan, Tee};

/// How much of a call is recorded, in Kubernetes' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// No record at all: for probes.
    None,
    /// Who, what, when and the outcome, with the parameters in path and query. No bodies.
    Metadata,
    /// And the request's body: JSON, a form, or a gRPC message as members, of anything else what it is.
    #[default]
    Request,
    /// And the response's body.
    RequestResponse,
}
