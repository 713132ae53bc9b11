//! CloudTrail's event selectors: which events a trail takes.
//!
//! ```
//! use sidetrail_record::Record;
//! use sidetrail_selectors::{Matcher, Scope, Selectors};
//!
//! let selectors: Selectors = serde_json::from_str(
//!     r#"{"AdvancedEventSelectors": [{"Name": "refunds", "FieldSelectors": [
//!         {"Field": "eventCategory", "Equals": ["Data"]},
//!         {"Field": "resources.type", "Equals": ["AWS::Orders::Order"]},
//!         {"Field": "eventName", "StartsWith": ["Refund"]}
//!     ]}]}"#,
//! )?;
//! let matcher = Matcher::new(&selectors, Scope::Trail)?;
//! let record: Record = serde_json::from_str(
//!     r#"{"eventName": "RefundOrder", "eventCategory": "Data",
//!         "resources": [{"type": "AWS::Orders::Order", "ARN": "arn:aws:orders:::order/17"}]}"#,
//! )?;
//! assert!(matcher.matches(&record));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Selectors`] are read and written in the API's own JSON, [`Matcher`] is their checked and compiled form, which
//! allocates nothing per event, and [`Selectors::explain`] says of each condition why it matched or not. An event is
//! whatever implements [`Event`]: a [`Record`](sidetrail_record::Record), or a record's text by way of [`Peek`].
//!
//! # Semantics
//!
//! An event is taken if any selector takes it. Texts are compared byte by byte; there are no wildcards.
//!
//! - **Category.** Every selector, or part of one, is about one category. A record without `eventCategory` (before
//!   eventVersion 1.07) is put into one by `managementEvent: false` or its `eventType`, else it is `Management`.
//! - **Basic.** `ReadWriteType` holds for both parts of a selector; an event that does not say `readOnly: true` counts as a
//!   write. Objects of S3 are selected by a prefix of their ARN, but a bucket without `/` selects none of its objects;
//!   functions and tables by their whole ARN; `arn:aws:s3` and its like select everything of the type.
//! - **Advanced.** Fields are AND-ed. Of a field at least one of the `Equals`, `StartsWith` and `EndsWith` values must
//!   hold, if there are any, and none of the `Not…` values. A field that the event does not have fails the former and
//!   passes the latter.
//! - **Several resources.** One of them must fit everything that is said of resources. `ARNPrefix`, which S3 writes for
//!   lists, stands in for an absent `ARN`.
//!
//! # Beyond AWS's lists
//!
//! What AWS accepts means the same here, and what AWS's rules refuse is refused. Only where AWS lists its own services,
//! there is room for those of others, which are all event sources not under `amazonaws.com`:
//!
//! - `ExcludeManagementEventSources` takes them.
//! - `eventSource` of a trail's Management selector takes them, with every operator.
//! - `DataResources` takes any type of the form `A::B::C`. A value is a prefix of the ARN, as with S3; a value of three
//!   parts, such as `arn:aws:orders`, is everything of that service and does not count towards the limit.
//! - `resources.type` takes any type of that form: AWS's own list grows by the month.

mod advanced;
mod basic;
mod condition;
mod error;
mod event;
mod explain;
mod field;
mod matcher;
mod peek;
mod texts;

use serde::{Deserialize, Serialize};

pub use advanced::{
    AdvancedEventSelector, FieldSelector, MAX_CONDITIONS, MAX_NAME, MAX_STORE_SELECTORS, MAX_VALUE,
};
pub use basic::{DataResource, EventSelector, MAX_BASIC_SELECTORS, MAX_DATA_RESOURCES, ReadWriteType};
pub use error::{InvalidSelectors, Problem};
pub use event::{Event, Resource, category};
pub use explain::{ConditionExplanation, Explanation, SelectorExplanation};
pub use field::Field;
pub use matcher::Matcher;
pub use peek::Peek;

/// What the selectors are for: it decides which fields they may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A trail.
    Trail,
    /// An event data store: advanced selectors only, with more fields and categories.
    EventDataStore,
}

/// The selectors of a trail or store: of one kind, as the API has it.
///
/// In JSON `{"EventSelectors": […]}` or `{"AdvancedEventSelectors": […]}`. Reading takes what
/// `aws cloudtrail get-event-selectors` prints, `TrailARN` included; any other member is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub enum Selectors {
    /// Basic ones.
    Basic(Vec<EventSelector>),
    /// Advanced ones.
    Advanced(Vec<AdvancedEventSelector>),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    #[serde(rename = "TrailARN", default, skip_serializing)]
    _trail_arn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_selectors: Option<Vec<EventSelector>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    advanced_event_selectors: Option<Vec<AdvancedEventSelector>>,
}

impl TryFrom<Document> for Selectors {
    type Error = InvalidSelectors;

    fn try_from(document: Document) -> Result<Self, InvalidSelectors> {
        Self::of(document.event_selectors, document.advanced_event_selectors)
    }
}

impl From<Selectors> for Document {
    fn from(selectors: Selectors) -> Self {
        let (event_selectors, advanced_event_selectors) = match selectors {
            Selectors::Basic(selectors) => (Some(selectors), None),
            Selectors::Advanced(selectors) => (None, Some(selectors)),
        };
        Self { _trail_arn: None, event_selectors, advanced_event_selectors }
    }
}

impl Selectors {
    /// One of the two kinds, where exactly one is given.
    ///
    /// # Errors
    /// If both are given, or neither.
    pub fn of(
        basic: Option<Vec<EventSelector>>,
        advanced: Option<Vec<AdvancedEventSelector>>,
    ) -> Result<Self, InvalidSelectors> {
        match (basic, advanced) {
            (Some(basic), None) => Ok(Self::Basic(basic)),
            (None, Some(advanced)) => Ok(Self::Advanced(advanced)),
            _ => Err(InvalidSelectors::new("", Problem::Kinds)),
        }
    }

    /// What a trail has that was given none by way of the API: all management events.
    #[must_use]
    pub fn of_a_new_trail() -> Self {
        Self::Basic(vec![EventSelector::default()])
    }

    /// Whether these are not what a new trail has: the API's `HasCustomEventSelectors`.
    #[must_use]
    pub fn are_custom(&self) -> bool {
        *self != Self::of_a_new_trail()
    }

    /// Checks every rule and limit.
    ///
    /// # Errors
    /// Names the member, and the rule or limit that it breaks.
    pub fn validate(&self, scope: Scope) -> Result<(), InvalidSelectors> {
        match self {
            Self::Basic(_) if scope == Scope::EventDataStore => {
                Err(InvalidSelectors::new("EventSelectors", Problem::BasicInStore))
            }
            Self::Basic(selectors) => basic::validate(selectors),
            Self::Advanced(selectors) => advanced::validate(selectors, scope),
        }
    }
}
