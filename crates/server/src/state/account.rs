//! The document of an account: its trails.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sidetrail_api::shape::{InsightSelector, Tag};
use sidetrail_selectors::Selectors;

/// All trails of an account, in all of their home regions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Trails {
    pub(crate) trails: Vec<StoredTrail>,
}

/// A trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StoredTrail {
    pub(crate) name: String,
    pub(crate) home_region: String,
    pub(crate) bucket: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    pub(crate) global_service_events: bool,
    pub(crate) multi_region: bool,
    pub(crate) log_file_validation: bool,
    pub(crate) organization: bool,
    pub(crate) recursive_logging: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kms_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<Topic>,
    pub(crate) selectors: Selectors,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) insights: Vec<InsightSelector>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<Tag>,
    pub(crate) created: Timestamp,
    pub(crate) logging: Logging,
}

/// The topic of a trail's notifications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Topic {
    /// As it was named: a name, or the ARN.
    pub(crate) name: String,
    pub(crate) arn: String,
    /// Since when there has been one, whichever.
    pub(crate) since: Timestamp,
}

/// Whether a trail records, and since when it does or does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Logging {
    pub(crate) on: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stopped: Option<Timestamp>,
}

impl Trails {
    /// The trail of that name and home region.
    pub(crate) fn get(&self, region: &str, name: &str) -> Option<&StoredTrail> {
        self.trails.iter().find(|trail| trail.name == name && trail.home_region == region)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, region: &str, name: &str) -> Option<&mut StoredTrail> {
        self.trails.iter_mut().find(|trail| trail.name == name && trail.home_region == region)
    }
}

impl StoredTrail {
    /// Whether it is seen in a region: it is at home there, or everywhere.
    pub(crate) fn is_in(&self, region: &str) -> bool {
        self.multi_region || self.home_region == region
    }
}
