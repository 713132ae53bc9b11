//! Group commit: one thread that owns the writer, takes what is queued, syncs once, and answers.

use std::{
    collections::VecDeque,
    fmt,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle, ThreadId},
};

use crate::{
    Appended, Cursors, Error, Ledger, Options, Position, Reader, Result, Usage, Watermark, Writer, fs::Fs,
    watermark::locked,
};

/// What an entry costs in the queue beside its bytes.
const OVERHEAD: usize = 128;

/// A frame on its way to the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What the ledger sees, at most [`crate::MAX_META`] bytes.
    pub meta: Vec<u8>,
    /// The rest.
    pub body: Vec<u8>,
}

impl Entry {
    fn cost(&self) -> usize {
        OVERHEAD + self.meta.len() + self.body.len()
    }
}

/// The bounds of what waits to be written. One entry is taken whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes, with a fixed addition for each entry.
    pub bytes: usize,
    /// Entries.
    pub entries: usize,
}

impl Default for Bounds {
    /// 4 MiB in 4096 entries.
    fn default() -> Self {
        Self { bytes: 4 << 20, entries: 4096 }
    }
}

/// What the owner wants to hear, called on the commit thread: be quick, and wake somebody.
pub struct Hooks {
    /// The watermark moved: readers have something to read.
    pub durable: Box<dyn FnMut(Position) + Send>,
    /// A [`Committer::release`] is done: so many bytes of the log went, and an append that met [`Error::Full`] can be
    /// tried again.
    pub released: Box<dyn FnMut(Result<u64>) + Send>,
    /// The queue has room again after it turned something away.
    pub room: Box<dyn FnMut() + Send>,
}

