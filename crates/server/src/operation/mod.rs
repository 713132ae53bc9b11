//! The operations that this server does, a file each or for those that belong together, and how they are found.
//!
//! A new one is a file with a type that is an [`Implementation`], a line in [`Registry::new`], and a `yes` in the table.
//!
#![doc = include_str!("operations.md")]

mod create_trail;
mod delete_trail;
mod describe_organization;
mod describe_trails;
mod event_selectors;
mod get_trail;
mod get_trail_status;
mod insight_selectors;
mod list_public_keys;
mod list_trails;
mod logging;
mod lookup_events;
mod put_audit_events;
mod tags;
mod update_trail;

use std::collections::BTreeMap;
use std::pin::Pin;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sidetrail_api::{Operation, json};

use crate::Context;
use crate::access::Caller;
use crate::refusal::Refusal;

/// An operation that this server does.
pub(crate) trait Implementation: 'static {
    /// Which one.
    const OPERATION: Operation;
    /// What goes in.
    type Input: DeserializeOwned + Send;
    /// What comes out.
    type Output: Serialize + Send;

    /// Does it, for a caller who may.
    fn call(
        context: &Context,
        caller: &Caller,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, Refusal>> + Send;
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Refusal>> + Send + 'a>>;

/// An operation without its types: the body that goes in, and the one that comes out.
pub(crate) type Handler = for<'a> fn(&'a Context, &'a Caller, &'a [u8]) -> Answer<'a>;

fn handle<'a, I: Implementation>(context: &'a Context, caller: &'a Caller, body: &'a [u8]) -> Answer<'a> {
    Box::pin(async move {
        let input = json::read(body)?;
        let output = I::call(context, caller, input).await?;
        serde_json::to_vec(&output).map_err(|error| Refusal::unavailable(&error))
    })
}

/// What this server does.
#[derive(Debug)]
pub(crate) struct Registry(BTreeMap<Operation, Handler>);

impl Registry {
    pub(crate) fn new() -> Self {
        let mut registry = Self(BTreeMap::new());
        registry.add::<create_trail::CreateTrail>();
        registry.add::<delete_trail::DeleteTrail>();
        registry.add::<describe_organization::DescribeOrganization>();
        registry.add::<describe_trails::DescribeTrails>();
        registry.add::<event_selectors::GetEventSelectors>();
        registry.add::<event_selectors::PutEventSelectors>();
        registry.add::<get_trail::GetTrail>();
        registry.add::<get_trail_status::GetTrailStatus>();
        registry.add::<insight_selectors::GetInsightSelectors>();
        registry.add::<insight_selectors::PutInsightSelectors>();
        registry.add::<list_public_keys::ListPublicKeys>();
        registry.add::<list_trails::ListTrails>();
        registry.add::<lookup_events::LookupEvents>();
        registry.add::<logging::StartLogging>();
        registry.add::<logging::StopLogging>();
        registry.add::<put_audit_events::PutAuditEvents>();
        registry.add::<tags::AddTags>();
        registry.add::<tags::ListTags>();
        registry.add::<tags::RemoveTags>();
        registry.add::<update_trail::UpdateTrail>();
        registry
    }

    fn add<I: Implementation>(&mut self) {
        self.0.insert(I::OPERATION, handle::<I>);
    }

    /// How an operation is done, if it is.
    pub(crate) fn get(&self, operation: Operation) -> Option<Handler> {
        self.0.get(&operation).copied()
    }
}

/// Why an operation is not done.
pub(crate) fn reason(operation: Operation) -> &'static str {
    use Operation as O;
    match operation {
        O::CreateEventDataStore
        | O::DeleteEventDataStore
        | O::GetEventDataStore
        | O::ListEventDataStores
        | O::RestoreEventDataStore
        | O::StartEventDataStoreIngestion
        | O::StopEventDataStoreIngestion
        | O::UpdateEventDataStore
        | O::CancelQuery
        | O::DescribeQuery
        | O::GetQueryResults
        | O::ListQueries
        | O::StartQuery
        | O::GenerateQuery
        | O::SearchSampleQueries
        | O::CreateDashboard
        | O::DeleteDashboard
        | O::GetDashboard
        | O::ListDashboards
        | O::StartDashboardRefresh
        | O::UpdateDashboard => "it has no event data stores",
        O::GetImport | O::ListImportFailures | O::ListImports | O::StartImport | O::StopImport => {
            "imports go through `sidetrail send`"
        }
        O::DisableFederation | O::EnableFederation => "there is no Glue and no Lake Formation here",
        O::DeregisterOrganizationDelegatedAdmin | O::RegisterOrganizationDelegatedAdmin => {
            "accounts of an organization, and who may do what, are in its configuration"
        }
        O::DeleteResourcePolicy | O::GetResourcePolicy | O::PutResourcePolicy => {
            "who may do what is in its configuration"
        }
        O::GetEventConfiguration | O::PutEventConfiguration => {
            "records have one size, and neither context keys nor aggregation"
        }
        O::ListInsightsData | O::ListInsightsMetricData => "it keeps no insights",
        O::CreateChannel | O::DeleteChannel | O::GetChannel | O::ListChannels | O::UpdateChannel => {
            "a channel is there by being named: `PutAuditEvents` takes any of the account"
        }
        _ => "it is not done yet",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_true() {
        let registry = Registry::new();
        let rows = Operation::ALL.iter().map(|operation| match registry.get(*operation) {
            Some(_) => format!("| `{operation}` | yes | |"),
            None => format!("| `{operation}` | no | {} |", reason(*operation)),
        });
        let table = include_str!("operations.md");
        let found: Vec<_> = table.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
        assert_eq!(found, rows.collect::<Vec<_>>());
    }
}
