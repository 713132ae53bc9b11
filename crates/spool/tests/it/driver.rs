//! A sender, a spool and a consumer, and what must hold between them whatever happens to the disk.

use std::{path::Path, sync::Arc};

use sidetrail_spool::{
    Appended, Item, Kind, Ledger, Options, Position, Reader, Recovery, Result, Verdict, Writer,
};

use crate::memory::{MemoryFs, Survival};

pub(crate) const DIR: &str = "/spool";

/// The smallest sizes there are: a few frames a segment.
pub(crate) fn small() -> Options {
    let options = Options::new(0).with_segment_bytes(4 << 10).with_max_body(1 << 10).with_max_snapshot(256);
    let budget = options.min_budget();
    let options = Options::new(4 * budget).with_segment_bytes(4 << 10).with_max_body(1 << 10);
    options.with_max_snapshot(256)
}

/// Takes 1, 2, 3 and so on, each once.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    pub(crate) last: u64,
}

impl Ledger for Sequence {
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        assert_eq!(self.last, 0, "restored twice");
        self.last = u64::from_le_bytes(snapshot.try_into().map_err(|_| "not eight bytes".to_owned())?);
        Ok(())
    }

    fn check(&self, meta: &[u8], _: usize) -> Verdict {
        let sequence = sequence(meta);
        if sequence <= self.last {
            Verdict::AlreadyHave
        } else if sequence == self.last + 1 {
            Verdict::Accept
        } else {
            Verdict::Refuse(format!("{sequence} after {}", self.last))
        }
    }

    fn apply(&mut self, meta: &[u8], _: usize) {
        assert!(sequence(meta) > self.last, "{} after {}", sequence(meta), self.last);
        self.last = sequence(meta);
    }

    fn snapshot(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.last.to_le_bytes());
    }
}

pub(crate) fn sequence(meta: &[u8]) -> u64 {
    u64::from_le_bytes(meta[..8].try_into().unwrap())
}

pub(crate) fn meta(sequence: u64) -> [u8; 8] {
    sequence.to_le_bytes()
}

pub(crate) fn body(sequence: u64) -> Vec<u8> {
    (0..(sequence * 97) % 700).map(|i| (i * 31 + sequence) as u8).collect()
}

pub(crate) fn open(fs: &MemoryFs, options: Options) -> Result<(Writer<Sequence>, Recovery)> {
    Writer::open(Arc::new(fs.clone()), Path::new(DIR), options, Sequence::default())
}

/// Appends and syncs these, each with one sync.
pub(crate) fn fill(writer: &mut Writer<Sequence>, sequences: std::ops::RangeInclusive<u64>) -> Vec<Position> {
    let mut positions = Vec::new();
    for sequence in sequences {
        match writer.append(&meta(sequence), &body(sequence)).unwrap() {
            Appended::Written(position) => positions.push(position),
            Appended::AlreadyHave => panic!("{sequence} is there already"),
        }
        writer.sync().unwrap();
    }
    positions
}

pub(crate) struct Driver {
    pub(crate) fs: MemoryFs,
    options: Options,
    survival: Survival,
    writer: Option<Writer<Sequence>>,
    reader: Option<Reader>,
    /// The sender: what it sends next, what it knows to be acknowledged, what it ever sent.
    next: u64,
    pub(crate) acked: u64,
    sent: u64,
    /// The consumer: what it has read, what it knows to have noted, and what it may have noted.
    pub(crate) read: u64,
    noted: u64,
    maybe_noted: u64,
}

impl Driver {
    pub(crate) fn new(fs: MemoryFs, options: Options, survival: Survival) -> Self {
        let (writer, reader) = (None, None);
        let (next, acked, sent, read, noted, maybe_noted) = (1, 0, 0, 0, 0, 0);
        let mut driver =
            Self { fs, options, survival, writer, reader, next, acked, sent, read, noted, maybe_noted };
        driver.restart();
        driver
    }

