//! What is wrong with selectors.

/// Selectors that break a rule: the API's `InvalidEventSelectorsException`.
///
/// The text is CloudTrail's where that is known, and then names no place: see [`InvalidSelectors::at`] and
/// [`InvalidSelectors::reason`] for more than CloudTrail says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct InvalidSelectors {
    at: String,
    problem: Problem,
}

/// Which rule they break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A value that is not allowed there.
    #[error("Value {value} for {field} is invalid.")]
    Value {
        /// The member in CloudTrail's words, e.g. `DataResources.Values`.
        field: String,
        /// What it holds; a long one is cut.
        value: String,
        /// Why that is not allowed.
        reason: &'static str,
    },
    /// More entries or characters than allowed, or fewer.
    #[error("{field} has {count} {unit}, allowed are {min} to {max}")]
    Limit {
        /// The member.
        field: &'static str,
        /// What is counted.
        unit: &'static str,
        /// How many there are.
        count: usize,
        /// The least.
        min: usize,
        /// The most.
        max: usize,
    },
    /// A field that a selector of this category must have.
    #[error(
        "a selector of category {category} needs field {field} with operator Equals and exactly one value"
    )]
    Required {
        /// The category.
        category: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field that a selector of this category cannot have.
    #[error("field {field} cannot be used with category {category}{scope}")]
    Field {
        /// The category.
        category: &'static str,
        /// The field.
        field: &'static str,
        /// ` in a trail` where it could be used in an event data store.
        scope: &'static str,
    },
    /// An operator that a field cannot have.
    #[error("operator {operator} cannot be used with field {field} of category {category}")]
    Operator {
        /// The category.
        category: &'static str,
        /// The field.
        field: &'static str,
        /// The operator.
        operator: &'static str,
    },
    /// A field that comes twice in one selector.
    #[error("field {field} comes twice in one selector")]
    Twice {
        /// The field.
        field: &'static str,
    },
    /// The same value for an operator and its opposite.
    #[error("value {value} is both in {operator} and in Not{operator} of field {field}")]
    Conflict {
        /// The field.
        field: &'static str,
        /// The operator.
        operator: &'static str,
        /// The value; a long one is cut.
        value: String,
    },
    /// A basic selector that selects nothing.
    #[error("a selector without management events needs DataResources")]
    SelectsNothing,
    /// Sources excluded from management events that are not included.
    #[error("ExcludeManagementEventSources needs IncludeManagementEvents to be true")]
    ExcludesFromNothing,
    /// Both kinds of selectors, or none.
    #[error("give either EventSelectors or AdvancedEventSelectors")]
    Kinds,
    /// Basic selectors for an event data store.
    #[error("an event data store has AdvancedEventSelectors only")]
    BasicInStore,
}

impl InvalidSelectors {
    pub(crate) fn new(at: impl Into<String>, problem: Problem) -> Self {
        Self { at: at.into(), problem }
    }

    /// Where it is, e.g. `AdvancedEventSelectors[0].FieldSelectors[2].Equals[1]`; empty for the whole.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.at
    }

    /// Which rule it breaks.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// What CloudTrail's text leaves out, if it is such a text.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self.problem {
            Problem::Value { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

/// Characters of a value that messages quote.
const MAX_QUOTED: usize = 200;

pub(crate) fn value(
    at: impl Into<String>,
    field: impl Into<String>,
    value: &str,
    reason: &'static str,
) -> InvalidSelectors {
    InvalidSelectors::new(at, Problem::Value { field: field.into(), value: quoted(value), reason })
}

pub(crate) fn quoted(value: &str) -> String {
    value.chars().take(MAX_QUOTED).collect()
}

/// Checks a count against its limits.
pub(crate) fn limit(
    at: impl Into<String>,
    field: &'static str,
    unit: &'static str,
    count: usize,
    min: usize,
    max: usize,
) -> Result<(), InvalidSelectors> {
    if (min..=max).contains(&count) {
        return Ok(());
    }
    Err(InvalidSelectors::new(at, Problem::Limit { field, unit, count, min, max }))
}
