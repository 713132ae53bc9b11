//! Marks that stand where something was withheld, in CloudTrail's words.

/// Stands for a value that must not be recorded. AWS services write the same text.
pub const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// [`HIDDEN`] as JSON text.
pub const HIDDEN_JSON: &str = "\"HIDDEN_DUE_TO_SECURITY_REASONS\"";