    pub(crate) fn writer(&mut self) -> &mut Writer<Sequence> {
        self.writer.as_mut().unwrap()
    }

    /// Opens the spool again, after a crash if the power went, and checks what it says.
    pub(crate) fn restart(&mut self) {
        for _ in 0..5 {
            if self.fs.is_off() {
                self.fs.crash(self.survival);
            }
            self.reader = None;
            self.writer = None;
            let Ok((writer, recovery)) = open(&self.fs, self.options.clone()) else { continue };
            assert!(!recovery.lost && !recovery.rebuilt, "{recovery:?}");
            let Ok(cursor) = writer.cursors().get("main") else { continue };
            let have = writer.ledger().last;
            assert!(
                self.acked <= have && have <= self.sent,
                "acked {} have {have} sent {}",
                self.acked,
                self.sent
            );
            self.next = self.acked + 1;
            let (position, noted) =
                cursor.map_or((Position::START, 0), |cursor| (cursor.position, sequence(&cursor.payload)));
            assert!(self.noted <= noted && noted <= self.maybe_noted, "the cursor is at {noted}");
            self.read = noted;
            self.noted = noted;
            self.reader = Some(writer.reader(position));
            self.writer = Some(writer);
            return;
        }
        panic!("the spool does not open");
    }

    pub(crate) fn crash(&mut self, survival: Survival) {
        self.fs.crash(survival);
        self.restart();
    }

    /// Sends one frame. False if there is no room.
    pub(crate) fn append(&mut self) -> bool {
        let sequence = self.next;
        self.sent = self.sent.max(sequence);
        match self.writer().append(&meta(sequence), &body(sequence)) {
            Ok(_) => self.next += 1,
            Err(error) => match error.kind() {
                Kind::Wait if !self.fs.is_off() => return false,
                Kind::Reject => panic!("{error}"),
                _ => self.restart(),
            },
        }
        true
    }

    pub(crate) fn sync(&mut self) {
        match self.writer().sync() {
            Ok(_) => self.acked = self.acked.max(self.next - 1),
            Err(_) => self.restart(),
        }
    }

    /// Reads at most so many frames, each exactly the one after the last.
    pub(crate) fn read(&mut self, most: usize) {
        for _ in 0..most {
            match self.reader.as_mut().unwrap().read() {
                Ok(None) => return,
                Ok(Some(Item::Frame(frame))) => {
                    assert_eq!(sequence(frame.meta), self.read + 1);
                    assert_eq!(frame.body, body(self.read + 1));
                    self.read += 1;
                }
                Ok(Some(Item::Damage(damage))) => panic!("{damage} after {}", self.read),
                Err(_) if self.fs.is_off() => return self.restart(),
                Err(_) => return,
            }
        }
    }

    /// Notes in the cursor what was read.
    pub(crate) fn note(&mut self) {
        let position = self.reader.as_ref().unwrap().position();
        let read = self.read;
        self.maybe_noted = self.maybe_noted.max(read);
        match self.writer().cursors().set("main", position, &meta(read)) {
            Ok(()) => self.noted = read,
            Err(_) if self.fs.is_off() => self.restart(),
            Err(_) => {}
        }
    }

    pub(crate) fn release(&mut self) {
        if self.writer().release().is_err() {
            if self.fs.is_off() {
                self.restart();
            }
            return;
        }
        let usage = self.writer().usage();
        let bytes = self.fs.sizes(".seg").values().chain(self.fs.sizes(".spare").values()).sum::<u64>();
        assert_eq!(usage.bytes, bytes, "the budget is what the directory says");
        assert!(usage.bytes <= usage.budget);
    }

    /// Everything acknowledged can be read, once, after one more crash, and the ledger agrees.
    pub(crate) fn finish(mut self, survival: Survival) {
        self.sync();
        self.crash(survival);
        self.read(usize::MAX);
        assert!(self.read >= self.acked, "read {} of {}", self.read, self.acked);
        let have = self.writer().ledger().last;
        assert_eq!(self.read, have);
    }
}
