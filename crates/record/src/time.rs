//! `eventTime`: UTC, whole seconds, one fixed layout.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment as CloudTrail writes it: exactly `YYYY-MM-DDThh:mm:ssZ`, years 0000 to 9999.
///
/// Readers such as AWS's own processing library parse that fixed pattern, so there are no fractions and no offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(jiff::Timestamp);

impl EventTime {
    /// From seconds since the Unix epoch. `None` outside the years 0000 to 9999.
    #[must_use]
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        // 0000-01-01T00:00:00Z: before it jiff would print a signed six-digit year.
        const MIN: i64 = -62_167_219_200;
        let time = jiff::Timestamp::from_second(seconds).ok()?;
        (seconds >= MIN).then_some(Self(time))
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }

    /// What it is shown as, made at once: every record has one.
    pub(crate) fn text(self) -> [u8; 20] {
        let time = jiff::tz::Offset::UTC.to_datetime(self.0);
        let mut text = *b"0000-00-00T00:00:00Z";
        let year = time.year().unsigned_abs();
        let (century, year) = ((year / 100) as u8, (year % 100) as u8);
        let parts = [
            (0, century),
            (2, year),
            (5, time.month().unsigned_abs()),
            (8, time.day().unsigned_abs()),
            (11, time.hour().unsigned_abs()),
            (14, time.minute().unsigned_abs()),
            (17, time.second().unsigned_abs()),
        ];
        for (at, part) in parts {
            text[at] += part / 10;
            text[at + 1] += part % 10;
        }
        text
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The text is not `YYYY-MM-DDThh:mm:ssZ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseEventTimeError;

impl fmt::Display for ParseEventTimeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("time is not of the form YYYY-MM-DDThh:mm:ssZ")
    }
}

impl std::error::Error for ParseEventTimeError {}

impl FromStr for EventTime {
    type Err = ParseEventTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.len() == 20
            && text.bytes().zip(*b"0000-00-00T00:00:00Z").all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                form => byte == form,
            });
        let time: jiff::Timestamp = text.parse().ok().filter(|_| fits).ok_or(ParseEventTimeError)?;
        // A leap second would read as the second before it.
        if text.as_bytes()[17..19] == *b"60" {
            return Err(ParseEventTimeError);
        }
        Ok(Self(time))
    }
}

impl Serialize for EventTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::EventTime;

    proptest! {
        #[test]
        fn writes_what_it_reads(seconds in -62_167_219_200_i64..=253_402_207_200) {
            let time = EventTime::from_unix_seconds(seconds).unwrap();
            let text = time.to_string();
            prop_assert_eq!(text.len(), 20);
            prop_assert_eq!(text.as_bytes(), time.text());
            prop_assert_eq!(text.parse::<EventTime>().unwrap(), time);
            prop_assert_eq!(time.unix_seconds(), seconds);
        }
    }

    #[test]
    fn other_layouts_are_refused() {
        for text in [
            "2026-01-15T10:41:17.5Z",
            "2026-01-15T10:41:17+00:00",
            "2026-01-15 10:41:17Z",
            "2026-02-30T10:41:17Z",
            "2026-06-30T23:59:60Z",
            "redacted",
            "",
        ] {
            assert!(text.parse::<EventTime>().is_err(), "{text}");
        }
    }
}
