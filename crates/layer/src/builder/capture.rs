//! How much of a call is recorded, and what of it is hidden.

use crate::{Builder, Level, MAX_BODY_CAP};

impl Builder {
    /// How much is recorded where no [rule](Self::route) says otherwise. [`Level::Request`] by default.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Up to how many bytes of a JSON body are copied. [`DEFAULT_BODY_CAP`](crate::DEFAULT_BODY_CAP) by default, [`MAX_BODY_CAP`] at most. Of a
    /// longer body the record has the size.
    pub fn body_cap(mut self, bytes: usize) -> Self {
        self.body_cap = bytes.min(MAX_BODY_CAP);
        self
    }

    /// Hides values under one more name, at any depth of bodies and in queries and paths. Case and separators do not
    /// count: `tax_number` is `taxNumber`.
    pub fn redact(mut self, name: &str) -> Self {
        self.redactor.deny(name);
        self
    }
}
