//! A collector without threads in a world without mercy: takes one step after the other, each drawn.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use bytesize::ByteSize;
use jiff::SignedDuration;
use sidetrail_archive::key::{Home, Id};
use sidetrail_archive::manifest::PublishedKey;
use sidetrail_archive::sign::{Ed25519Signer, Signer};
use sidetrail_spool::testing::{Fault, MemoryFs, Op, Survival};
use sidetrail_spool::{
    Appended, Bounds, Committer, Entry, Error, Hooks, Kind, Options, Position, Stepper, Writer,
};

use super::draw::Draw;
use super::source::{Slot, Source};
use super::store::Store;
use super::tally::{Seen, Tally};
use crate::config::Rotate;
use crate::intake::{Completion, incomplete_frame};
use crate::ledger::SharedLedger;
use crate::trail::{Progress, Shipper, Step, Trail};

const DIR: &str = "/spool";
pub(super) const COLLECTOR: Id = Id([0xc0; 16]);
const START_MS: i64 = 1_768_473_677_000;
/// Sources that send side by side.
const SOURCES: usize = 3;
/// The quick trail and the slow one.
const TRAILS: [&str; 2] = ["quick", "slow"];
/// Frames that are kept to be sent again by nobody's leave.
const STALE: usize = 8;
/// What a world without faults needs at most until everything is shipped.
const DRAIN_STEPS: usize = 5_000;
const MAX_INTENTS: usize = 64;
/// A few dozen frames.
const SEGMENT: u64 = 16 << 10;

static SIGNER: LazyLock<Arc<Ed25519Signer>> = LazyLock::new(|| Arc::new(Ed25519Signer::generate().unwrap()));

/// What one seed decides.
pub(super) struct World {
    pub(super) seen: Tally,
    draw: Draw,
    fs: MemoryFs,
    now_ms: i64,
    options: Options,
    rotates: [Rotate; 2],
    pub(super) stores: [Store; 2],
    running: Option<Running>,
    pub(super) sources: Vec<Source>,
    stale: Vec<Entry>,
    completion: Completion,
    weights: Weights,
    trace: Option<u64>,
}

/// A collector between two starts.
pub(super) struct Running {
    pub(super) ledger: SharedLedger,
    committer: Committer<SharedLedger>,
    stepper: Stepper<SharedLedger>,
    pub(super) trails: Vec<Shipper<Store>>,
    /// What becomes of the frame by which open intents are being ended.
    ending: Option<Slot<Appended>>,
    /// And of those that were sent by streams nobody knew to be there.
    stale: Vec<Slot<Appended>>,
    durable: Position,
}

/// How likely each [`Act`] is.
type Weights = [u64; 17];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Make,
    Connect,
    Send,
    Commit,
    Attend,
    Ship(usize),
    EndIntents,
    Stale,
    Disconnect,
    Replace,
    Wait,
    ClockJump,
    StoreFault,
    DiskFault,
    DiskFull,
    Crash,
}

/// With their weights. The faults come last: each seed draws theirs.
const ACTS: [(Act, u64); 17] = [
    (Act::Make, 14),
    (Act::Connect, 8),
    (Act::Send, 16),
    (Act::Commit, 20),
    (Act::Attend, 14),
    (Act::Ship(0), 10),
    (Act::Ship(1), 5),
    (Act::EndIntents, 3),
    (Act::Stale, 2),
    (Act::Disconnect, 2),
    (Act::Replace, 1),
    (Act::Wait, 8),
    (Act::ClockJump, 0),
    (Act::StoreFault, 0),
    (Act::DiskFault, 0),
    (Act::DiskFull, 0),
    (Act::Crash, 0),
];
/// Where the faults begin in [`ACTS`], and the pace of the second trail.
const FAULTS: usize = 12;
const SLOW: usize = 6;

