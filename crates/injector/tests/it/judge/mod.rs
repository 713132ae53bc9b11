//! Judges of pods: whether an API server takes one, and whether Pod Security does.

pub(crate) mod restricted;
pub(crate) mod valid;
