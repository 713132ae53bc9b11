//! What an advanced selector says of one field, compiled.

use crate::advanced::FieldSelector;
use crate::texts::Texts;

/// One field's condition.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    wanted: Texts,
    unwanted: Texts,
}

impl Condition {
    pub(crate) fn new(selector: &FieldSelector) -> Self {
        let list = |values: &Option<Vec<String>>| values.clone().unwrap_or_default();
        Self {
            wanted: Texts::new(
                &list(&selector.equals),
                &list(&selector.starts_with),
                &list(&selector.ends_with),
            ),
            unwanted: Texts::new(
                &list(&selector.not_equals),
                &list(&selector.not_starts_with),
                &list(&selector.not_ends_with),
            ),
        }
    }

    /// Whether it holds of a value, or of its absence.
    pub(crate) fn holds(&self, value: Option<&str>) -> bool {
        match value {
            Some(value) => (self.wanted.is_empty() || self.wanted.any(value)) && !self.unwanted.any(value),
            None => self.wanted.is_empty(),
        }
    }
}
