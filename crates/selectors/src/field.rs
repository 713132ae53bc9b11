//! The fields that conditions are about.

use std::str::FromStr;

use crate::event::{Event, category};

/// A field of an advanced selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// `eventCategory`.
    EventCategory,
    /// `readOnly`: the texts `true` and `false`, though a record has a boolean.
    ReadOnly,
    /// `eventSource`.
    EventSource,
    /// `eventName`.
    EventName,
    /// `eventType`.
    EventType,
    /// `resources.type`.
    ResourceType,
    /// `resources.ARN`.
    ResourceArn,
    /// `userIdentity.arn`.
    UserIdentityArn,
    /// `sessionCredentialFromConsole`.
    SessionCredentialFromConsole,
    /// `errorCode`.
    ErrorCode,
    /// `vpcEndpointId`.
    VpcEndpointId,
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 11] = [
        Self::EventCategory,
        Self::ReadOnly,
        Self::EventSource,
        Self::EventName,
        Self::EventType,
        Self::ResourceType,
        Self::ResourceArn,
        Self::UserIdentityArn,
        Self::SessionCredentialFromConsole,
        Self::ErrorCode,
        Self::VpcEndpointId,
    ];

    /// CloudTrail's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EventCategory => "eventCategory",
            Self::ReadOnly => "readOnly",
            Self::EventSource => "eventSource",
            Self::EventName => "eventName",
            Self::EventType => "eventType",
            Self::ResourceType => "resources.type",
            Self::ResourceArn => "resources.ARN",
            Self::UserIdentityArn => "userIdentity.arn",
            Self::SessionCredentialFromConsole => "sessionCredentialFromConsole",
            Self::ErrorCode => "errorCode",
            Self::VpcEndpointId => "vpcEndpointId",
        }
    }

    /// Whether it is about each resource, and not about the event.
    #[must_use]
    pub fn is_of_resource(self) -> bool {
        matches!(self, Self::ResourceType | Self::ResourceArn)
    }

    /// The event's value. A field of resources has none here.
    pub(crate) fn of<E: Event + ?Sized>(self, event: &E) -> Option<&str> {
        match self {
            Self::EventCategory => Some(category(event)),
            Self::ReadOnly => event.read_only().map(|read_only| if read_only { "true" } else { "false" }),
            Self::EventSource => event.event_source(),
            Self::EventName => event.event_name(),
            Self::EventType => event.event_type(),
            Self::ResourceType | Self::ResourceArn => None,
            Self::UserIdentityArn => event.user_identity_arn(),
            Self::SessionCredentialFromConsole => event.session_credential_from_console(),
            Self::ErrorCode => event.error_code(),
            Self::VpcEndpointId => event.vpc_endpoint_id(),
        }
    }
}

impl FromStr for Field {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|field| field.name() == name).ok_or(())
    }
}