impl Default for Hooks {
    /// Tells nobody.
    fn default() -> Self {
        Self { durable: Box::new(|_| {}), released: Box::new(|_| {}), room: Box::new(|| {}) }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// What became of an attempt to queue an entry. What was not queued is handed back.
#[derive(Debug)]
#[must_use = "an entry that was not queued is handed back"]
pub enum TryAppend<D> {
    /// The callback will be called.
    Queued,
    /// The queue is at its bound; [`Hooks::room`] tells when it is not any more.
    Full(Entry, D),
    /// The spool was shut down.
    Closed(Entry, D),
}

type Done = Box<dyn FnOnce(Result<Appended>) + Send>;
type Inspect<L> = Box<dyn FnOnce(Result<&L>) + Send>;

enum Job<L> {
    Append(Entry, Done),
    Inspect(Inspect<L>),
}

struct Queue<L> {
    jobs: VecDeque<Job<L>>,
    /// What the queued jobs cost, and those the thread has taken and not yet written.
    bytes: usize,
    entries: usize,
    bounds: Bounds,
    release: bool,
    /// The budget that is to be from now on.
    budget: Option<u64>,
    closed: bool,
    /// Something was turned away since the queue had room.
    refused: bool,
}

impl<L> Queue<L> {
    fn fits(&self, cost: usize) -> bool {
        self.entries == 0 || (self.entries < self.bounds.entries && self.bytes + cost <= self.bounds.bytes)
    }

    /// What there is to do: the jobs, and whether to release.
    fn take(&mut self) -> Option<Work<L>> {
        let any = !self.jobs.is_empty() || self.release || self.budget.is_some();
        any.then(|| Work {
            jobs: std::mem::take(&mut self.jobs),
            release: std::mem::take(&mut self.release),
            budget: self.budget.take(),
        })
    }

    fn push(&mut self, job: Job<L>, cost: usize) {
        self.jobs.push_back(job);
        self.bytes += cost;
        self.entries += 1;
    }
}

struct Shared<L> {
    queue: Mutex<Queue<L>>,
    /// The thread waits for work, and blocked appenders for room.
    work: Condvar,
    room: Condvar,
    usage: Mutex<Usage>,
    watermark: Watermark,
    cursors: Cursors,
    options: Options,
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

/// Appends from any number of threads. Clones are handles to the same spool; when the last one goes, the queue is
/// drained and the spool closed.
pub struct Committer<L: Ledger>(Arc<Handle<L>>);

struct Handle<L: Ledger> {
    shared: Arc<Shared<L>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    id: ThreadId,
}

impl<L: Ledger> Committer<L> {
    /// Starts the commit thread.
    pub fn start(writer: Writer<L>, bounds: Bounds, hooks: Hooks) -> Result<Self> {
        let run = Thread::new(writer, bounds, hooks)?;
        let shared = Arc::clone(&run.shared);
        let builder = thread::Builder::new().name("spool-commit".to_owned());
        let thread = builder.spawn(|| run.run());
        let thread = thread.map_err(Error::io("start the commit thread of", &shared.dir))?;
        let id = thread.thread().id();
        Ok(Self(Arc::new(Handle { shared, thread: Mutex::new(Some(thread)), id })))
    }

    /// The same without a thread: the second part does what the thread would, at each call. For tests that decide what
    /// comes when.
    #[cfg(feature = "testing")]
    pub fn stepped(writer: Writer<L>, bounds: Bounds, hooks: Hooks) -> Result<(Self, Stepper<L>)> {
        let run = Thread::new(writer, bounds, hooks)?;
        let shared = Arc::clone(&run.shared);
        let handle = Handle { shared, thread: Mutex::new(None), id: thread::current().id() };
        Ok((Self(Arc::new(handle)), Stepper(run)))
    }

    /// Queues an entry, without waiting. `done` is called on the commit thread once the frame is durable, or has failed.
    ///
    /// Entries are appended in the order in which they were queued, and answered in that order.
    pub fn append<D>(&self, entry: Entry, done: D) -> TryAppend<D>
    where
        D: FnOnce(Result<Appended>) + Send + 'static,
    {
        let cost = entry.cost();
        let mut queue = locked(&self.0.shared.queue);
        if queue.closed {
            return TryAppend::Closed(entry, done);
        }
        if !queue.fits(cost) {
            queue.refused = true;
            return TryAppend::Full(entry, done);
        }
        queue.push(Job::Append(entry, Box::new(done)), cost);
        drop(queue);
        self.0.shared.work.notify_one();
        TryAppend::Queued
    }

    /// Queues an entry, and waits for room if there is none. Not for callbacks and hooks, which would wait for
    /// themselves.
    pub fn append_blocking<D>(&self, entry: Entry, done: D) -> Result<()>
    where
        D: FnOnce(Result<Appended>) + Send + 'static,
    {
        let cost = entry.cost();
        let shared = &self.0.shared;
        let mut queue = locked(&shared.queue);
        while !queue.closed && !queue.fits(cost) {
            queue = shared.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.closed {
            return Err(Error::Closed);
        }
        queue.push(Job::Append(entry, Box::new(done)), cost);
        drop(queue);
        shared.work.notify_one();
        Ok(())
    }

    /// Shows the ledger to `look`, on the commit thread, after everything that was queued before. All that it has is
    /// durable then; if that cannot be said, `look` gets the error. [`Error::Busy`] if the queue is full.
    pub fn inspect(&self, look: impl FnOnce(Result<&L>) + Send + 'static) -> Result<()> {
        let mut queue = locked(&self.0.shared.queue);
        if queue.closed {
            return Err(Error::Closed);
        }
        if !queue.fits(OVERHEAD) {
            queue.refused = true;
            return Err(Error::Busy);
        }
        queue.push(Job::Inspect(Box::new(look)), OVERHEAD);
        drop(queue);
        self.0.shared.work.notify_one();
        Ok(())
    }

    /// Asks for the segments to be deleted that every cursor has passed. [`Hooks::released`] hears of it.
    pub fn release(&self) {
        locked(&self.0.shared.queue).release = true;
        self.0.shared.work.notify_one();
    }

    /// Changes the budget, which must go with the other sizes, from the next append on. What is there stays; if it is
    /// more, appends meet [`Error::Full`] until enough of it is released.
    pub fn set_budget(&self, bytes: u64) -> Result<()> {
        Options { budget: bytes, ..self.0.shared.options.clone() }.validate()?;
        locked(&self.0.shared.queue).budget = Some(bytes);
        self.0.shared.work.notify_one();
        Ok(())
    }

    /// Up to where the log is durable.
    #[must_use]
    pub fn durable(&self) -> Position {
        self.0.shared.watermark.get()
    }

    /// How much room the spool took after the last batch.
    #[must_use]
    pub fn usage(&self) -> Usage {
        *locked(&self.0.shared.usage)
    }

    /// The cursors of this spool.
    #[must_use]
    pub fn cursors(&self) -> Cursors {
        self.0.shared.cursors.clone()
    }

    /// A reader that starts at a position.
    #[must_use]
    pub fn reader(&self, from: Position) -> Reader {
        let shared = &self.0.shared;
        Reader::new(Arc::clone(&shared.fs), &shared.dir, shared.watermark.clone(), from)
    }

    /// Takes nothing more, writes and answers what is queued, and closes the spool. Returns when that is done, except on
    /// the commit thread itself.
    pub fn shutdown(&self) {
        self.0.shutdown();
    }
}

impl<L: Ledger> Handle<L> {
    fn shutdown(&self) {
        self.shared.close();
        let thread = locked(&self.thread).take();
        if let Some(thread) = thread
            && thread::current().id() != self.id
        {
            // A panic of a callback was told on its thread.
            drop(thread.join());
        }
    }
}

impl<L: Ledger> Drop for Handle<L> {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl<L: Ledger> Clone for Committer<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L: Ledger> fmt::Debug for Committer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer")
            .field("dir", &self.0.shared.dir)
            .field("durable", &self.durable())
            .finish()
    }
}

impl<L> Shared<L> {
    fn close(&self) {
        locked(&self.queue).closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }
}

/// What the thread has to do next.
struct Work<L> {
    jobs: VecDeque<Job<L>>,
    release: bool,
    budget: Option<u64>,
}

struct Thread<L: Ledger> {
    shared: Arc<Shared<L>>,
    writer: Writer<L>,
    hooks: Hooks,
}

/// What the thread owes when the batch is durable.
enum Answer<L> {
    Appended(Done, Result<Appended>),
    Inspect(Inspect<L>),
}

/// A commit thread that is no thread, see [`Committer::stepped`].
#[cfg(feature = "testing")]
pub struct Stepper<L: Ledger>(Thread<L>);

#[cfg(feature = "testing")]
impl<L: Ledger> Stepper<L> {
    /// Writes, syncs and answers what is queued, and releases if that was asked for.
    pub fn step(&mut self) {
        let work = locked(&self.0.shared.queue).take();
        if let Some(work) = work {
            self.0.work(work);
        }
    }
}

#[cfg(feature = "testing")]
impl<L: Ledger> fmt::Debug for Stepper<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stepper").field(&self.0.shared.dir).finish()
    }
}

impl<L: Ledger> Thread<L> {
    fn new(mut writer: Writer<L>, bounds: Bounds, hooks: Hooks) -> Result<Self> {
        writer.sync()?;
        let (fs, dir) = writer.place();
        let queue = Queue {
            jobs: VecDeque::new(),
            bytes: 0,
            entries: 0,
            bounds,
            release: false,
            budget: None,
            closed: false,
            refused: false,
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            work: Condvar::new(),
            room: Condvar::new(),
            usage: Mutex::new(writer.usage()),
            watermark: writer.watermark(),
            cursors: writer.cursors(),
            options: writer.options().clone(),
            fs,
            dir,
        });
        Ok(Self { shared, writer, hooks })
    }

