//! The names of CloudTrail's log files, wherever they lie.
//!
//! `archive::key::LogKey` wants a whole key, from `AWSLogs/` on. Somebody may have copied a day of log files elsewhere, or
//! name a directory in the middle of an archive, so here the last part of the key decides, and a file that was gunzipped
//! counts too. Digests, Insights files, manifests and keys have other names.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// When the log file at `key` was delivered: the end of the minute in its name. Absent if it is no log file.
pub(crate) fn delivered(key: &str) -> Option<Timestamp> {
    let name = key.rsplit('/').next()?;
    let stem = name.strip_suffix(".json.gz").or_else(|| name.strip_suffix(".json"))?;
    let parts: Vec<&str> = stem.split('_').collect();
    let [account, "CloudTrail", region, minute, unique] = parts[..] else { return None };
    let named = account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !region.is_empty()
        && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !unique.is_empty()
        && unique.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !named || minute.len() != "20260115T1100Z".len() {
        return None;
    }
    let minute = DateTime::strptime("%Y%m%dT%H%MZ", minute).ok()?;
    TimeZone::UTC.to_timestamp(minute).ok()?.checked_add(1.minute()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_files_are_told_from_their_neighbours() {
        for key in [
            "AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/15/111122223333_CloudTrail_us-east-1_20260115T1100Z_a1B2c3D4e5F6g7H8.json.gz",
            "111122223333_CloudTrail_local_20260115T1100Z_x.json.gz",
            "a/111122223333_CloudTrail_us-gov-west-1_20260115T1100Z_x.json",
        ] {
            assert_eq!(delivered(key), Some("2026-01-15T11:01:00Z".parse().unwrap()), "{key}");
        }
        for key in [
            "",
            "notes.json",
            "111122223333_CloudTrail-Digest_us-east-1_trail_us-east-1_20260115T1100Z.json.gz",
            "111122223333_CloudTrail-Insight_us-east-1_20260115T1100Z_x.json.gz",
            "111122223333_Sidetrail-Manifest_us-east-1_20260115T1100Z_x.json",
            "AWSLogs/111122223333/Sidetrail-Key/00.json",
            "111122223333_CloudTrail_us-east-1_20261315T1100Z_x.json.gz",
            "111122223333_CloudTrail_us-east-1_20260115T110Z_x.json.gz",
            "111122223333_CloudTrail_us-east-1_20260115T1100Z_.json.gz",
            "x_CloudTrail_us-east-1_20260115T1100Z_x.json.gz",
            "111122223333_CloudTrail_us-east-1_20260115T1100Z_x.json.gz/other",
        ] {
            assert_eq!(delivered(key), None, "{key}");
        }
    }
}
