//! What `lookup` and `tail` are told to look for.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use sidetrail_api::shape::{QueryEventsInput, Values};

use crate::client::Endpoint;
use crate::time;

/// The most events of one answer; the server's limit.
pub(crate) const MAX_PAGE: u32 = 1000;

#[derive(Debug, Args)]
pub(crate) struct Lookup {
    #[command(flatten)]
    pub(crate) endpoint: Endpoint,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Events from this time on: 2026-01-15T12:00:00+01:00, 2026-01-15, -2h.
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = time::from)]
    pub(crate) from: Option<Timestamp>,
    /// Events up to this time; a date includes its day.
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = time::to)]
    pub(crate) to: Option<Timestamp>,
    /// The most events to print, the newest; 0 means all.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: u64,
    /// Print one JSON object a line, also on a terminal.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) endpoint: Endpoint,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// The newest events to begin with.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) lines: u32,
    /// Go on with what arrives, until interrupted.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How often to ask: 1s, 250ms.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = crate::arguments::duration)]
    pub(crate) interval: Duration,
    /// Print one JSON object a line, also on a terminal.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Conditions, all of which must hold. One that is given several times holds if one of its values does; a value that ends
/// in * is a prefix.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// What was called, such as GetOrder or Delete*.
    #[arg(long, value_name = "NAME")]
    event_name: Vec<String>,
    /// The service that was called.
    #[arg(long, value_name = "NAME")]
    event_source: Vec<String>,
    /// One event.
    #[arg(long, value_name = "ID")]
    event_id: Vec<String>,
    /// The request, as its service numbered it.
    #[arg(long, value_name = "ID")]
    request_id: Vec<String>,
    /// Who called: a user, the session of a role, or a service.
    #[arg(long, value_name = "NAME")]
    username: Vec<String>,
    /// Who called, by ARN or principal id.
    #[arg(long, value_name = "ARN")]
    principal: Vec<String>,
    /// The access key that was used.
    #[arg(long, value_name = "ID")]
    access_key_id: Vec<String>,
    /// Where from: an address, a network such as 10.0.0.0/8, or a service.
    #[arg(long, value_name = "ADDR")]
    address: Vec<String>,
    /// What was touched: a name, an id or an ARN.
    #[arg(long, value_name = "NAME")]
    resource: Vec<String>,
    /// What kind of thing was touched.
    #[arg(long, value_name = "TYPE")]
    resource_type: Vec<String>,
    /// What went wrong, such as AccessDenied.
    #[arg(long, value_name = "CODE")]
    error_code: Vec<String>,
    /// Management, Data, Insight, NetworkActivity.
    #[arg(long, value_name = "NAME")]
    category: Vec<String>,
    /// Only events that only read, or with =false only those that change something.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    read_only: Option<bool>,
    /// Words in parameters or response elements, all of them; * after the last stands for any rest.
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
    /// Only events that failed.
    #[arg(long)]
    failed: bool,
    /// Regions to look in; all that the server has by default.
    #[arg(long, value_name = "NAME")]
    in_region: Vec<String>,
}

impl Filter {
    /// As the server is asked for it.
    pub(crate) fn input(&self) -> QueryEventsInput {
        let mut conditions = BTreeMap::new();
        for (field, values) in [
            ("eventName", &self.event_name),
            ("eventSource", &self.event_source),
            ("eventId", &self.event_id),
            ("requestId", &self.request_id),
            ("username", &self.username),
            ("principal", &self.principal),
            ("accessKeyId", &self.access_key_id),
            ("address", &self.address),
            ("resource", &self.resource),
            ("resourceType", &self.resource_type),
            ("errorCode", &self.error_code),
            ("category", &self.category),
        ] {
            if !values.is_empty() {
                conditions.insert(field.to_owned(), Values::Any(values.clone()));
            }
        }
        if let Some(read_only) = self.read_only {
            conditions.insert("readOnly".to_owned(), Values::One(read_only.to_string()));
        }
        QueryEventsInput {
            conditions,
            text: self.text.clone(),
            failed: self.failed,
            regions: self.in_region.clone(),
            ..QueryEventsInput::default()
        }
    }
}
