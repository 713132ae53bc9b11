//! The log files that history knows, and how each stands.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::key::Seconds;
use super::segment::{FileId, Source};
use sidetrail_archive::hash::Sha256;

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
    /// What it holds, if it has events.
    content: Option<[u8; 8]>,
    /// What a digest says that it holds.
    digested: Option<[u8; 8]>,
}

/// The log files that are known, and those that are still to be read.
#[derive(Debug, Default)]
pub(super) struct Files {
    known: HashMap<FileId, Known>,
    /// Of those that are to be read, how many were delivered when.
    pending: BTreeMap<Seconds, u32>,
    /// What digests say of files that are not known yet.
    digested_ahead: HashMap<FileId, [u8; 8]>,
    faults: Vec<(String, String)>,
    faulty: u64,
    /// Digests that were looked at, whatever came of it.
    pub(super) digests: u64,
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

    /// Whether a digest covers what a file holds.
    pub(super) fn is_verified(&self, file: FileId) -> bool {
        self.known.get(&file).is_some_and(|known| known.digested.is_some() && known.digested == known.content)
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
        let before = self.known.get(&file);
        let content = before.and_then(|known| known.content);
        let digested = before.and_then(|known| known.digested).or(self.digested_ahead.remove(&file));
        self.known.insert(file, Known { standing, content, digested });
    }

    /// A file has been indexed, and had events.
    pub(super) fn fill(&mut self, source: Source) {
        self.index(source.id);
        if let Some(known) = self.known.get_mut(&source.id) {
            known.content = Some(source.content);
        }
    }

    /// A digest that was checked says what a file holds.
    pub(super) fn digest(&mut self, file: FileId, content: Sha256) {
        let content = Source::beginning(content);
        match self.known.get_mut(&file) {
            // One that covers it is enough, whatever another says.
            Some(known) if known.digested.is_none() || known.digested != known.content => {
                known.digested = Some(content);
            }
            Some(_) => {}
            None if self.digested_ahead.len() < MAX_FILES => {
                self.digested_ahead.insert(file, content);
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
        let content = Sha256::of(b"content");
        let mut files = Files::default();
        files.digest(one, content);
        files.fill(Source::new(one, content));
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
    fn a_digest_of_other_content_verifies_nothing() {
        let file = FileId::new("b", "1");
        let mut files = Files::default();
        files.fill(Source::new(file, Sha256::of(b"content")));
        assert!(!files.is_verified(file));
        files.digest(file, Sha256::of(b"other"));
        assert!(!files.is_verified(file));
        files.digest(file, Sha256::of(b"content"));
        assert!(files.is_verified(file));
        files.digest(file, Sha256::of(b"other"));
        assert!(files.is_verified(file));
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
