//! The rules of CloudTrail's selectors, by table, by oracle, and on real records.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests panic")]

mod matching;
mod oracle;
mod real;
mod rules;
