//! Evidence lies in a folder for each day: which of them a listing from some time on has to see.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Up to so many days are listed day by day; more in one go, from the first on.
const MAX_DAYS: i32 = 4;

/// Folders to list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Days {
    /// The folder of the first day.
    pub(crate) first: String,
    /// The folders to list, or the one above them.
    pub(crate) prefixes: Vec<String>,
}

impl Days {
    /// Those below `folder` from the day of `from` to that of `now`, and one more: a collector's clock may be ahead.
    pub(crate) fn of(folder: &str, from: Timestamp, now: Timestamp) -> Self {
        let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
        let path = |date: Date| format!("{folder}/{}", date.strftime("%Y/%m/%d"));
        let (first, last) = (day(from), day(now).saturating_add(1.day()));
        let days = (last - first).get_days();
        let prefixes = if days < MAX_DAYS {
            (0..=days).map(|after| path(first.saturating_add(after.days()))).collect()
        } else {
            vec![folder.to_owned()]
        };
        Self { first: path(first), prefixes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_days_are_listed_one_by_one() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let few = Days::of("a", at("2025-12-31T23:59:00Z"), at("2026-01-01T00:01:00Z"));
        assert_eq!(few.first, "a/2025/12/31");
        assert_eq!(few.prefixes, ["a/2025/12/31", "a/2026/01/01", "a/2026/01/02"]);
        let many = Days::of("a", at("2025-12-31T23:59:00Z"), at("2026-01-03T00:00:00Z"));
        assert_eq!((many.first.as_str(), many.prefixes), ("a/2025/12/31", vec!["a".to_owned()]));
    }
}
