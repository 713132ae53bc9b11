//! What a handler added to the record of its call.

pub(crate) mod change;

use std::fmt;

use sidetrail_record::{Json, Resource};

use self::change::Change;
use crate::Identity;

/// What a handler added so far.
#[derive(Debug, Default)]
pub(crate) struct Additions {
    pub(crate) identity: Option<Identity>,
    pub(crate) resources: Vec<Resource>,
    pub(crate) parameters: Vec<(String, Json)>,
    pub(crate) elements: Vec<(String, Json)>,
    pub(crate) error: Option<(String, String)>,
    pub(crate) request_body: Option<TypedBody>,
    pub(crate) response_body: Option<TypedBody>,
    pub(crate) change: Change,
    pub(crate) bytes: usize,
}

impl Additions {
    /// Bytes of JSON in it.
    #[cfg(feature = "grpc")]
    pub(crate) fn size(&self) -> usize {
        self.bytes
    }
}

/// A body as the handler says that it is.
pub(crate) enum TypedBody {
    /// JSON that has not been redacted yet.
    Json(String),
    /// More than a body may have.
    TooLarge(usize),
}

/// Never the text.
impl fmt::Debug for TypedBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TypedBody")
    }
}
