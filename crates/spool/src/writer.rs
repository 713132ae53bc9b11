//! Appending, without threads: the one owner of the directory.

use std::{
    any::Any,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Cursors, Error, Ledger, Options, Position, Reader, Recovery, Result, Verdict, Watermark,
    directory::{self, Directory},
    durable,
    frame::{self, MAX_META},
    fs::{Access, File, Fs},
    recovery,
    segment::{self, Header},
};

const LOCK: &str = "lock";
/// What an append keeps of its buffer.
const KEEP: usize = 256 << 10;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It was written here.
    Written(Position),
    /// The ledger has it already.
    AlreadyHave,
}

/// How much room the spool takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all segment files, spare ones included.
    pub bytes: u64,
    /// Of these, the spare ones: they are given up when room is needed.
    pub spare: u64,
    /// The limit of `bytes`.
    pub budget: u64,
    /// How many segments there are.
    pub segments: u64,
    /// The number of the oldest one.
    pub oldest: u64,
}

/// The one writer of a spool.
///
/// A failed append leaves everything as it was, so it can be tried again, with one exception. After a failed sync the
/// system may have dropped the pages it could not write and call the next sync a success. What the device holds is then
/// unknown from the last good sync on, and so every later call fails with [`Error::Failed`] until the spool is opened
/// anew, which reads what is there. The same goes for a failed write that cannot be cut off again.
#[derive(Debug)]
pub struct Writer<L> {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: Options,
    ledger: L,
    active: Active,
    directory: Directory,
    counted: bool,
    /// Spare files have their names durably: before that, one could still be a segment after a crash.
    spares_synced: bool,
    cursors: Cursors,
    watermark: Watermark,
    failed: Option<Error>,
    buffer: Vec<u8>,
    _lock: Lock,
}

/// The segment that grows.
#[derive(Debug)]
struct Active {
    number: u64,
    path: PathBuf,
    file: Box<dyn File>,
    /// Where the frames start and where they end.
    first: u64,
    end: u64,
    /// The size of the file, more than `end` in a recycled one.
    size: u64,
    durable: u64,
    /// The segment that has to come next: nothing more is appended here.
    closed: Option<u64>,
}

struct Lock(#[expect(dead_code, reason = "held, not read")] Box<dyn Any + Send>);

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}

impl<L: Ledger> Writer<L> {
    /// Opens the spool in a directory, which is made if it does not exist.
    ///
    /// `ledger` is the state of an empty log. Reads the last segment and, should its header be damaged, the one before.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, options: Options, mut ledger: L) -> Result<(Self, Recovery)> {
        options.validate()?;
        fs.create_dir(dir).map_err(Error::io("create", dir))?;
        let lock = lock(&*fs, dir)?;
        directory::clean(&*fs, dir)?;
        fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
        let cursors = Cursors::open(Arc::clone(&fs), dir)?;
        let mut directory = Directory::read(&*fs, dir)?;
        directory::trim(&*fs, dir, &mut directory, options.spares)?;

