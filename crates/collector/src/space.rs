//! How much room is left, of the spool's budget and of its disk: said before it is used up, once for each level.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytesize::ByteSize;
use sidetrail_spool::Usage;

/// How often somebody looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// From where on there is a warning, per cent used.
const LEVELS: [f64; 3] = [70.0, 85.0, 95.0];
/// A level ends only so many points below where it began, so that what sways around it is said once.
const HYSTERESIS: f64 = 3.0;

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// The spool's budget.
    Budget,
    /// The file system that the spool is on.
    Disk,
}

/// Bytes used of those that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) used: u64,
    pub(crate) all: u64,
}

impl Room {
    /// Of the spool's budget. Spare files are not used: they are given up when room is needed.
    pub(crate) fn of_budget(usage: Usage) -> Self {
        Self { used: usage.bytes.saturating_sub(usage.spare), all: usage.budget }
    }

    /// Of the file system, as an unprivileged process sees it. `None` if the system does not say.
    pub(crate) fn of_disk(directory: &Path) -> Option<Self> {
        let stat = rustix::fs::statvfs(directory).ok()?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
        Some(Self { used, all: used.saturating_add(stat.f_bavail.saturating_mul(stat.f_frsize)) })
    }

    pub(crate) fn percent(self) -> f64 {
        if self.all == 0 { 0.0 } else { 100.0 * self.used as f64 / self.all as f64 }
    }
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Budget => "the budget of the spool",
            Self::Disk => "the disk of the spool",
        })
    }
}

/// One thing that fills up.
#[derive(Debug)]
struct Gauge {
    of: Of,
    room: Room,
    /// How many of [`LEVELS`] it is over.
    level: usize,
}

impl Gauge {
    fn new(of: Of) -> Self {
        Self { of, room: Room::default(), level: 0 }
    }

    /// Takes a reading. Gives the level before, if it is another one now.
    fn set(&mut self, room: Room) -> Option<usize> {
        self.room = room;
        let percent = room.percent();
        let before = self.level;
        let over = |margin: f64| LEVELS.iter().filter(|level| percent >= **level - margin).count();
        self.level = before.clamp(over(0.0), over(HYSTERESIS));
        (self.level != before).then_some(before)
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, room, .. } = self;
        write!(f, "{of} is {:.0} % used, {} of {}", room.percent(), ByteSize(room.used), ByteSize(room.all))
    }
}

/// How full spool and disk are, and what was said of it.
#[derive(Debug)]
pub(crate) struct Space {
    directory: PathBuf,
    gauges: Mutex<[Gauge; 2]>,
}

impl Space {
    pub(crate) fn new(directory: &Path) -> Self {
        let gauges = Mutex::new([Gauge::new(Of::Budget), Gauge::new(Of::Disk)]);
        Self { directory: directory.to_owned(), gauges }
    }

    /// Looks, and logs each level that was crossed. Gives both readings with their levels, the budget's first.
    pub(crate) fn look(&self, usage: Usage) -> [(Room, usize); 2] {
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = Room::of_disk(&self.directory).unwrap_or_default();
        for (gauge, room) in gauges.iter_mut().zip([Room::of_budget(usage), disk]) {
            match gauge.set(room) {
                Some(before) if before < gauge.level => {
                    let over = LEVELS.get(gauge.level - 1).copied().unwrap_or_default();
                    tracing::warn!(over, "{gauge}; when it is full, applications have to wait");
                }
                Some(_) => tracing::info!("{gauge}, less than before"),
                None => {}
            }
        }
        [0, 1].map(|at| (gauges[at].room, gauges[at].level))
    }

    /// What there is to warn of.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.iter().filter(|gauge| gauge.level > 0).map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_crossed_once_whatever_sways_around_it() {
        let mut gauge = Gauge::new(Of::Budget);
        let mut crossed = |used| gauge.set(Room { used, all: 1000 }).map(|before| (before, gauge.level));
        assert_eq!(crossed(699), None);
        assert_eq!(crossed(700), Some((0, 1)));
        assert_eq!([crossed(699), crossed(671), crossed(720)], [None; 3]);
        assert_eq!(crossed(960), Some((1, 3)), "two at once");
        assert_eq!(crossed(919), Some((3, 2)));
        assert_eq!(crossed(950), Some((2, 3)));
        assert_eq!(crossed(100), Some((3, 0)));
        assert_eq!(crossed(669), None);
    }

    #[test]
    fn what_is_warned_of_is_said_in_words() {
        let space = Space::new(Path::new("/nowhere/at/all"));
        let usage = Usage { bytes: 90 << 20, spare: 0, budget: 100 << 20, ..Usage::default() };
        assert_eq!(space.look(usage).map(|(_, level)| level), [2, 0], "a disk that is not there is not full");
        assert_eq!(space.warnings(), ["the budget of the spool is 90 % used, 90.0 MiB of 100.0 MiB"]);
        let spares = Usage { spare: 89 << 20, ..usage };
        space.look(spares);
        assert!(space.warnings().is_empty());
    }

    #[test]
    fn a_disk_says_how_full_it_is() {
        let room = Room::of_disk(Path::new(".")).unwrap();
        assert!(room.used > 0 && room.used <= room.all, "{room:?}");
    }
}
