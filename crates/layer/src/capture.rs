//! How much of a request is recorded, and the bounded copies of bodies.

mod fields;
mod object;
mod tee;

pub(crate) use fields::Fields;
pub(crate) use object::Object;
pub(crate) use tee::{BodyKind, Tee};

/// How much of a call is recorded, in Kubernetes' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// No record at all: for probes.
    None,
    /// Who, what, when and the outcome, with the parameters in path and query. No bodies.
    Metadata,
    /// And the request's JSON body.
    #[default]
    Request,
    /// And the response's JSON body.
    RequestResponse,
}
