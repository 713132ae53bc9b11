//! The faults, and chance from a seed.

use std::fmt;
use std::time::Duration;

use sidetrail_tests::proxy::{Aim, Fate};

/// `SplitMix64`.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.any() % end
    }

    pub(super) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from + 1))
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// What happens in a round.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// kill -9 of the collector.
    KillCollector,
    /// Two of these, the second while it starts.
    KillCollectorTwice,
    /// SIGTERM, with the drain that goes with it.
    StopCollector,
    /// SIGSTOP, and SIGCONT after this time.
    FreezeCollector(Duration),
    /// kill -9 of the store, which is away for this time.
    KillStore(Duration),
    /// An orderly end of the store and a start.
    RestartStore,
    /// The store takes connections and says nothing.
    FreezeStore(Duration),
    /// This becomes of one request in so many of those, for this time.
    Network(Fate, Aim, u64, Duration),
    /// The same, and the collector is killed in the midst of it.
    NetworkAndKill(Fate, Aim, u64, Duration),
    /// No byte is left for this time.
    FillDisk(Duration),
    /// The same, and the collector is killed in the midst of it.
    FillDiskAndKill(Duration),
    /// A sender loses its connection, comes back, and sends some again.
    ReconnectSender,
    /// A sender is gone for good, and a new one comes.
    ReplaceSender,
    /// Nothing, for once.
    Calm(Duration),
}

impl Fault {
    pub(super) fn draw(random: &mut Random, can_fill: bool) -> Self {
        loop {
            let time = random.millis(200, 900);
            // The client's own tries take a second.
            let long = random.millis(300, 2_500);
            let fault = match random.below(22) {
                0..=2 => Self::KillCollector,
                3 => Self::KillCollectorTwice,
                4 => Self::StopCollector,
                5 => Self::FreezeCollector(time),
                6 => Self::KillStore(time),
                7 => Self::RestartStore,
                8 => Self::FreezeStore(time),
                9..=13 => Self::Network(fate(random), aim(random), random.pick(&[1, 1, 1, 2]), long),
                14 | 15 => Self::NetworkAndKill(fate(random), aim(random), random.pick(&[1, 2]), long),
                16 => Self::FillDisk(time),
                17 => Self::FillDiskAndKill(time),
                18 | 19 => Self::ReconnectSender,
                20 => Self::ReplaceSender,
                _ => Self::Calm(time),
            };
            if can_fill || !matches!(fault, Self::FillDisk(_) | Self::FillDiskAndKill(_)) {
                return fault;
            }
        }
    }

    /// The kind, as it is counted.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::KillCollector => "kill_collector",
            Self::KillCollectorTwice => "kill_collector_twice",
            Self::StopCollector => "stop_collector",
            Self::FreezeCollector(_) => "freeze_collector",
            Self::KillStore(_) => "kill_store",
            Self::RestartStore => "restart_store",
            Self::FreezeStore(_) => "freeze_store",
            Self::Network(fate, ..) => network(fate),
            Self::NetworkAndKill(..) => "network_and_kill",
            Self::FillDisk(_) => "fill_disk",
            Self::FillDiskAndKill(_) => "fill_disk_and_kill",
            Self::ReconnectSender => "reconnect_sender",
            Self::ReplaceSender => "replace_sender",
            Self::Calm(_) => "calm",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

fn network(fate: Fate) -> &'static str {
    match fate {
        Fate::Delay(_) => "network_slow",
        Fate::Status(_) => "network_status",
        Fate::Cut => "network_cut",
        Fate::DropAnswer => "network_answer_lost",
        Fate::Late(_) => "network_late_put",
        Fate::Hold(_) => "network_half_open",
    }
}

/// The client tries again by itself, so that only what strikes all requests of a kind comes between two of a batch.
fn aim(random: &mut Random) -> Aim {
    let method = random.pick(&[None, Some("PUT"), Some("PUT"), Some("HEAD"), Some("GET")]);
    Aim { method, suffix: random.pick(&["", ".json.gz", ".json"]) }
}

fn fate(random: &mut Random) -> Fate {
    match random.below(7) {
        0 => Fate::Delay(random.millis(20, 400)),
        1 => Fate::Status(random.pick(&[500, 502, 503, 504, 429, 409, 403])),
        2 => Fate::Cut,
        3 | 4 => Fate::DropAnswer,
        5 => Fate::Late(random.millis(50, 3_000)),
        _ => Fate::Hold(random.millis(100, 1_500)),
    }
}
