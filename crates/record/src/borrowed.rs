//! Records that are only to be written: what they say belongs to somebody else, and stays where it is.

use std::borrow::Cow;

use serde::Serialize;

use crate::{
    Addendum, EventTime, InScopeOf, Json, OnBehalfOf, Resource, ResourceRef, SessionContext, TlsDetails,
    UserIdentity, UserIdentityRef,
};

/// Declares the borrowed twin of a struct of [`lossless`](crate::lossless), from the same list of members.
macro_rules! borrowed {
    (
        $name:ident $borrowed:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty = $key:literal, )*
        }
    ) => {
        #[doc = concat!("A [`", stringify!($name), "`] that borrows what it says. It has typed members only.")]
        #[derive(Clone, Debug, Default)]
        pub struct $borrowed<'a> {
            $( $(#[$field_meta])* pub $field: Option<<$type as $crate::borrowed::Member>::Ref<'a>>, )*
        }

        impl $borrowed<'_> {
            /// Appends the JSON text: byte for byte what serde_json makes of the owned twin.
            pub fn write(&self, out: &mut Vec<u8>) {
                let start = out.len();
                $( if let Some(value) = &self.$field {
                    out.extend_from_slice(concat!(",\"", $key, "\":").as_bytes());
                    $crate::borrowed::Text::write(value, out);
                } )*
                // Each member came with a comma, the first of them in vain.
                match out.get_mut(start) {
                    Some(comma) => *comma = b'{',
                    None => out.push(b'{'),
                }
                out.push(b'}');
            }
        }

        impl $crate::borrowed::Text for $borrowed<'_> {
            fn write(&self, out: &mut Vec<u8>) {
                Self::write(self, out);
            }
        }
    };
}

pub(crate) use borrowed;

/// The value of a member.
pub trait Member {
    /// What stands for it where it is only to be written.
    type Ref<'a>: Text;
}

/// What has a JSON text.
pub trait Text {
    /// Appends it.
    fn write(&self, out: &mut Vec<u8>);
}

/// A JSON value as text that belongs to somebody else.
#[derive(Clone, Debug)]
pub struct JsonRef<'a>(Cow<'a, str>);

impl<'a> JsonRef<'a> {
    /// The value `null`.
    pub const NULL: Self = Self(Cow::Borrowed("null"));

    /// Checks that `text` is exactly one JSON value and refers to it, surrounding white space aside.
    pub fn parse(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice::<&serde_json::value::RawValue>(text).map(|value| Self(value.get().into()))
    }

    /// Refers to a text that the caller has made, or checked, as [`Json::from_trusted`] keeps one.
    #[must_use]
    pub fn from_trusted(text: impl Into<Cow<'a, str>>) -> Self {
        let text = text.into();
        debug_assert!(
            serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok(),
            "not one JSON value"
        );
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Length of the text in bytes: what CloudTrail's limits count.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

impl Member for String {
    type Ref<'a> = Cow<'a, str>;
}

impl Text for Cow<'_, str> {
    fn write(&self, out: &mut Vec<u8>) {
        // Without a way out of the loop it is done sixteen bytes at a time, and next to no text has anything to escape.
        let escapes = |any, &byte: &u8| any | (byte < b' ') | (byte == b'"') | (byte == b'\\');
        if self.as_bytes().iter().fold(false, escapes) {
            serialize(self, out);
        } else {
            out.push(b'"');
            out.extend_from_slice(self.as_bytes());
            out.push(b'"');
        }
    }
}

impl Member for bool {
    type Ref<'a> = Self;
}

impl Text for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

impl Member for Json {
    type Ref<'a> = JsonRef<'a>;
}

impl Text for JsonRef<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

impl Member for EventTime {
    type Ref<'a> = Self;
}

impl Text for EventTime {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(&self.text());
        out.push(b'"');
    }
}

impl Member for UserIdentity {
    type Ref<'a> = UserIdentityRef<'a>;
}

impl Member for Vec<Resource> {
    type Ref<'a> = Vec<ResourceRef<'a>>;
}

impl Text for Vec<ResourceRef<'_>> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, resource) in self.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            resource.write(out);
        }
        out.push(b']');
    }
}

/// Few records have these, and they are parsed anyway: to be put into CloudTrail's order.
macro_rules! parsed {
    ($($type:ty),*) => {
        $( impl Member for $type {
            type Ref<'a> = Box<Self>;
        }

        impl Text for Box<$type> {
            fn write(&self, out: &mut Vec<u8>) {
                serialize(self, out);
            }
        } )*
    };
}

parsed!(SessionContext, OnBehalfOf, InScopeOf, TlsDetails, Addendum);

fn serialize(value: &impl Serialize, out: &mut Vec<u8>) {
    // Writing to memory does not fail, and every part of a record serialises.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "a part of a record does not serialise");
}
