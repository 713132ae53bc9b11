//! Times as people write them: `2026-01-15T12:00:00+01:00`, `2026-01-15`, `-2h`.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

/// Which end of a range a time is for: a date means its first instant or its last.
#[derive(Clone, Copy, Debug)]
enum End {
    First,
    Last,
}

/// `--from`, for clap.
pub(crate) fn from(text: &str) -> Result<Timestamp, String> {
    parse(text, Timestamp::now(), End::First)
}

/// `--to`, for clap.
pub(crate) fn to(text: &str) -> Result<Timestamp, String> {
    parse(text, Timestamp::now(), End::Last)
}

/// A time range; either end may be open, both are inclusive.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Range {
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
}

impl Range {
    pub(crate) fn is_open(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    pub(crate) fn contains(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at <= to)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.from.zip(self.to).is_some_and(|(from, to)| from > to)
    }
}

fn parse(text: &str, now: Timestamp, end: End) -> Result<Timestamp, String> {
    if text == "now" {
        return Ok(now);
    }
    if text.starts_with('-') {
        // Days and longer are counted in UTC, where each has 24 hours.
        let span: Span = text.parse().map_err(|_| form("not a span of time"))?;
        let at = now.to_zoned(TimeZone::UTC).checked_add(span);
        return at.map(|at| at.timestamp()).map_err(|_| form("out of range"));
    }
    if let Ok(date) = strict_date(text) {
        let at = |date: Date| date.to_zoned(TimeZone::UTC).map(|start| start.timestamp());
        return match end {
            End::First => at(date),
            End::Last => {
                date.checked_add(1.day()).and_then(at).and_then(|next| next.checked_sub(1.nanosecond()))
            }
        }
        .map_err(|_| form("out of range"));
    }
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    // Without an offset it is UTC. What has one that was not understood must not lose it here.
    let clock = text.split_once(['T', 't', ' ']).map_or("", |(_, clock)| clock);
    if clock.is_empty() || !clock.bytes().all(|byte| byte.is_ascii_digit() || b":.".contains(&byte)) {
        return Err(form("not a time"));
    }
    let at: DateTime = text.parse().map_err(|_| form("not a time"))?;
    at.to_zoned(TimeZone::UTC).map(|at| at.timestamp()).map_err(|_| form("out of range"))
}

/// Ten characters and no more: jiff's own parser would take a time of day for a part of the date too.
fn strict_date(text: &str) -> Result<Date, jiff::Error> {
    Date::strptime("%Y-%m-%d", text)
}

fn form(what: &str) -> String {
    format!("{what}: write 2026-01-15T12:00:00+01:00, 2026-01-15 (UTC), -2h, -7d or now")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, end: End) -> Result<String, String> {
        parse(text, "2026-01-15T11:00:00Z".parse().unwrap(), end).map(|at| at.to_string())
    }

    #[test]
    fn times_dates_and_spans_are_read() {
        for (text, first) in [
            ("now", "2026-01-15T11:00:00Z"),
            ("-2h", "2026-01-15T09:00:00Z"),
            ("-1h30m", "2026-01-15T09:30:00Z"),
            ("-7d", "2026-01-08T11:00:00Z"),
            ("-1 month", "2025-12-15T11:00:00Z"),
            ("2026-01-15T12:00:00Z", "2026-01-15T12:00:00Z"),
            ("2026-01-15T12:00:00+01:00", "2026-01-15T11:00:00Z"),
            ("2026-01-15T12:00-05:30", "2026-01-15T17:30:00Z"),
            ("2026-01-15T12:00:00.25", "2026-01-15T12:00:00.25Z"),
            ("2026-01-15 12:00", "2026-01-15T12:00:00Z"),
            ("2026-01-15", "2026-01-15T00:00:00Z"),
        ] {
            assert_eq!(parsed(text, End::First).as_deref(), Ok(first), "{text}");
        }
    }

    #[test]
    fn a_date_as_the_end_includes_its_day() {
        assert_eq!(parsed("2026-01-15", End::Last).as_deref(), Ok("2026-01-15T23:59:59.999999999Z"));
        assert_eq!(parsed("2026-01-15T00:00", End::Last).as_deref(), Ok("2026-01-15T00:00:00Z"));
    }

    #[test]
    fn anything_else_is_refused_with_the_forms() {
        for text in [
            "",
            "yesterday",
            "2026-01",
            "2026-13-01",
            "15.01.2026",
            "12:00",
            "-",
            "-2parsecs",
            "2026-01-15T12:00:00+1",
            "2026-01-15T25:00",
            "-99999999y",
        ] {
            let error = parsed(text, End::First).unwrap_err();
            assert!(error.contains("-2h"), "{text}: {error}");
        }
    }

    #[test]
    fn ranges_include_both_ends() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let range = Range { from: Some(at("2026-01-15T11:00:00Z")), to: Some(at("2026-01-15T12:00:00Z")) };
        assert!(range.contains(at("2026-01-15T11:00:00Z")) && range.contains(at("2026-01-15T12:00:00Z")));
        assert!(!range.contains(at("2026-01-15T12:00:01Z")) && !range.contains(at("2026-01-15T10:59:59Z")));
        assert!(!range.is_empty() && !range.is_open() && Range::default().is_open());
        assert!(Range { from: range.to, to: range.from }.is_empty());
    }
}