        let floor = cursors.furthest();
        let mut recovery = Recovery::default();
        let active = if let Some((&last, _)) = directory.segments.last_key_value() {
            let previous = directory.segments.range(..last).next_back().map(|(&number, _)| number);
            let (tail, found) = recovery::recover(&*fs, dir, last, previous, floor, &mut ledger)?;
            recovery = found;
            let (size, path) = (tail.scanner.size()?, tail.scanner.path);
            directory.segments.insert(last, size);
            let (file, end) = (tail.scanner.file, tail.end);
            Active {
                number: last,
                path,
                file,
                first: tail.first,
                end,
                size,
                durable: end,
                closed: tail.close,
            }
        } else {
            recovery.lost = floor > Position::START;
            let mut snapshot = Vec::new();
            ledger.snapshot(&mut snapshot);
            check_size("snapshot of the ledger", snapshot.len(), options.max_snapshot)?;
            create_segment(&*fs, dir, None, floor.segment + 1, 0, &snapshot)?
        };
        let watermark = Watermark::default();
        let mut writer = Self {
            fs,
            dir: dir.to_owned(),
            options,
            ledger,
            active,
            directory,
            counted: false,
            spares_synced: true,
            cursors,
            watermark,
            failed: None,
            buffer: Vec::new(),
            _lock: Lock(lock),
        };
        writer.count()?;
        if writer.active.closed.is_some() {
            let snapshot = writer.snapshot()?;
            writer.rotate(&snapshot)?;
        }
        writer.watermark.set(writer.end());
        Ok((writer, recovery))
    }

    /// Appends a frame. It is durable after the next [`Writer::sync`], and readers see it then.
    ///
    /// What the ledger has already is durable after the next sync too, not before: it may be in the same batch.
    pub fn append(&mut self, meta: &[u8], body: &[u8]) -> Result<Appended> {
        self.healthy()?;
        check_size("meta", meta.len(), MAX_META)?;
        check_size("body", body.len(), self.options.max_body)?;
        match self.ledger.check(meta, body.len()) {
            Verdict::Accept => {}
            Verdict::AlreadyHave => return Ok(Appended::AlreadyHave),
            Verdict::Refuse(reason) => return Err(Error::Refused { reason }),
        }
        self.make_room(frame::len(meta, body))?;

        let position = self.end();
        self.buffer.clear();
        self.buffer.shrink_to(KEEP);
        frame::encode(&mut self.buffer, position, self.active.durable, meta, body);
        if let Err(error) = self.active.file.write_at(&self.buffer, position.offset) {
            let error = Error::io("write", &self.active.path)(error);
            return Err(self.undo(error));
        }
        self.active.end += self.buffer.len() as u64;
        self.grown(self.active.size.max(self.active.end));
        self.ledger.apply(meta, body.len());
        Ok(Appended::Written(position))
    }

    /// Makes everything that was appended durable, and answers up to where.
    pub fn sync(&mut self) -> Result<Position> {
        self.healthy()?;
        if self.active.durable < self.active.end {
            let synced = self.active.file.sync();
            synced.map_err(|error| self.fail("sync", &self.active.path.clone(), error))?;
            self.active.durable = self.active.end;
        }
        let end = self.end();
        self.watermark.set(end);
        Ok(end)
    }

    /// Deletes the segments that every cursor has passed, or keeps them as spare ones. Never the last segment, and none
    /// while there are no cursors. Answers how many bytes of the log went.
    pub fn release(&mut self) -> Result<u64> {
        let before: u64 = self.directory.segments.values().sum();
        let released = self.release_passed();
        // Whatever happened, the directory knows.
        self.count()?;
        released?;
        Ok(before.saturating_sub(self.directory.segments.values().sum()))
    }

    fn release_passed(&mut self) -> Result<()> {
        let passed: Vec<(u64, u64)> = self
            .directory
            .segments
            .range(..self.active.number)
            .map(|(&number, &size)| (number, size))
            .take_while(|&(number, size)| self.cursors.passed(number, size))
            .collect();
        if passed.is_empty() {
            return Ok(());
        }
        self.spares_synced = false;
        let mut spares = self.directory.spares.len();
        for (number, size) in passed {
            let path = segment::path(&self.dir, number);
            // An oversized segment is not worth keeping, nor one that would have to grow again.
            if spares < self.options.spares
                && size <= self.options.segment_bytes
                && size >= self.options.segment_bytes / 2
            {
                durable::retire(&*self.fs, &path, &segment::spare_path(&self.dir, number))?;
                spares += 1;
            } else {
                self.fs.remove(&path).map_err(Error::io("remove", &path))?;
            }
        }
        self.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        self.spares_synced = true;
        Ok(())
    }

    /// Where the next frame goes, unless it needs a new segment.
    #[must_use]
    pub fn end(&self) -> Position {
        Position::new(self.active.number, self.active.end)
    }

    /// The ledger, with all that was appended, durable or not.
    #[must_use]
    pub fn ledger(&self) -> &L {
        &self.ledger
    }

    /// The cursors of this spool.
    #[must_use]
    pub fn cursors(&self) -> Cursors {
        self.cursors.clone()
    }

    /// Up to where the log is durable.
    #[must_use]
    pub fn watermark(&self) -> Watermark {
        self.watermark.clone()
    }

    /// A reader that starts at a position.
    #[must_use]
    pub fn reader(&self, from: Position) -> Reader {
        Reader::new(Arc::clone(&self.fs), &self.dir, self.watermark(), from)
    }

    /// The directory, and the file system that it is in.
    pub(crate) fn place(&self) -> (Arc<dyn Fs>, PathBuf) {
        (Arc::clone(&self.fs), self.dir.clone())
    }

    /// The sizes of this spool.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Goes by another budget from now on, one that was checked with the other sizes.
    pub(crate) fn set_budget(&mut self, bytes: u64) {
        self.options.budget = bytes;
    }

    /// How much room the spool takes now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            bytes: self.directory.bytes(),
            spare: self.directory.spares.values().sum(),
            budget: self.options.budget,
            segments: self.directory.segments.len() as u64,
            oldest: self.directory.segments.first_key_value().map_or(0, |(&number, _)| number),
        }
    }

    /// Whether appends are still taken.
    pub fn healthy(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Counts the directory again. If that fails, it is tried again before the count is relied upon.
    fn count(&mut self) -> Result<()> {
        self.counted = false;
        self.directory = Directory::read(&*self.fs, &self.dir)?;
        self.counted = true;
        Ok(())
    }

    fn grown(&mut self, size: u64) {
        self.active.size = size;
        self.directory.segments.insert(self.active.number, size);
    }

    fn make_room(&mut self, len: u64) -> Result<()> {
        if !self.counted {
            self.count()?;
        }
        let Active { first, end, size, closed, .. } = self.active;
        if closed.is_none() && (end == first || end + len <= self.options.segment_bytes) {
            return self.afford(|_| (end + len).saturating_sub(size));
        }
        let snapshot = self.snapshot()?;
        let start = (segment::HEADER + snapshot.len()) as u64;
        // The spare file that is taken is counted already.
        self.afford(|spare| (start + len).saturating_sub(spare))?;
        self.rotate(&snapshot)
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        let mut snapshot = Vec::new();
        self.ledger.snapshot(&mut snapshot);
        check_size("snapshot of the ledger", snapshot.len(), self.options.max_snapshot)?;
        Ok(snapshot)
    }

    /// Checks that the budget has room, giving up spare files for it. `growth` is told the size of the one that would be
    /// taken next.
    fn afford(&mut self, growth: impl Fn(u64) -> u64) -> Result<()> {
        loop {
            let needed = growth(self.directory.spares.first_key_value().map_or(0, |(_, &size)| size));
            let (used, budget) = (self.directory.bytes(), self.options.budget);
            if used + needed <= budget {
                return Ok(());
            }
            let Some(keep) = self.directory.spares.len().checked_sub(1) else {
                return Err(Error::Full { used, budget, needed });
            };
            directory::trim(&*self.fs, &self.dir, &mut self.directory, keep)?;
        }
    }

    /// Closes the segment and starts the next one.
    ///
    /// The old one is synced first: the snapshot of the new one speaks of all its frames. From then on nothing goes into
    /// the old one, also when what follows fails, for the new one may be there all the same.
    fn rotate(&mut self, snapshot: &[u8]) -> Result<()> {
        if self.active.size > self.active.end && self.active.file.set_len(self.active.end).is_ok() {
            self.grown(self.active.end);
        }
        self.sync()?;
        let number = *self.active.closed.get_or_insert(self.active.number + 1);
        if !self.spares_synced {
            self.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
            self.spares_synced = true;
        }
        let spare = self.directory.spares.pop_first().map(|(spare, _)| spare);
        // Only the segment right before can have its end told.
        let previous_end = if number == self.active.number + 1 { self.active.end } else { 0 };
        match create_segment(&*self.fs, &self.dir, spare, number, previous_end, snapshot) {
            Ok(active) => self.active = active,
            Err(error) => {
                if let Error::Failed { .. } = error {
                    self.failed = Some(error.clone());
                }
                self.counted = false;
                return Err(error);
            }
        }
        self.grown(self.active.size);
        self.counted = false;
        self.watermark.set(self.end());
        Ok(())
    }

    /// Cuts off what a failed write left, so that the frame can be written again.
    fn undo(&mut self, error: Error) -> Error {
        match self.active.file.set_len(self.active.end) {
            Ok(()) => {
                self.grown(self.active.end);
                error
            }
            Err(error) => self.fail("truncate", &self.active.path.clone(), error),
        }
    }

    fn fail(&mut self, action: &'static str, path: &Path, error: std::io::Error) -> Error {
        let error = Error::failed(action, path)(error);
        self.failed = Some(error.clone());
        error
    }
}