impl World {
    /// With `loud` every step is told on standard error.
    pub(super) fn new(seed: u64, loud: bool) -> Self {
        let mut draw = Draw::new(seed);
        let key = SIGNER.public_key();
        let stores = [0, 1].map(|_| Store::new(key.clone(), draw.split()));
        let options = |budget| {
            Options::new(budget)
                .with_segment_bytes(SEGMENT)
                .with_max_body(32 << 10)
                .with_max_snapshot(48 << 10)
        };
        let options = options(options(0).min_budget()).with_spares(draw.below(3) as usize);
        let rotate = |draw: &mut Draw, slow: u64| Rotate {
            size: ByteSize::b(draw.between(1_000, 12_000) * slow),
            age: SignedDuration::from_millis(i64::try_from(draw.between(50, 3_000) * slow).unwrap()),
        };
        let completion = Completion {
            account: "111122223333".parse().unwrap(),
            region: "eu-west-1".parse().unwrap(),
            collector: COLLECTOR,
        };
        let mut weights = ACTS.map(|(_, weight)| weight);
        // Each seed has some of the faults, and not in the same measure: rare ones alone go deeper.
        for weight in &mut weights[FAULTS..] {
            *weight = draw.pick(&[0, 1, 2, 4, 8]);
        }
        weights[SLOW] = draw.pick(&[1, 3, 6]);
        let mut world = Self {
            seen: Tally::default(),
            fs: MemoryFs::default(),
            now_ms: START_MS,
            options,
            rotates: [rotate(&mut draw, 1), rotate(&mut draw, 4)],
            stores,
            running: None,
            sources: Vec::new(),
            stale: Vec::new(),
            completion,
            weights,
            trace: loud.then_some(0),
            draw,
        };
        (0..SOURCES).for_each(|_| world.enter());
        world
    }

    /// So many steps with faults, then what is left without.
    pub(super) fn run(&mut self) -> Running {
        for _ in 0..self.draw.between(150, 600) {
            self.step();
        }
        self.heal();
        self.drain()
    }

    fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        if let Some(step) = &mut self.trace {
            *step += 1;
            eprintln!("{step:>5} {:>9} ms  {what}", self.now_ms - START_MS);
        }
    }

    /// A new application starts.
    fn enter(&mut self) {
        let mut id = [0; 16];
        id[0] = u8::try_from(self.sources.len() + 1).unwrap();
        self.sources.push(Source::new(Id(id)));
    }

    fn step(&mut self) {
        if self.running.is_none() {
            self.start();
        } else {
            let (act, _) = ACTS[self.draw.weighted(&self.weights)];
            self.act(act);
        }
        self.look();
    }

    /// What holds after every step.
    fn look(&mut self) {
        if self.fs.is_off() {
            self.seen.note(Seen::CrashInside);
            self.crash();
        }
        let Some(running) = &mut self.running else { return };
        let durable = running.committer.durable();
        assert!(durable >= running.durable, "the log lost what was durable");
        running.durable = durable;
        for answer in running.stale.extract_if(.., |slot| slot.lock().unwrap().is_some()) {
            match answer.lock().unwrap().take() {
                Some(Ok(Appended::AlreadyHave)) => self.seen.note(Seen::HadAlready),
                Some(Err(error)) if error.kind() == Kind::Reject => self.seen.note(Seen::Refused),
                _ => {}
            }
        }
        let (budget, sizes) =
            (running.committer.usage().budget, |ending| self.fs.sizes(ending).into_values());
        let bytes: u64 = sizes(".seg").chain(sizes(".spare")).sum();
        assert!(bytes <= budget, "the spool takes {bytes} of {budget} bytes");
        let accepted = running.ledger.totals().accepted;
        for shipper in &running.trails {
            assert!(shipper.progress().counts().total() <= accepted, "a trail did more than was accepted");
        }
    }

    /// As [`crate::Collector::start`] does it.
    fn start(&mut self) {
        match self.open() {
            Ok(running) => {
                for source in &self.sources {
                    let last = running.ledger.last_sequence(source.id);
                    let (acked, sent) = (source.acked, source.sent);
                    assert!(acked <= last && last <= sent, "acked {acked}, on disk {last}, sent {sent}");
                }
                self.tell(format_args!("start: durable up to {}", running.durable));
                self.seen.note(Seen::Start);
                self.running = Some(running);
            }
            Err(error) => {
                self.seen.note(Seen::StartFailed);
                self.tell(format_args!("no start: {}", crate::chain(&*error)));
            }
        }
    }

    fn open(&self) -> Result<Running, Box<dyn std::error::Error>> {
        let ledger = SharedLedger::for_segments_of(SEGMENT);
        let fs = Arc::new(self.fs.clone());
        let (writer, recovery) = Writer::open(fs, Path::new(DIR), self.options.clone(), ledger.clone())?;
        assert!(!recovery.lost && !recovery.rebuilt, "{recovery:?}");
        let (committer, stepper) = Committer::stepped(writer, Bounds::default(), Hooks::default())?;
        let mut trails = Vec::new();
        for ((name, rotate), store) in TRAILS.iter().zip(&self.rotates).zip(&self.stores) {
            let accepted = ledger.totals().accepted;
            let progress = Progress::load(&committer.cursors(), name, committer.durable(), accepted)?;
            let home = Home::new(None, self.completion.account.clone());
            let (key, object) = PublishedKey::seal(home.clone(), &**SIGNER)?;
            let trail = Trail {
                name: name.parse()?,
                home,
                region: self.completion.region.clone(),
                collector: COLLECTOR,
                workload: None,
                rotate: rotate.clone(),
                signer: Arc::clone(&*SIGNER) as Arc<dyn Signer>,
                public_key: (key, Bytes::from(object)),
            };
            let reading = committer.clone();
            let readers = Box::new(move |position| reading.reader(position));
            trails.push(Shipper::new(trail, store.clone(), committer.cursors(), readers, progress));
        }
        let durable = committer.durable();
        Ok(Running { ledger, committer, stepper, trails, ending: None, stale: Vec::new(), durable })
    }

    /// The process is gone, and with it what it had in memory. What the disk keeps is up to the draw.
    fn crash(&mut self) {
        let survival = match self.draw.below(4) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            _ => Survival::Some(self.draw.any()),
        };
        self.tell(format_args!("the power goes: {survival:?}"));
        self.seen.note(Seen::Crash);
        self.leave();
        self.fs.crash(survival);
        if self.draw.one_in(3) {
            for store in &self.stores {
                if store.state().rebuild_last() {
                    self.seen.note(Seen::AnotherBuild);
                }
            }
        }
    }

    /// The process ends, and the system goes on.
    fn leave(&mut self) {
        self.running = None;
        for source in &mut self.sources {
            source.stream = None;
        }
    }

    fn act(&mut self, act: Act) {
        let live = self.sources.len() - SOURCES;
        let at = live + self.draw.below(SOURCES as u64) as usize;
        match act {
            Act::Make => {
                let count = self.draw.between(1, 8);
                (0..count).for_each(|_| self.sources[at].make(&mut self.draw));
            }
            Act::Connect => {
                if self.sources[at].stream.is_none() || self.draw.one_in(6) {
                    self.with(|world, running| world.sources[at].connect(&running.committer));
                }
            }
            Act::Send => {
                let overlap = if self.draw.one_in(3) { self.draw.below(30) } else { 0 };
                self.send(at, overlap);
            }
            Act::Commit => self.with(|_, running| running.stepper.step()),
            Act::Attend => self.attend(at),
            Act::Ship(trail) => drop(self.ship(trail, false)),
            Act::EndIntents => self.end_intents(false),
            Act::Stale => self.stale(),
            Act::Disconnect => self.sources[at].stream = None,
            Act::Replace => {
                // Up to three new ones, beside those that are gone.
                if self.sources.len() < 2 * SOURCES {
                    let id = self.sources[live].id;
                    self.tell(format_args!("source {id} is gone for good"));
                    self.sources[live].stream = None;
                    self.sources[live].gone = true;
                    self.enter();
                }
            }
            Act::Wait => self.now_ms += i64::try_from(self.draw.between(1, 800)).unwrap(),
            Act::ClockJump => {
                let range = self.draw.pick(&[5_000, 3_600_000, 200_000_000]);
                let by = i64::try_from(self.draw.below(2 * range)).unwrap() - i64::try_from(range).unwrap();
                self.now_ms += by;
                self.seen.note(if by < 0 { Seen::ClockBack } else { Seen::ClockForward });
            }
            Act::StoreFault => {
                let mut store = self.stores[self.draw.below(2) as usize].state();
                store.fails_one_in = self.draw.pick(&[0, 0, 2, 5, 12]);
                store.away = self.draw.one_in(4);
            }
            Act::DiskFault => self.disk_fault(),
            Act::DiskFull => {
                let room = if self.draw.one_in(2) { None } else { Some(self.draw.below(20_000)) };
                let used = || self.fs.sizes("").values().sum::<u64>();
                self.fs.set_capacity(room.map(|room| used() + room));
            }
            Act::Crash => match self.draw.below(3) {
                0 => {
                    self.tell(format_args!("the collector is stopped"));
                    self.with(|_, running| running.stepper.step());
                    (0..self.sources.len()).for_each(|at| self.attend(at));
                    self.leave();
                }
                1 => self.leave(),
                _ => self.crash(),
            },
        }
    }

    fn disk_fault(&mut self) {
        let ops = [
            Op::Create,
            Op::Write,
            Op::Write,
            Op::SetLen,
            Op::Sync,
            Op::Sync,
            Op::Rename,
            Op::Remove,
            Op::SyncDir,
        ];
        let others = [Op::Open, Op::List, Op::Lock, Op::Read];
        let op = if self.draw.one_in(5) { self.draw.pick(&others) } else { self.draw.pick(&ops) };
        let nth = if self.draw.one_in(4) { self.draw.between(1, 30) } else { self.draw.between(1, 4) };
        let fault = self.draw.pick(&[Fault::Lost, Fault::Kept, Fault::Crash]);
        let kind = self.draw.pick(&[std::io::ErrorKind::Other, std::io::ErrorKind::StorageFull]);
        self.tell(format_args!("{op:?} number {nth} from now is to be {fault:?}"));
        self.fs.plan(op, nth, fault, kind);
    }

    /// Lends what runs, if it does.
    fn with(&mut self, act: impl FnOnce(&mut Self, &mut Running)) {
        if let Some(mut running) = self.running.take() {
            act(self, &mut running);
            self.running = Some(running);
        }
    }

    fn send(&mut self, at: usize, overlap: u64) {
        let count = self.draw.between(1, 25) as usize;
        self.with(|world, running| {
            let queued = world.sources[at].send(&running.committer, overlap, count, world.now_ms);
            for entry in queued {
                if world.stale.len() < STALE {
                    world.stale.push(entry);
                } else {
                    world.stale[world.draw.below(STALE as u64) as usize] = entry;
                }
            }
        });
    }

    /// A frame that was sent before is sent again, by a stream that nobody knew to be still there.
    fn stale(&mut self) {
        if self.stale.is_empty() {
            return;
        }
        let entry = self.stale[self.draw.below(self.stale.len() as u64) as usize].clone();
        self.seen.note(Seen::Stale);
        self.with(|_, running| {
            let slot = Slot::default();
            let tell = Arc::clone(&slot);
            let done = move |result: Result<_, Error>| *tell.lock().unwrap() = Some(result);
            drop(running.committer.append(entry, done));
            running.stale.push(slot);
        });
    }

    fn attend(&mut self, at: usize) {
        let mut stopped = false;
        self.with(|world, running| {
            let source = &mut world.sources[at];
            let answers = source.attend(&world.completion, &running.ledger);
            stopped = answers.stopped;
            for (happened, what) in
                [(answers.acks > 0, Seen::Ack), (answers.refused, Seen::Refused), (answers.full, Seen::Full)]
            {
                if happened {
                    world.seen.note(what);
                }
            }
            let (id, acked) = (source.id, source.acked);
            if answers != super::source::Answers::default() {
                world.tell(format_args!("source {id}: acked {acked}, {answers:?}"));
            }
        });
        if stopped {
            // As a collector does whose spool has failed: the process ends. The system goes on, or the disk was only the
            // first to go.
            self.seen.note(Seen::SpoolFailed);
            self.tell(format_args!("the spool has failed"));
            if self.draw.one_in(2) { self.crash() } else { self.leave() }
        }
    }

    fn ship(&mut self, trail: usize, flush: bool) -> bool {
        let mut idle = false;
        self.with(|world, running| match running.trails[trail].step(world.now_ms, flush) {
            Ok(Step::Shipped(shipped)) => {
                let objects = &world.stores[trail].state().objects;
                assert!(objects.contains_key(&shipped.manifest), "{} is not in the store", shipped.manifest);
                running.committer.release();
                world.seen.note(Seen::Shipped);
                let name = TRAILS[trail];
                if world.trace.is_some() {
                    drop(shipped.log);
                    eprintln!("      {name} shipped {} records: {}", shipped.records, shipped.manifest);
                }
            }
            Ok(Step::Idle { .. }) => idle = true,
            Err(error) => {
                world.seen.note(Seen::ShipFailed);
                let name = TRAILS[trail];
                world.tell(format_args!("{name} cannot ship: {}", crate::chain(&error)));
            }
        });
        idle
    }

    /// What the emitter does, for sources without a stream: those that are gone, or all `at_the_end`.
    fn end_intents(&mut self, at_the_end: bool) {
        self.with(|world, running| {
            if let Some(slot) = &running.ending {
                let Some(answer) = slot.lock().unwrap().take() else { return };
                running.ending = None;
                match answer {
                    Ok(_) => world.seen.note(Seen::Incomplete),
                    Err(error) => assert!(error.kind() != Kind::Reject || !at_the_end, "{error}"),
                }
            }
            let ledger = &running.ledger;
            let mut open = ledger.with_open_intents();
            open.sort_unstable();
            let away = |source: &Source| source.stream.is_none();
            let due = open.into_iter().find(|id| {
                world.sources.iter().any(|source| source.id == *id && (at_the_end || away(source)))
            });
            let Some(source) = due else { return };
            let intents = ledger.open_intents(source, MAX_INTENTS);
            let first = ledger.last_sequence(COLLECTOR) + 1;
            let frame = incomplete_frame((COLLECTOR, first), source, &intents, world.now_ms, &Arc::default())
                .unwrap();
            let slot = Slot::default();
            let tell = Arc::clone(&slot);
            let done = move |result: Result<_, Error>| *tell.lock().unwrap() = Some(result);
            drop(running.committer.append(Entry { meta: frame.meta, body: frame.body }, done));
            running.ending = Some(slot);
        });
    }

    /// No more faults, but for what the store has yet to do.
    fn heal(&mut self) {
        self.fs.unplan();
        self.fs.set_capacity(None);
        self.crash();
        for store in &self.stores {
            let mut store = store.state();
            (store.fails_one_in, store.away) = (0, false);
        }
        self.start();
    }

    /// Sends, ends and ships what is left. It must come to an end.
    fn drain(&mut self) -> Running {
        for round in 0..DRAIN_STEPS {
            assert!(
                self.running.is_some(),
                "the collector does not start, or its spool failed, without a fault"
            );
            let mut through = true;
            for at in 0..self.sources.len() {
                if self.sources[at].gone || self.sources[at].is_through() {
                    continue;
                }
                through = false;
                if self.sources[at].stream.is_none() {
                    self.with(|world, running| world.sources[at].connect(&running.committer));
                }
                self.send(at, 0);
            }
            if through {
                self.end_intents(true);
            }
            self.with(|_, running| running.stepper.step());
            (0..self.sources.len()).for_each(|at| self.attend(at));
            let idle = [0, 1].map(|trail| self.ship(trail, true));
            self.look();
            let ended = self.running.as_ref().is_some_and(|running| running.ledger.totals().open == 0);
            if round > 0 && through && ended && idle == [true, true] {
                return self.running.take().expect("it runs");
            }
        }
        panic!("it does not come to an end");
    }
}