    fn run(mut self) {
        while let Some(work) = self.next() {
            self.work(work);
        }
    }

    fn work(&mut self, Work { jobs, release, budget }: Work<L>) {
        if let Some(budget) = budget {
            self.writer.set_budget(budget);
            *locked(&self.shared.usage) = self.writer.usage();
        }
        self.commit(jobs);
        if release {
            let released = self.writer.release();
            *locked(&self.shared.usage) = self.writer.usage();
            (self.hooks.released)(released);
        }
    }

    /// Waits for something to do; `None` when everything is done and nothing more comes.
    fn next(&self) -> Option<Work<L>> {
        let mut queue = locked(&self.shared.queue);
        loop {
            if let Some(work) = queue.take() {
                return Some(work);
            }
            if queue.closed {
                return None;
            }
            queue = self.shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn commit(&mut self, jobs: VecDeque<Job<L>>) {
        if jobs.is_empty() {
            return;
        }
        let (mut bytes, entries) = (0, jobs.len());
        let mut answers = Vec::with_capacity(entries);
        for job in jobs {
            answers.push(match job {
                Job::Append(entry, done) => {
                    bytes += entry.cost();
                    let result = self.writer.append(&entry.meta, &entry.body);
                    Answer::Appended(done, result)
                }
                Job::Inspect(look) => {
                    bytes += OVERHEAD;
                    Answer::Inspect(look)
                }
            });
        }
        // The entries are written and dropped: the next batch can gather while this one is synced.
        self.make_room(bytes, entries);

        let before = self.shared.watermark.get();
        let synced = self.writer.sync();
        *locked(&self.shared.usage) = self.writer.usage();
        for answer in answers {
            match answer {
                Answer::Appended(done, result) => {
                    done(result.and_then(|appended| synced.clone().map(|_| appended)));
                }
                Answer::Inspect(look) => look(synced.clone().map(|_| self.writer.ledger())),
            }
        }
        let after = self.shared.watermark.get();
        if before < after {
            (self.hooks.durable)(after);
        }
    }

    fn make_room(&mut self, bytes: usize, entries: usize) {
        let mut queue = locked(&self.shared.queue);
        queue.bytes -= bytes;
        queue.entries -= entries;
        let refused = std::mem::take(&mut queue.refused);
        drop(queue);
        self.shared.room.notify_all();
        if refused {
            (self.hooks.room)();
        }
    }
}

impl<L: Ledger> Drop for Thread<L> {
    /// Also when a callback panicked: nobody waits for ever, and callbacks that cannot be called are dropped.
    fn drop(&mut self) {
        self.shared.close();
        let jobs = std::mem::take(&mut locked(&self.shared.queue).jobs);
        drop(jobs);
    }
}
