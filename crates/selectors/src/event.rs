//! What selectors look at of an event.

use sidetrail_record::{Json, Record};

/// An event that can be selected. What a record does not have, or has in another type, is `None`.
pub trait Event {
    /// `eventCategory`.
    fn event_category(&self) -> Option<&str>;
    /// `managementEvent`: stands in for a category in records from before there were any.
    fn management_event(&self) -> Option<bool>;
    /// `readOnly`.
    fn read_only(&self) -> Option<bool>;
    /// `eventSource`.
    fn event_source(&self) -> Option<&str>;
    /// `eventName`.
    fn event_name(&self) -> Option<&str>;
    /// `eventType`.
    fn event_type(&self) -> Option<&str>;
    /// `errorCode`.
    fn error_code(&self) -> Option<&str>;
    /// `vpcEndpointId`.
    fn vpc_endpoint_id(&self) -> Option<&str>;
    /// `userIdentity.arn`.
    fn user_identity_arn(&self) -> Option<&str>;
    /// `sessionCredentialFromConsole`.
    fn session_credential_from_console(&self) -> Option<&str>;
    /// The resource at `index`, in order and without a gap; `None` after the last.
    fn resource(&self, index: usize) -> Option<Resource<'_>>;
}

/// One of an event's resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource<'a> {
    /// `type`.
    pub kind: Option<&'a str>,
    /// `ARN`, or `ARNPrefix` where there is none.
    pub arn: Option<&'a str>,
}

/// The category of an event, also of one that does not say it.
pub fn category<E: Event + ?Sized>(event: &E) -> &str {
    if let Some(category) = event.event_category() {
        return category;
    }
    match (event.event_type(), event.management_event()) {
        (Some("AwsCloudTrailInsight"), _) => "Insight",
        (Some("AwsVpceEvent" | "AwsVpceEvents"), _) => "NetworkActivity",
        (Some("AwsAggregatedEvent"), _) => "Aggregated",
        (_, Some(false)) => "Data",
        _ => "Management",
    }
}

impl Event for Record {
    fn event_category(&self) -> Option<&str> {
        self.event_category.as_deref()
    }

    fn management_event(&self) -> Option<bool> {
        self.management_event
    }

    fn read_only(&self) -> Option<bool> {
        self.read_only
    }

    fn event_source(&self) -> Option<&str> {
        self.event_source.as_deref()
    }

    fn event_name(&self) -> Option<&str> {
        self.event_name.as_deref()
    }

    fn event_type(&self) -> Option<&str> {
        self.event_type.as_deref()
    }

    fn error_code(&self) -> Option<&str> {
        self.error_code.as_deref()
    }

    fn vpc_endpoint_id(&self) -> Option<&str> {
        self.vpc_endpoint_id.as_deref()
    }

    fn user_identity_arn(&self) -> Option<&str> {
        self.user_identity.as_ref()?.arn.as_deref()
    }

    fn session_credential_from_console(&self) -> Option<&str> {
        self.session_credential_from_console.as_deref()
    }

    fn resource(&self, index: usize) -> Option<Resource<'_>> {
        let resource = self.resources.as_ref()?.get(index)?;
        let prefix = || plain(resource.other.get("ARNPrefix")?);
        Some(Resource { kind: resource.kind.as_deref(), arn: resource.arn.as_deref().or_else(prefix) })
    }
}

/// The value of a JSON text without escapes. An ARN with one would be no ARN.
fn plain(json: &Json) -> Option<&str> {
    let text = json.as_str().strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains('\\')).then_some(text)
}
