//! Sidetrail's own questions about collectors and about who asks: `POST` to a path each, signed as CloudTrail's operations
//! are.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where collectors are asked for.
pub const COLLECTORS_PATH: &str = "/sidetrail/v1/collectors";
/// Where it is asked who asks.
pub const WHO_AM_I_PATH: &str = "/sidetrail/v1/whoami";

/// Which collectors.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CollectorsInput {
    /// Those of all regions that are served, and not only of the one that the request is signed for.
    pub all_regions: bool,
}

/// The collectors of an account, by region and host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectorsOutput {
    /// They.
    pub collectors: Vec<Collector>,
}

/// How a collector stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It is in touch.
    Connected,
    /// It said goodbye.
    Ended,
    /// It is gone and did not say goodbye.
    Silent,
}

/// A collector, as a server last heard of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collector {
    /// Its id.
    pub id: String,
    /// The account and region that it records for.
    pub account: String,
    /// The region.
    pub region: String,
    /// The name of its host.
    pub host: String,
    /// The pod that it runs in, where Kubernetes vouches for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// Its build.
    pub version: String,
    /// Whether it is in touch.
    pub standing: Standing,
    /// When it started.
    pub started: Timestamp,
    /// When it first came to any server.
    pub registered: Timestamp,
    /// When it was last heard of.
    pub seen: Timestamp,
    /// How it was then.
    pub state: CollectorState,
}

/// A pod, as Kubernetes knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// The ServiceAccount that it runs as.
    pub service_account: String,
    /// Its name.
    pub pod: String,
    /// Its uid: names come again.
    pub uid: String,
    /// The node that it runs on, where the cluster tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// What a collector says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectorState {
    /// Events that it has accepted, ever.
    pub accepted: u64,
    /// Of these, those without a record.
    pub dropped: u64,
    /// Events that it accepted in each of the last minutes, the newest first, the one that has begun included.
    pub per_minute: Vec<u64>,
    /// Bytes of its spool, and what they may be.
    pub spool_bytes: u64,
    /// What they may be.
    pub spool_budget: u64,
    /// It takes nothing now.
    pub full: bool,
    /// Sources that are connected to it.
    pub streams: u64,
    /// Its trails.
    pub trails: Vec<CollectorTrail>,
    /// Whether it takes its trails from the server.
    pub takes_trails: bool,
    /// Whether it goes by what the server says.
    pub up_to_date: bool,
    /// Why not, if it says so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub problem: String,
    /// Sources that went without a goodbye: the newest.
    pub silent_sources: Vec<SilentSource>,
    /// How many there are.
    pub silent_count: u64,
}

/// A trail that a collector fills.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectorTrail {
    /// Its name.
    pub name: String,
    /// Events that are in the store.
    pub shipped: u64,
    /// Events that are not.
    pub queued: u64,
    /// For how long the oldest of these waits, milliseconds.
    pub lag_ms: u64,
    /// When something was last stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_shipped: Option<Timestamp>,
    /// Why the last attempt failed, in a word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub failing: String,
}

/// A source that is gone and did not say goodbye.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilentSource {
    /// Its id.
    pub source: String,
    /// Its service; empty where the collector does not know any more.
    pub service: String,
    /// Its instance.
    pub instance: String,
    /// Since when.
    pub since: Timestamp,
    /// Up to which number its events are on disk.
    pub last_sequence: u64,
    /// How many it said that it had beyond that.
    pub missing: u64,
}

/// Who asks: nothing goes in.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhoAmIInput {}

/// Who asks, as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmIOutput {
    /// The account.
    pub account: String,
    /// The user.
    pub arn: String,
    /// The access key.
    pub access_key: String,
    /// What it may do: `admin`, `trail_manager`, `auditor`, `writer`.
    pub role: String,
    /// The region that the request is signed for.
    pub region: String,
    /// All regions that are served.
    pub regions: Vec<String>,
    /// The server's build.
    pub server: String,
}
