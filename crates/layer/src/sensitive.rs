//! Values that never reach a record, by their type.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sidetrail_record::redact::HIDDEN;

/// A secret: read as what it is, written as `HIDDEN_DUE_TO_SECURITY_REASONS`, by `serde` and by `Debug` and `Display`.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sidetrail::Sensitive;
///
/// #[derive(Debug, Deserialize, Serialize)]
/// struct Login {
///     user: String,
///     word: Sensitive<String>,
/// }
///
/// let login: Login = serde_json::from_str(r#"{"user": "jo", "word": "open sesame"}"#)?;
/// assert_eq!(login.word.expose(), "open sesame");
/// let hidden = "HIDDEN_DUE_TO_SECURITY_REASONS";
/// assert_eq!(serde_json::to_string(&login)?, format!(r#"{{"user":"jo","word":"{hidden}"}}"#));
/// assert!(!format!("{login:?}").contains("sesame"));
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// A type with such a field is safe to give to [`Audit::request_body`](crate::Audit::request_body). It is of no use as a
/// body that goes out: that has the mark too.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Takes a value in.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, to be used and not to be written anywhere.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value, for good.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> From<T> for Sensitive<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HIDDEN)
    }
}

impl<T> fmt::Display for Sensitive<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HIDDEN)
    }
}

impl<T> Serialize for Sensitive<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Sensitive<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

/// Writes the mark in the place of a field, for fields that cannot be a [`Sensitive`].
///
/// ```
/// #[derive(serde::Serialize)]
/// struct Login {
///     user: String,
///     #[serde(serialize_with = "sidetrail::hidden")]
///     word: String,
/// }
/// # let login = Login { user: "jo".to_owned(), word: "open sesame".to_owned() };
/// # assert!(!serde_json::to_string(&login)?.contains("sesame"));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn hidden<T: ?Sized, S: Serializer>(_: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(HIDDEN)
}
