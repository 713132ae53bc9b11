//! How far one kind of object in one place is through.
//!
//! Objects are told of in the order in which the *store* took them, by its own time, since a store that was away takes in
//! late what was named before. Names say when something was decided, and listings go by names; so what came how late is
//! looked for how far back, and how often, in bands: an object is in one of them by its name and its time, which both never
//! change.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Times of a store that is several machines may go back by so much.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// How far the store's clock may be from this one. Requests that are signed need both within five to fifteen minutes.
pub(super) const CLOCKS: SignedDuration = SignedDuration::from_mins(15);
/// Names that are remembered; of those that came in at nearly the same time more may be told twice after a restart.
const MAX_RECENT: usize = 4096;

/// How late an object may come after what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Band {
    /// Up to ten minutes.
    Near,
    /// Up to a day.
    Day,
    /// Up to thirty days. What is later still is not told.
    Far,
}

impl Band {
    pub(super) const ALL: [Self; 3] = [Self::Near, Self::Day, Self::Far];

    /// The band of an object.
    pub(super) fn of(named: Timestamp, stored: Timestamp) -> Self {
        let late = stored.duration_since(named);
        Self::ALL.into_iter().find(|band| late <= band.lateness()).unwrap_or(Self::Far)
    }

    fn lateness(self) -> SignedDuration {
        match self {
            Self::Near => SignedDuration::from_mins(10),
            Self::Day => SignedDuration::from_hours(24),
            Self::Far => SignedDuration::from_hours(30 * 24),
        }
    }

    /// How often it is looked at, beside the nearest one.
    pub(super) fn every(self) -> std::time::Duration {
        std::time::Duration::from_secs(match self {
            Self::Near => 0,
            Self::Day => 60,
            Self::Far => 3600,
        })
    }
}

/// How far a band is through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Mark {
    /// All that the store took before this was told, but for what may still come with an older time.
    through: Timestamp,
    /// What was told of the time just before `through`, and after: names, and milliseconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    recent: BTreeMap<String, i64>,
}

impl Mark {
    /// Nothing that was taken before that time is told.
    pub(super) fn new(from: Timestamp) -> Self {
        Self { through: from, recent: BTreeMap::new() }
    }

    /// Names from when on are to be listed.
    pub(super) fn listed_from(&self, band: Band) -> Timestamp {
        // A minute more: names are whole minutes.
        let back = SKEW + band.lateness() + SignedDuration::from_mins(1);
        self.through.saturating_sub(back).unwrap_or(self.through)
    }

    /// Whether an object is to be told.
    pub(super) fn wants(&self, name: &str, stored: Timestamp) -> bool {
        stored > before(self.through, SKEW) && !self.recent.contains_key(name)
    }

    /// An object was told.
    pub(super) fn told(&mut self, name: String, stored: Timestamp) {
        self.recent.insert(name, stored.as_millisecond());
    }

    /// All that came up to that time was told.
    pub(super) fn advance(&mut self, to: Timestamp) {
        self.through = self.through.max(to);
        let oldest = before(self.through, SKEW).as_millisecond();
        self.recent.retain(|_, stored| *stored > oldest);
        while self.recent.len() > MAX_RECENT {
            let Some(first) = self.recent.iter().min_by_key(|(_, stored)| **stored) else { return };
            let first = first.0.clone();
            self.recent.remove(&first);
        }
    }
}

fn before(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_sub(by).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_768_471_200 + second).unwrap()
    }

    #[test]
    fn each_object_is_told_once_whatever_comes_between() {
        let mut mark = Mark::new(at(0));
        assert!(!mark.wants("old", at(-61)) && mark.wants("a", at(5)));
        mark.told("a".to_owned(), at(5));
        mark.advance(at(5));
        assert!(!mark.wants("a", at(5)));
        // Of the same moment, or a little older: the store's machines disagree.
        assert!(mark.wants("b", at(5)) && mark.wants("c", at(-30)));
        mark.advance(at(300));
        assert!(mark.recent.is_empty());
        assert!(!mark.wants("a", at(5)) && !mark.wants("b", at(5)));
        mark.advance(at(200));
        assert_eq!(mark.through, at(300));
    }

    #[test]
    fn a_band_is_looked_for_far_enough_back() {
        for late in [-600, 0, 600, 601, 86_400, 86_401, 30 * 86_400] {
            let (named, stored) = (at(0), at(late));
            let band = Band::of(named, stored);
            // The last moment at which it is still wanted.
            let mark = Mark::new(stored.saturating_add(SKEW).unwrap());
            assert!(mark.listed_from(band) < named, "{late} {band:?}");
        }
        assert_eq!(Band::of(at(0), at(600)), Band::Near);
        assert_eq!(Band::of(at(0), at(601)), Band::Day);
        assert_eq!(Band::of(at(0), at(86_401)), Band::Far);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut mark = Mark::new(at(0));
        for number in 0..MAX_RECENT + 10 {
            mark.told(format!("{number:05}"), at(if number < 10 { 1 } else { 2 }));
        }
        mark.advance(at(2));
        assert_eq!(mark.recent.len(), MAX_RECENT);
        assert!(mark.wants("00003", at(1)) && !mark.wants("00012", at(2)));
    }
}
