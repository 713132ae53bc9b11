//! How far the notifications of a trail are: a document of the state, which also says which server is at it.
//!
//! ```text
//! [prefix "/"] "Sidetrail-State/" account "/notifications/" region "/" trail "/" rank ".json"
//! ```
//!
//! One server at a time sends a trail's messages: the *holder*, until it says no more for [`LEASE`]. Nothing but the number
//! of times that a message is sent depends on that, and so on clocks: what is told is changed by compare-and-swap.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::look::Place;
use super::mark::{Band, CLOCKS, Mark};

/// How long a holder that was not heard of is believed to be at it.
pub(super) const LEASE: SignedDuration = SignedDuration::from_secs(30);
/// How long a place that a trail does not deliver to any more is looked at: what was decided before still comes there.
const RETIRED: SignedDuration = SignedDuration::from_hours(1);

/// How far the notifications of a trail are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Progress {
    /// Since when the trail has had a topic: another one is another trail, or another beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holder: Option<Holder>,
    /// When the holder last said that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renewed: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) strands: Vec<Strand>,
    /// When a message last got through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delivered: Option<Timestamp>,
    /// When one was last sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempted: Option<Timestamp>,
    /// Why the last one did not get through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Holder {
    server: String,
    until: Timestamp,
}

/// One place of a trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Strand {
    pub(super) place: Place,
    pub(super) marks: BTreeMap<Band, Mark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retired: Option<Timestamp>,
}

impl Progress {
    /// Whether it is of this beginning.
    pub(crate) fn is_of(&self, since: Timestamp) -> bool {
        self.since == Some(since)
    }

    /// Takes it over for a server, if nobody else is at it.
    pub(super) fn take(&mut self, server: &str, since: Timestamp, places: &[Place], now: Timestamp) -> bool {
        if self.holder.as_ref().is_some_and(|it| it.server != server && it.until > now) {
            return false;
        }
        if !self.is_of(since) {
            *self = Self { since: Some(since), ..Self::default() };
        }
        // By when somebody was last at it, which was before now.
        self.follow(places, now);
        self.hold(server, now);
        true
    }

    /// Whether it is still this server's.
    pub(super) fn is_held_by(&self, server: &str) -> bool {
        self.holder.as_ref().is_some_and(|it| it.server == server)
    }

    pub(super) fn hold(&mut self, server: &str, now: Timestamp) {
        let until = now.saturating_add(LEASE).unwrap_or(now);
        self.holder = Some(Holder { server: server.to_owned(), until });
        self.renewed = Some(now);
    }

    pub(super) fn release(&mut self) {
        self.holder = None;
    }

    /// The places are these from now on. What came to a new one since somebody was last at it is told.
    pub(super) fn follow(&mut self, places: &[Place], now: Timestamp) {
        let seen = self.renewed.and_then(|at| at.saturating_sub(CLOCKS).ok());
        let since = self.since.unwrap_or(now);
        // Before the first look nobody was at anything.
        let from = if self.strands.is_empty() { since } else { seen.map_or(since, |seen| seen.max(since)) };
        for strand in &mut self.strands {
            strand.retired = (!places.contains(&strand.place)).then(|| strand.retired.unwrap_or(now));
        }
        self.strands.retain(|strand| strand.retired.is_none_or(|at| now.duration_since(at) < RETIRED));
        for place in places {
            if self.strands.iter().all(|strand| strand.place != *place) {
                let marks = Band::ALL.map(|band| (band, Mark::new(from))).into();
                self.strands.push(Strand { place: place.clone(), marks, retired: None });
            }
        }
    }

    /// A message was sent.
    pub(super) fn attempt(&mut self, sent: &Result<(), Failure>, now: Timestamp) {
        self.attempted = Some(now);
        match sent {
            Ok(()) => (self.delivered, self.error) = (Some(now), None),
            Err(failure) => self.error = Some(failure.code().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use sidetrail_archive::key::{Account, Region};

    use super::super::look::Kind;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_768_471_200 + second).unwrap()
    }

    fn place(bucket: &str) -> Place {
        Place {
            kind: Kind::Log,
            bucket: bucket.to_owned(),
            prefix: None,
            organization: None,
            account: Account::new("111122223333").unwrap(),
            region: Region::new("r-1").unwrap(),
        }
    }

    #[test]
    fn one_server_is_at_it() {
        let mut progress = Progress::default();
        assert!(progress.take("one", at(0), &[], at(1)));
        assert!(!progress.take("other", at(0), &[], at(2)) && progress.take("one", at(0), &[], at(3)));
        assert!(progress.take("other", at(0), &[], at(33)));
        assert!(!progress.is_held_by("one"));
        progress.release();
        assert!(progress.take("one", at(0), &[], at(34)));
    }

    #[test]
    fn another_beginning_begins_anew() {
        let mut progress = Progress::default();
        progress.take("one", at(0), &[place("a")], at(1));
        progress.attempt(&Err(Failure::Status(503)), at(2));
        progress.take("one", at(0), &[place("a")], at(3));
        assert_eq!((progress.strands.len(), progress.error.as_deref()), (1, Some("InternalError")));
        progress.take("one", at(4), &[], at(5));
        assert_eq!((progress.strands.len(), progress.error, progress.delivered), (0, None, None));
    }

    #[test]
    fn a_trail_that_moves_is_looked_at_in_both_places() {
        let mut progress = Progress::default();
        progress.take("one", at(0), &[place("a")], at(1));
        assert_eq!(progress.strands[0].marks[&Band::Near], Mark::new(at(0)));
        progress.hold("one", at(7200));
        // Nobody was at it for an hour, in which the trail may have moved.
        let moved = 7200 + 3600;
        progress.take("one", at(0), &[place("b")], at(moved));
        assert_eq!(progress.strands.len(), 2);
        assert_eq!(progress.strands[1].marks[&Band::Far], Mark::new(at(7200 - 900)));
        progress.follow(&[place("b")], at(moved + 3599));
        assert_eq!(progress.strands.len(), 2);
        progress.follow(&[place("b")], at(moved + 3600));
        assert_eq!(progress.strands.iter().map(|it| &it.place.bucket).collect::<Vec<_>>(), ["b"]);
    }
}
