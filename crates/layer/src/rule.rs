//! What one route does differently from the rest.

mod capture;

pub(crate) use capture::Capture;

use crate::Level;

/// What one route does differently from the rest: see [`Builder::route`](crate::Builder::route).
///
/// ```
/// use sidetrail::{Level, Rule};
///
/// let rule = Rule::new().name("RefundOrder").level(Level::Metadata);
/// let search = Rule::new().name("SearchOrders").read_only(true);
/// # let _ = (rule, search);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub(crate) name: Option<String>,
    pub(crate) level: Option<Level>,
    pub(crate) read_only: Option<bool>,
    pub(crate) capture: Capture,
}

impl Rule {
    /// Nothing different yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The `eventName`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How much is recorded.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// Whether calls change nothing, where the method does not tell: a search by POST, say.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = Some(read_only);
        self
    }
}
