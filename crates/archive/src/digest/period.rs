//! The periods that digests are about: aligned to the epoch, so that every writer makes the same ones.

use jiff::{SignedDuration, Timestamp};

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence(i64);

/// The time is not one that periods can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cadence is 1 minute to 1 day, in whole minutes that a day is a multiple of")]
pub struct InvalidCadence;

/// One period: what was delivered at its start or later, and before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Its first instant: the end of the digest before.
    pub start: Timestamp,
    /// The first instant after it; part of the digest's name.
    pub end: Timestamp,
}

const DAY_S: i64 = 86_400;

/// Every digest of so many says where all chains stand.
const SNAPSHOT_EVERY: i64 = 24;

impl Cadence {
    /// CloudTrail's.
    pub const HOURLY: Self = Self(3600);

    /// A cadence of `length`.
    ///
    /// # Errors
    /// If it is not 1 minute to 1 day in whole minutes, or days are not a whole number of it.
    pub fn new(length: SignedDuration) -> Result<Self, InvalidCadence> {
        let seconds = length.as_secs();
        let whole = length.subsec_nanos() == 0 && seconds % 60 == 0;
        if whole && (60..=DAY_S).contains(&seconds) && DAY_S % seconds == 0 {
            Ok(Self(seconds))
        } else {
            Err(InvalidCadence)
        }
    }

    /// Its length.
    #[must_use]
    pub fn length(self) -> SignedDuration {
        SignedDuration::from_secs(self.0)
    }

    /// The last period that has ended at `now`.
    #[must_use]
    pub fn last_ended(self, now: Timestamp) -> Period {
        let end = now.as_second().div_euclid(self.0) * self.0;
        Period { start: second(end - self.0), end: second(end) }
    }

    /// The period that goes on from `start`, up to the next multiple of the cadence: shorter than one where the cadence was
    /// another before.
    #[must_use]
    pub fn from(self, start: Timestamp) -> Period {
        Period { start, end: second((start.as_second().div_euclid(self.0) + 1) * self.0) }
    }

    /// Whether the digest that ends at `end` says where all chains stand.
    #[must_use]
    pub fn has_heads(self, end: Timestamp) -> bool {
        end.as_second().div_euclid(self.0) % SNAPSHOT_EVERY == 0
    }
}

fn second(second: i64) -> Timestamp {
    let clamped = second.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(clamped).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn periods_are_aligned_and_follow_each_other() {
        let hourly = Cadence::HOURLY;
        let period = hourly.last_ended(at("2026-01-15T11:59:59Z"));
        assert_eq!(period, Period { start: at("2026-01-15T10:00:00Z"), end: at("2026-01-15T11:00:00Z") });
        assert_eq!(hourly.last_ended(at("2026-01-15T11:00:00Z")), period);
        assert_eq!(hourly.from(period.end).end, at("2026-01-15T12:00:00Z"));

        // From an hourly chain to one of six hours: the first period is what is left to the next multiple.
        let six = Cadence::new(SignedDuration::from_hours(6)).unwrap();
        let next = six.from(at("2026-01-15T10:00:00Z"));
        assert_eq!((next.start, next.end), (at("2026-01-15T10:00:00Z"), at("2026-01-15T12:00:00Z")));
        assert_eq!((0..48).filter(|hour| hourly.has_heads(second(hour * 3600))).count(), 2);
    }

    #[test]
    fn a_cadence_divides_the_day() {
        for minutes in [1, 5, 15, 60, 720, 1440] {
            assert!(Cadence::new(SignedDuration::from_mins(minutes)).is_ok(), "{minutes}");
        }
        for seconds in [0, 30, 90, 7 * 60, 2 * DAY_S, -60] {
            assert_eq!(Cadence::new(SignedDuration::from_secs(seconds)), Err(InvalidCadence), "{seconds}");
        }
        assert!(Cadence::new(SignedDuration::new(60, 1)).is_err());
    }
}
