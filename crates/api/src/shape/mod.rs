//! What goes in and comes out, in the API's own spelling.
//!
//! Members of inputs are all optional: what is required, and what else must hold, an operation says in its own words.
//! Members that are not known are passed over, as AWS does.

mod audit;
mod control;
mod key;
mod lookup;
mod organization;
mod query;
mod selector;
mod status;
mod tag;
mod trail;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use audit::{AuditEvent, PutAuditEventsInput, PutAuditEventsOutput, ResultEntry, ResultErrorEntry};
pub use control::{
    COLLECTORS_PATH, Collector, CollectorState, CollectorTrail, CollectorsInput, CollectorsOutput,
    SilentSource, Standing, WHO_AM_I_PATH, WhoAmIInput, WhoAmIOutput, Workload,
};
pub use key::{ListPublicKeysInput, ListPublicKeysOutput, PublicKey};
pub use lookup::{LookupAttribute, LookupEvent, LookupEventsInput, LookupEventsOutput, LookupResource};
pub use organization::{DescribeOrganizationInput, DescribeOrganizationOutput, Organization};
pub use query::{QUERY_EVENTS_PATH, QueriedEvent, QueryEventsInput, QueryEventsOutput, Values};
pub use selector::{
    GetEventSelectorsInput, GetEventSelectorsOutput, GetInsightSelectorsInput, InsightSelector,
    InsightSelectorsOutput, PutEventSelectorsInput, PutEventSelectorsOutput, PutInsightSelectorsInput,
};
pub use status::{GetTrailStatusInput, GetTrailStatusOutput};
pub use tag::{AddTagsInput, ListTagsInput, ListTagsOutput, RemoveTagsInput, ResourceTag, Tag};
pub use trail::{
    CreateTrailInput, CreateTrailOutput, DescribeTrailsInput, DescribeTrailsOutput, GetTrailInput,
    GetTrailOutput, ListTrailsInput, ListTrailsOutput, NamedTrailInput, Trail, TrailInfo, UpdateTrailInput,
};

/// The output of an operation that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A time: a number on the wire, seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub Timestamp);

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_nanosecond() {
            0 => serializer.serialize_i64(self.0.as_second()),
            // To the millisecond, which a double has room for.
            _ => serializer.serialize_f64(self.0.as_millisecond() as f64 / 1000.0),
        }
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        let millis = (seconds * 1000.0).round();
        // What is beyond the years that there are is cut to them, and NaN there is none in JSON.
        Timestamp::from_millisecond(millis as i64)
            .map(Self)
            .map_err(|_| de::Error::custom("a time is seconds since the epoch, in the years up to 9999"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers() {
        for (text, json) in [
            ("2026-01-15T11:05:00Z", "1768475100"),
            ("2026-01-15T11:05:00.25Z", "1768475100.25"),
            ("1970-01-01T00:00:00Z", "0"),
            ("1969-12-31T23:59:59Z", "-1"),
        ] {
            let time = Epoch(text.parse().unwrap());
            assert_eq!(serde_json::to_string(&time).unwrap(), json);
            assert_eq!(serde_json::from_str::<Epoch>(json).unwrap(), time);
        }
        assert!(serde_json::from_str::<Epoch>("\"2026-01-15T11:05:00Z\"").is_err());
        assert!(serde_json::from_str::<Epoch>("1e300").is_err());
    }
}
