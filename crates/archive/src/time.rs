//! The one form of time in stored bytes: RFC 3339 in UTC with whole seconds, `2026-01-15T11:00:00Z`.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer, de};

/// What is below a second is cut off.
pub(crate) fn format(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Accepts exactly what [`format`] writes.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|at| format(*at) == text)
}

pub(crate) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*at))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| de::Error::custom("a time has the form YYYY-MM-DDThh:mm:ssZ"))
}

/// The same for a time that may be null.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Serializer, Timestamp, de, format, parse};

    #[expect(clippy::ref_option, reason = "the shape serde's `with` asks for")]
    pub(crate) fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => serializer.serialize_some(&format(*at)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| {
            parse(&text).ok_or_else(|| de::Error::custom("a time has the form YYYY-MM-DDThh:mm:ssZ"))
        })
        .transpose()
    }
}
