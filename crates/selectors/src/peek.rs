//! The few members of a record's text that selectors look at.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::{Event, Resource};

/// Reads what selectors look at out of a record's JSON text, and skips the rest.
///
/// It agrees with [`Record`](sidetrail_record::Record): a member of another type is as good as absent, and of a repeated
/// member the last counts. The work is one pass over the text, and a second over `userIdentity` and `resources`; texts
/// are borrowed unless they hold escapes.
///
/// ```
/// use sidetrail_selectors::{Event, Peek};
///
/// let peek: Peek<'_> = serde_json::from_str(r#"{"eventName": "GetOrder", "requestParameters": {"a": [1]}}"#)?;
/// assert_eq!(peek.event_name(), Some("GetOrder"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Peek<'a> {
    event_category: Text<'a>,
    management_event: Option<bool>,
    read_only: Option<bool>,
    event_source: Text<'a>,
    event_name: Text<'a>,
    event_type: Text<'a>,
    error_code: Text<'a>,
    vpc_endpoint_id: Text<'a>,
    user_identity_arn: Text<'a>,
    session_credential_from_console: Text<'a>,
    resources: Vec<PeekedResource<'a>>,
}

type Text<'a> = Option<Cow<'a, str>>;

#[derive(Clone, Debug, Default)]
struct PeekedResource<'a> {
    kind: Text<'a>,
    arn: Text<'a>,
    arn_prefix: Text<'a>,
}

struct Identity<'a>(Text<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Peek<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut peek = Self::default();
        members(deserializer, |key, value| match key {
            "eventCategory" => peek.event_category = text(value),
            "managementEvent" => peek.management_event = read(value),
            "readOnly" => peek.read_only = read(value),
            "eventSource" => peek.event_source = text(value),
            "eventName" => peek.event_name = text(value),
            "eventType" => peek.event_type = text(value),
            "errorCode" => peek.error_code = text(value),
            "vpcEndpointId" => peek.vpc_endpoint_id = text(value),
            "userIdentity" => peek.user_identity_arn = read(value).and_then(|Identity(arn)| arn),
            "sessionCredentialFromConsole" => peek.session_credential_from_console = text(value),
            "resources" => peek.resources = read(value).unwrap_or_default(),
            _ => {}
        })?;
        Ok(peek)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Identity<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut arn = None;
        members(deserializer, |key, value| {
            if key == "arn" {
                arn = text(value);
            }
        })?;
        Ok(Self(arn))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for PeekedResource<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut resource = Self::default();
        members(deserializer, |key, value| match key {
            "type" => resource.kind = text(value),
            "ARN" => resource.arn = text(value),
            "ARNPrefix" => resource.arn_prefix = text(value).filter(|arn| matches!(arn, Cow::Borrowed(_))),
            _ => {}
        })?;
        Ok(resource)
    }
}

/// Shows each member of an object.
fn members<'de, D: Deserializer<'de>>(
    deserializer: D,
    each: impl FnMut(&str, &'de RawValue),
) -> Result<(), D::Error> {
    struct Members<F>(F);

    impl<'de, F: FnMut(&str, &'de RawValue)> Visitor<'de> for Members<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some(Key(key)) = map.next_key()? {
                (self.0)(&key, map.next_value()?);
            }
            Ok(())
        }
    }

    deserializer.deserialize_map(Members(each))
}

fn read<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

fn text(value: &RawValue) -> Text<'_> {
    read(value).map(|Key(text)| text)
}

/// A text that is borrowed where it can be.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Reader)
    }
}

impl Event for Peek<'_> {
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
        self.user_identity_arn.as_deref()
    }

    fn session_credential_from_console(&self) -> Option<&str> {
        self.session_credential_from_console.as_deref()
    }

    fn resource(&self, index: usize) -> Option<Resource<'_>> {
        let PeekedResource { kind, arn, arn_prefix } = self.resources.get(index)?;
        Some(Resource { kind: kind.as_deref(), arn: arn.as_deref().or(arn_prefix.as_deref()) })
    }
}
