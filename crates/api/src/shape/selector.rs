//! Selectors of events and insights.

use serde::{Deserialize, Serialize};
use sidetrail_selectors::{AdvancedEventSelector, EventSelector};

/// Of `PutEventSelectors`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PutEventSelectorsInput {
    /// The trail's name or ARN.
    pub trail_name: Option<String>,
    /// Basic ones,
    pub event_selectors: Option<Vec<EventSelector>>,
    /// or advanced ones.
    pub advanced_event_selectors: Option<Vec<AdvancedEventSelector>>,
}

/// Of `PutEventSelectors` and `GetEventSelectors`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PutEventSelectorsOutput {
    /// The trail.
    #[serde(rename = "TrailARN")]
    pub trail_arn: String,
    /// Basic ones, if it has these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_selectors: Option<Vec<EventSelector>>,
    /// Advanced ones, if it has these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advanced_event_selectors: Option<Vec<AdvancedEventSelector>>,
}

/// Of `GetEventSelectors`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GetEventSelectorsInput {
    /// The trail's name or ARN.
    pub trail_name: Option<String>,
}

/// Of `GetEventSelectors`.
pub type GetEventSelectorsOutput = PutEventSelectorsOutput;

/// What insights are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InsightSelector {
    /// `ApiCallRateInsight` or `ApiErrorRateInsight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insight_type: Option<String>,
    /// `Management`, `Data`; management events if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_categories: Option<Vec<String>>,
}

/// Of `PutInsightSelectors`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PutInsightSelectorsInput {
    /// A trail,
    pub trail_name: Option<String>,
    /// What is looked for; nothing if it is empty.
    pub insight_selectors: Option<Vec<InsightSelector>>,
    /// or an event data store,
    pub event_data_store: Option<String>,
    /// and another for the insights.
    pub insights_destination: Option<String>,
}

/// Of `GetInsightSelectors`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GetInsightSelectorsInput {
    /// A trail,
    pub trail_name: Option<String>,
    /// or an event data store.
    pub event_data_store: Option<String>,
}

/// Of `PutInsightSelectors` and `GetInsightSelectors`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InsightSelectorsOutput {
    /// The trail.
    #[serde(rename = "TrailARN", skip_serializing_if = "Option::is_none")]
    pub trail_arn: Option<String>,
    /// What is looked for.
    pub insight_selectors: Vec<InsightSelector>,
}
