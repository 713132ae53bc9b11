//! What the seeds came across: a simulation in which nothing goes wrong shows nothing.

use std::collections::BTreeMap;

/// What can happen in a simulation, and must in many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    Ack,
    AnotherBuild,
    ClockBack,
    ClockForward,
    Crash,
    CrashInside,
    Full,
    HadAlready,
    Incomplete,
    LatePut,
    Refused,
    ShipFailed,
    Shipped,
    SpoolFailed,
    Stale,
    Start,
    StartFailed,
}

const ALL: [Seen; 17] = [
    Seen::Ack,
    Seen::AnotherBuild,
    Seen::ClockBack,
    Seen::ClockForward,
    Seen::Crash,
    Seen::CrashInside,
    Seen::Full,
    Seen::HadAlready,
    Seen::Incomplete,
    Seen::LatePut,
    Seen::Refused,
    Seen::ShipFailed,
    Seen::Shipped,
    Seen::SpoolFailed,
    Seen::Stale,
    Seen::Start,
    Seen::StartFailed,
];

/// How often what was seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally(BTreeMap<Seen, u64>);

impl Tally {
    pub(super) fn note(&mut self, what: Seen) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(*what).or_default() += count;
        }
    }

    /// What was never seen.
    pub(super) fn missing(&self) -> Vec<Seen> {
        ALL.into_iter().filter(|what| !self.0.contains_key(what)).collect()
    }
}
