//! Why a call was not done: what the client is told, and what only the log is.

use sidetrail_api::{Code, Error};

use crate::history::FindError;
use crate::state::{StateError, UpdateError};

/// A call that was not done.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What the client is told.
    pub(crate) error: Error,
    /// What the log is told beside that.
    pub(crate) cause: Option<String>,
}

impl Refusal {
    /// A failure that is not the client's.
    pub(crate) fn unavailable(cause: &(dyn std::error::Error + 'static)) -> Self {
        let message = "The service cannot reach its storage at the moment. Try again.";
        Self { error: Error::new(Code::ServiceUnavailable, message), cause: Some(crate::chain(cause)) }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, cause: None }
    }
}

impl From<FindError> for Refusal {
    fn from(error: FindError) -> Self {
        let message = "Event history is being made again from the bucket. Try again.";
        Self { error: Error::new(Code::ServiceUnavailable, message), cause: Some(crate::chain(&error)) }
    }
}

impl From<StateError> for Refusal {
    fn from(error: StateError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<UpdateError<Self>> for Refusal {
    fn from(error: UpdateError<Self>) -> Self {
        match error {
            UpdateError::Refused(refusal) => refusal,
            UpdateError::State(error) => error.into(),
            UpdateError::Contended => Error::new(
                Code::Conflict,
                "This exception is thrown when the specified resource is not ready for an operation: it is being \
                 changed by others. Try again.",
            )
            .into(),
        }
    }
}
