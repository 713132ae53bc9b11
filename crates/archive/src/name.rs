//! The names that keys and manifests are made of. Each is checked when it is made, so that what holds one need not.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A name breaks its rule; the message says which name and what the rule is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value:?} is not {rule}")]
pub struct InvalidName {
    field: &'static str,
    value: String,
    rule: &'static str,
}

impl InvalidName {
    /// At most this much of a refused value is repeated, in characters.
    const SHOWN: usize = 64;

    fn new(field: &'static str, value: &str, rule: &'static str) -> Self {
        Self { field, value: value.chars().take(Self::SHOWN).collect(), rule }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $field:literal, $valid:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks and takes `value`.
            ///
            /// # Errors
            #[doc = concat!("If it is not ", $rule, ".")]
            pub fn new(value: impl Into<String>) -> Result<Self, InvalidName> {
                let value = value.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&value) { Ok(Self(value)) } else { Err(InvalidName::new($field, &value, $rule)) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

name! {
    /// An account, as AWS numbers them: 12 digits.
    Account, "account", |value| value.len() == 12 && value.bytes().all(|byte| byte.is_ascii_digit()), "12 digits"
}

name! {
    /// A region: `us-east-1`, or any name of yours in the same alphabet.
    Region, "region",
    |value| {
        value.len() <= 64
            && value.starts_with(|first: char| first.is_ascii_lowercase())
            && value.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    },
    "at most 64 lowercase letters, digits and hyphens, a letter first"
}

name! {
    /// An organization of AWS Organizations, in the keys of organization trails only.
    OrgId, "organization",
    |value| {
        value.strip_prefix("o-").is_some_and(|rest| {
            (10..=32).contains(&rest.len())
                && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
    },
    "o- and 10 to 32 lowercase letters and digits"
}

name! {
    /// What precedes `AWSLogs/` in a key, without the slash between them; CloudTrail's `S3KeyPrefix`.
    Prefix, "prefix",
    |value| {
        value.len() <= 200
            && value.split('/').all(|part| !matches!(part, "" | "." | ".."))
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!_.()/-".contains(&byte))
    },
    "at most 200 letters, digits and !_.()/-, in parts that are not empty, . or .., with no slash at either end"
}

name! {
    /// A trail, as CloudTrail names them.
    Trail, "trail",
    |value| {
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        (3..=128).contains(&value.len())
            && edge(value.as_bytes().first())
            && edge(value.as_bytes().last())
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    },
    "3 to 128 letters, digits and ._-, with a letter or digit at both ends"
}

/// 16 random bytes that name a source or a collector for ever; written as a lowercase UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub [u8; 16]);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // At once: every record has one.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let digits = text.iter_mut().enumerate().filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
        let values = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for ((_, digit), value) in digits.zip(values) {
            *digit = DIGITS[usize::from(value)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits: String = text.chars().filter(|each| *each != '-').collect();
        u128::from_str_radix(&digits, 16)
            .ok()
            .map(|number| Self(number.to_be_bytes()))
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| InvalidName::new("id", text, "a lowercase UUID"))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        fn check<T: FromStr>(good: &[&str], bad: &[&str]) {
            for text in good {
                assert!(text.parse::<T>().is_ok(), "{text:?} is refused");
            }
            for text in bad {
                assert!(text.parse::<T>().is_err(), "{text:?} is accepted");
            }
        }
        check::<Account>(
            &["111122223333"],
            &["", "11112222333", "1111222233334", "11112222333a", "１11122223333"],
        );
        check::<Region>(&["us-east-1", "local"], &["", "1a", "US-EAST-1", "us_east", "a/b", &"a".repeat(65)]);
        check::<OrgId>(&["o-a1b2c3d4e5"], &["", "o-short", "a1b2c3d4e5f6", "o-A1B2C3D4E5"]);
        check::<Prefix>(
            &["audit", "a/b/c", "a.b"],
            &["", "/a", "a/", "a//b", "..", "a/../b", "a b", "é", &"a".repeat(201)],
        );
        check::<Trail>(&["default", "a.b-c_d"], &["", "ab", "-abc", "abc.", "a/b", &"a".repeat(129)]);
        check::<Id>(
            &["00112233-4455-6677-8899-aabbccddeeff"],
            &[
                "",
                "00112233445566778899aabbccddeeff",
                "00112233-4455-6677-8899-AABBCCDDEEFF",
                "+0112233-4455-6677-8899-aabbccddeeff",
            ],
        );
    }

    #[test]
    fn a_refusal_names_field_value_and_rule() {
        assert_eq!(Account::new("12").unwrap_err().to_string(), "account \"12\" is not 12 digits");
        assert!(Region::new("x".repeat(5000)).unwrap_err().to_string().len() < 200);
    }
}
