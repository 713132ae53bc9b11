//! The log files that history knows, and how each stands.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::key::Seconds;
use super::segment::FileId;

/// Log files that are known. What is older than the newest so many is not in history, which then says so.
pub(super) const MAX_FILES: usize = 1 << 20;
/// Faults that are told; of more, only the number.
const MAX_FAULTS: usize = 256;

/// How a log file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Its events are in segments, if there are any.
    Indexed,
    /// It is not what its manifest says, or cannot be read: its events are not shown.
    Faulty,
    /// It is not in the bucket any more.
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    standing: Standing,
    verified: bool,
}

/// The log files that are known, and those that are still to be read.
#[derive(Debug, Default)]
pub(super) struct Files {
    known: HashMap<FileId, Known>,
    /// Of those that are to be read, how many were delivered when.
    pending: BTreeMap<Seconds, u32>,
    /// What was verified before it was known.
    verified_ahead: HashSet<FileId>,
    faults: Vec<(String, String)>,
    faulty: u64,
}

impl Files {
    /// Whether a file was looked at already.
    pub(super) fn knows(&self, file: FileId) -> bool {
        self.known.get(&file).is_some_and(|known| known.standing != Standing::Gone)
    }

    /// Whether the events of a file are shown.
    pub(super) fn shows(&self, file: FileId) -> bool {
        self.known.get(&file).is_some_and(|known| known.standing == Standing::Indexed)
    }

    pub(super) fn is_verified(&self, file: FileId) -> bool {
        self.known.get(&file).is_some_and(|known| known.verified)
    }

    /// A file has been indexed.
    pub(super) fn index(&mut self, file: FileId) {
        self.put(file, Standing::Indexed);
    }

    /// A file is not what it should be.
    pub(super) fn fault(&mut self, file: FileId, key: String, reason: String) {
        self.put(file, Standing::Faulty);
        self.faulty += 1;
        if self.faults.len() < MAX_FAULTS {
            self.faults.push((key, reason));
        }
    }

    fn put(&mut self, file: FileId, standing: Standing) {
        let verified =
            self.verified_ahead.remove(&file) || self.known.get(&file).is_some_and(|known| known.verified);
        self.known.insert(file, Known { standing, verified });
    }

    /// A digest that was checked covers a file.
    pub(super) fn verify(&mut self, file: FileId) {
        match self.known.get_mut(&file) {
            Some(known) => known.verified = true,
            None if self.verified_ahead.len() < MAX_FILES => {
                self.verified_ahead.insert(file);
            }
            None => {}
        }
    }

    /// All that is there, by a complete listing: other files are gone.
    pub(super) fn keep_only(&mut self, there: &HashSet<FileId>) {
        for (file, known) in &mut self.known {
            match (there.contains(file), known.standing) {
                (false, _) => known.standing = Standing::Gone,
                // It has come back: as it was.
                (true, Standing::Gone) => known.standing = Standing::Indexed,
                (true, _) => {}
            }
        }
    }

    /// What is faulty may be mended: look again.
    pub(super) fn forget_faults(&mut self) {
        self.known.retain(|_, known| known.standing != Standing::Faulty);
        self.faults.clear();
        self.faulty = 0;
    }

    pub(super) fn faulty(&self) -> (u64, &[(String, String)]) {
        (self.faulty, &self.faults)
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Files delivered then are to be read, and no others.
    pub(super) fn expect(&mut self, delivered: impl IntoIterator<Item = Seconds>) {
        self.pending.clear();
        for delivered in delivered {
            *self.pending.entry(delivered).or_default() += 1;
        }
    }

    /// A file that was to be read has been.
    pub(super) fn done(&mut self, delivered: Seconds) {
        if let Some(count) = self.pending.get_mut(&delivered) {
            *count -= 1;
            if *count == 0 {
                self.pending.remove(&delivered);
            }
        }
    }

    /// The newest delivery that is still to be read.
    pub(super) fn newest_pending(&self) -> Option<Seconds> {
        self.pending.last_key_value().map(|(delivered, _)| *delivered)
    }

    /// How many files are to be read.
    pub(super) fn pending(&self) -> u64 {
        self.pending.values().map(|count| u64::from(*count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_shown_while_they_are_there_and_sound() {
        let [one, other] = ["1", "2"].map(|key| FileId::new("b", key));
        let mut files = Files::default();
        files.verify(one);
        files.index(one);
        files.fault(other, "key".into(), "reason".into());
        assert!(files.shows(one) && files.is_verified(one));
        assert!(files.knows(other) && !files.shows(other) && files.faulty().0 == 1);
        files.keep_only(&HashSet::from([other]));
        assert!(!files.shows(one) && !files.knows(one));
        files.keep_only(&HashSet::from([one, other]));
        assert!(files.shows(one) && files.is_verified(one) && files.len() == 2);
        files.forget_faults();
        assert!(!files.knows(other) && files.faulty().1.is_empty());
    }

    #[test]
    fn the_newest_that_is_to_be_read_is_known() {
        let mut files = Files::default();
        files.expect([Seconds(7)]);
        files.expect([5, 9, 9].map(Seconds));
        files.done(Seconds(9));
        assert_eq!((files.newest_pending(), files.pending()), (Some(Seconds(9)), 2));
        files.done(Seconds(9));
        files.done(Seconds(7));
        assert_eq!(files.newest_pending(), Some(Seconds(5)));
        files.done(Seconds(5));
        assert_eq!(files.newest_pending(), None);
    }
}
