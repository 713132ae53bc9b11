//! One macro for structs that read any JSON object and write the same value back.

/// Declares a struct whose fields are the typed members of a JSON object, in the order in which they are written.
///
/// Every field is optional: `None` is an absent member. A member that is not listed, or whose value its type cannot
/// hold, is kept as raw text in `other` and written after the typed ones. A repeated member counts once, the last wins,
/// as in `serde_json::Value`.
///
/// `pub struct Name, borrowed as NameRef { … }` declares the twin that [`borrowed`](crate::borrowed) describes, too.
macro_rules! lossless {
    (
        $(#[$meta:meta])*
        pub struct $name:ident, borrowed as $borrowed:ident { $($fields:tt)* }
    ) => {
        $crate::lossless::lossless! { $(#[$meta])* pub struct $name { $($fields)* } }
        $crate::borrowed::borrowed! { $name $borrowed { $($fields)* } }
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty = $key:literal, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: Option<$type>, )*
            /// Members without a typed field, and values that their field's type cannot hold.
            pub other: $crate::Members,
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(None)?;
                $( if let Some(value) = &self.$field { map.serialize_entry($key, value)?; } )*
                for (key, value) in self.other.iter() {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str("a JSON object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut value = $name::default();
                        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                            let text: $crate::Json = map.next_value()?;
                            value.other.remove(&key);
                            match key.as_ref() {
                                $( $key => {
                                    value.$field = serde_json::from_str(text.as_str()).ok();
                                    if value.$field.is_some() {
                                        continue;
                                    }
                                } )*
                                _ => {}
                            }
                            value.other.push(key.into_owned(), text);
                        }
                        Ok(value)
                    }
                }

                deserializer.deserialize_map(Visitor)
            }
        }
    };
}

pub(crate) use lossless;