impl<L> Drop for Writer<L> {
    /// A recycled file ends with its log, so that the next start has nothing to cut. It finds the end without this too.
    fn drop(&mut self) {
        if self.failed.is_none() && self.active.size > self.active.end {
            drop(self.active.file.set_len(self.active.end));
        }
    }
}

fn lock(fs: &dyn Fs, dir: &Path) -> Result<Box<dyn Any + Send>> {
    let path = dir.join(LOCK);
    fs.lock(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => Error::Locked { path },
        _ => Error::io("lock", &path)(error),
    })
}

fn check_size(what: &'static str, len: usize, max: usize) -> Result<()> {
    if len <= max { Ok(()) } else { Err(Error::TooLarge { what, len: len as u64, max: max as u64 }) }
}

/// Makes the next segment, of a spare file if there is one. It gets its name when it is whole. Until the name is durable
/// nothing may be written behind the header: a failure there is fatal.
fn create_segment(
    fs: &dyn Fs,
    dir: &Path,
    spare: Option<u64>,
    number: u64,
    previous_end: u64,
    snapshot: &[u8],
) -> Result<Active> {
    let mut start = Vec::with_capacity(segment::HEADER + snapshot.len());
    Header::encode(&mut start, number, previous_end, snapshot);
    let first = start.len() as u64;
    let path = segment::path(dir, number);
    let (temporary, access) = match spare {
        Some(spare) => (segment::spare_path(dir, spare), Access::Write),
        None => (segment::new_path(dir, number), Access::Create),
    };
    let published = (|| {
        let file = fs.open(&temporary, access).map_err(Error::io("create", &temporary))?;
        file.write_at(&start, 0).map_err(Error::io("write", &temporary))?;
        durable::publish(fs, &*file, &temporary, &path)?;
        let size = file.size().map_err(Error::io("read the size of", &path))?;
        Ok((file, size))
    })();
    if published.is_err() {
        // Also a spare file: one that cannot be written is not worth keeping.
        drop(fs.remove(&temporary));
    }
    let (file, size) = published?;
    fs.sync_dir(dir).map_err(Error::failed("sync", dir))?;
    Ok(Active { number, path, file, first, end: first, size, durable: first, closed: None })
}
