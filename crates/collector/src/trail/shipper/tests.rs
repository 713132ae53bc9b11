//! The fault table: each request to the store and each write of the cursor fails, once and for good, with and without
//! effect, and the process goes on or dies. Whatever happens, every event ends in the store exactly once.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use prost::Message;
use sidetrail_archive::key::LogKey;
use sidetrail_archive::manifest::PublishedKey;
use sidetrail_archive::sign::Ed25519Signer;
use sidetrail_archive::source::{Bucket, Entry};
use sidetrail_archive::verify::{self, Options, Outcome};
use sidetrail_spool::{Options as SpoolOptions, OsFs, Writer};
use sidetrail_wire::spool::v1::{BodyEncoding, FrameMeta, Selection, TrailSelection};

use super::*;
use crate::gateway::{FinishedBatch, HandOver};
use crate::ledger::SharedLedger;

mod failures;

const FRAMES: u64 = 7;
const RECORDS: u64 = 3;
/// The request that puts the first log file: the key is looked for, created, created again and confirmed before.
const LOG_PUT: u64 = 5;
const NOW_MS: i64 = 1_768_473_677_000;

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It has no effect.
    Lost,
    /// It has its effect, and the answer is lost.
    Kept,
    /// It has its effect later, after so many more requests.
    Late(u64),
}

/// Objects in memory, and a request that fails.
#[derive(Debug, Default)]
struct Memory {
    objects: Mutex<BTreeMap<String, Bytes>>,
    requests: Mutex<u64>,
    fault: Option<(u64, Fault)>,
    /// What has its effect at which request.
    late: Mutex<Option<(u64, String, Bytes)>>,
    locks: Mutex<Locks>,
}

/// Objects that are locked, and whether the store locks at all.
#[derive(Debug, Default)]
struct Locks {
    broken: bool,
    locked: BTreeMap<String, i64>,
}

impl Memory {
    fn arrive(&self) {
        let mut late = self.late.lock().unwrap();
        if late.as_ref().is_some_and(|(at, ..)| *self.requests.lock().unwrap() >= *at) {
            let (_, key, bytes) = late.take().unwrap();
            self.objects.lock().unwrap().entry(key).or_insert(bytes);
        }
    }

    fn fails(&self) -> Option<Fault> {
        let mut requests = self.requests.lock().unwrap();
        *requests += 1;
        self.fault.filter(|(at, _)| *at == *requests).map(|(_, fault)| fault)
    }
}

fn away(key: &str) -> DestinationError {
    let source = object_store::Error::Generic { store: "memory", source: "away".into() };
    DestinationError::Confirm { key: key.to_owned(), store: "memory".to_owned(), source }
}

impl Destination for Arc<Memory> {
    fn create(&self, key: &str, bytes: &Bytes) -> Result<Put, DestinationError> {
        let fault = self.fails();
        self.arrive();
        match fault {
            Some(Fault::Lost) => return Err(away(key)),
            Some(Fault::Late(requests)) => {
                let due = *self.requests.lock().unwrap() + requests;
                *self.late.lock().unwrap() = Some((due, key.to_owned(), bytes.clone()));
                return Err(away(key));
            }
            _ => {}
        }
        let mut objects = self.objects.lock().unwrap();
        let put = if objects.contains_key(key) { Put::AlreadyExists } else { Put::Created };
        objects.entry(key.to_owned()).or_insert_with(|| bytes.clone());
        if fault.is_some() { Err(away(key)) } else { Ok(put) }
    }

    fn confirm(&self, key: &str, size: u64) -> Result<(), DestinationError> {
        let found = self.objects.lock().unwrap().get(key).map(|bytes| bytes.len() as u64);
        if self.fails().is_some() || found != Some(size) { Err(away(key)) } else { Ok(()) }
    }

    fn read(&self, key: &str, _limit: usize) -> Result<Bytes, DestinationError> {
        if self.fails().is_some() {
            return Err(away(key));
        }
        self.arrive();
        let missing = || object_store::Error::NotFound { path: key.to_owned(), source: "missing".into() };
        let object = self.objects.lock().unwrap().get(key).cloned();
        object.ok_or_else(|| DestinationError::Confirm {
            key: key.to_owned(),
            store: "memory".to_owned(),
            source: missing(),
        })
    }

    fn lock(&self, key: &str, created_unix_s: i64) -> Result<Option<Unlocked>, DestinationError> {
        let until = created_unix_s + 60;
        let unlocked = || Unlocked { key: key.to_owned(), retain_until_unix_s: until };
        Ok((!self.try_lock(key, until)).then(unlocked))
    }

    fn lock_again(&self, unlocked: &Unlocked) -> Result<(), DestinationError> {
        match self.try_lock(&unlocked.key, unlocked.retain_until_unix_s) {
            true => Ok(()),
            false => Err(away(&unlocked.key)),
        }
    }
}

impl Memory {
    fn try_lock(&self, key: &str, until: i64) -> bool {
        let mut locks = self.locks.lock().unwrap();
        if !locks.broken {
            locks.locked.insert(key.to_owned(), until);
        }
        !locks.broken
    }
}

/// The same objects for the verifier.
struct Objects(BTreeMap<String, Bytes>);

impl Bucket for Objects {
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> io::Result<()> {
        for (key, bytes) in self.0.iter().filter(|(key, _)| key.starts_with(prefix)) {
            if visit(Entry::new(key, bytes.len() as u64)).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open<'a>(&'a self, key: &str) -> io::Result<Box<dyn Read + 'a>> {
        self.0
            .get(key)
            .map(|bytes| Box::new(&bytes[..]) as Box<dyn Read>)
            .ok_or(io::ErrorKind::NotFound.into())
    }
}

type SharedWriter = Arc<Mutex<Writer<SharedLedger>>>;

fn open(directory: &Path) -> SharedWriter {
    let options = SpoolOptions::new(64 << 20).with_segment_bytes(4 << 10);
    let (writer, _) = Writer::open(Arc::new(OsFs), directory, options, SharedLedger::default()).unwrap();
    Arc::new(Mutex::new(writer))
}

fn append(writer: &SharedWriter, frame: u64) {
    append_with(writer, frame, |_, _| {});
}

/// `change` gets the meta and the lengths of the records.
fn append_with(writer: &SharedWriter, frame: u64, change: impl FnOnce(&mut FrameMeta, Vec<u32>)) {
    let first = (frame - 1) * RECORDS + 1;
    let record = |sequence| format!(r#"{{"eventID":"{sequence}","padding":"{}"}}"#, "x".repeat(400));
    let records: Vec<_> = (first..first + RECORDS).map(record).collect();
    let lengths = records.iter().map(|record| u32::try_from(record.len()).unwrap()).collect();
    let body = records.join(",");
    let mut meta = meta(frame, body.len());
    change(&mut meta, lengths);
    append_raw(writer, &meta, body.as_bytes());
}

fn meta(frame: u64, body: usize) -> FrameMeta {
    let first = (frame - 1) * RECORDS + 1;
    FrameMeta {
        source: Bytes::from_static(&[1; 16]),
        first_sequence: first,
        last_sequence: first + RECORDS - 1,
        records: u32::try_from(RECORDS).unwrap(),
        body_size: u32::try_from(body).unwrap(),
        encoding: BodyEncoding::Joined.into(),
        oldest_event_time: 1,
        newest_event_time: 2,
        received_unix_ms: NOW_MS,
        ..FrameMeta::default()
    }
}

fn append_raw(writer: &SharedWriter, meta: &FrameMeta, body: &[u8]) {
    let mut writer = writer.lock().unwrap();
    writer.append(&meta.encode_to_vec(), body).unwrap();
    writer.sync().unwrap();
}

fn shipper(writer: &SharedWriter, store: &Arc<Memory>) -> Shipper<Arc<Memory>> {
    let cursors = writer.lock().unwrap().cursors();
    let progress = Progress::load(&cursors, "default", Position::START, 0).unwrap();
    static SIGNER: LazyLock<Arc<Ed25519Signer>> =
        LazyLock::new(|| Arc::new(Ed25519Signer::generate().unwrap()));
    let signer = Arc::clone(&SIGNER);
    let home = Home::new(None, "111122223333".parse().unwrap());
    let (key, object) = PublishedKey::seal(home.clone(), &*signer).unwrap();
    let trail = Trail {
        name: "default".parse().unwrap(),
        home,
        region: "eu-west-1".parse().unwrap(),
        collector: Id([2; 16]),
        workload: None,
        // Two frames fill a log file.
        rotate: Rotate { size: bytesize::ByteSize::kb(2), ..Rotate::default() },
        signer,
        public_key: (key, object.into()),
    };
    let reading = Arc::clone(writer);
    let readers = Box::new(move |position| reading.lock().unwrap().reader(position));
    Shipper::new(trail, Arc::clone(store), cursors, readers, progress)
}

/// Steps until nothing is left, through at most a few errors. With `die` an error is the end of the process.
fn ship(writer: &SharedWriter, store: &Arc<Memory>, die: bool) {
    let mut running = shipper(writer, store);
    for _ in 0..100 {
        match running.step(NOW_MS, true) {
            Ok(Step::Idle { .. }) => return,
            Ok(Step::Shipped(_)) => {
                writer.lock().unwrap().release().unwrap();
            }
            Err(_) if die => running = shipper(writer, store),
            Err(_) => {}
        }
    }
    panic!("it does not come to an end");
}

/// Every event once, in log files that the verifier believes; nothing but what belongs there.
fn check(store: &Memory, frames: u64, case: &str) {
    check_ids(store, &(1..=frames * RECORDS).collect::<Vec<_>>(), case);
}

fn check_ids(store: &Memory, expected: &[u64], case: &str) {
    assert_eq!(ids(store), expected, "{case}");
    let report = verified(store);
    assert_eq!(report.outcome(), Outcome::Valid, "{case}: {report:?}");
}

fn verified(store: &Memory) -> verify::Report {
    verify::run(&Objects(store.objects.lock().unwrap().clone()), &Options::default(), &())
}

/// The ids of all records in all log files.
fn ids(store: &Memory) -> Vec<u64> {
    let objects = store.objects.lock().unwrap().clone();
    let mut ids = Vec::new();
    for (_, bytes) in objects.iter().filter(|(key, _)| key.parse::<LogKey>().is_ok()) {
        let _ = log::read_records(&bytes[..], log::MAX_CONTENT, |record| {
            let record: serde_json::Value = serde_json::from_str(record).unwrap();
            ids.push(record["eventID"].as_str().unwrap().parse::<u64>().unwrap());
            ControlFlow::<()>::Continue(())
        })
        .unwrap();
    }
    ids.sort_unstable();
    ids
}

#[test]
fn every_request_may_fail_in_every_way() {
    let mut cases = 0;
    for die in [false, true] {
        for fault in [Fault::Lost, Fault::Kept, Fault::Late(1), Fault::Late(4)] {
            for at in 1.. {
                let directory = tempfile::tempdir().unwrap();
                let writer = open(directory.path());
                (1..=FRAMES).for_each(|frame| append(&writer, frame));
                let store = Arc::new(Memory { fault: Some((at, fault)), ..Memory::default() });
                ship(&writer, &store, die);
                let case =
                    format!("request {at} {fault:?}, the process {}", if die { "dies" } else { "goes on" });
                check(&store, FRAMES, &case);
                cases += 1;
                if *store.requests.lock().unwrap() < at {
                    break;
                }
            }
        }
    }
    assert!(cases > 120, "only {cases} cases");
}

/// A process that dies after each of its steps, while frames come in between: plans are repeated, not made anew.
#[test]
fn a_plan_is_kept_whatever_comes_after_it() {
    for stored_before_death in 0..4 {
        let directory = tempfile::tempdir().unwrap();
        let writer = open(directory.path());
        append(&writer, 1);
        // The fault falls on the log file, its confirmation, the manifest, its confirmation; what is before is the key.
        let fault = Some((LOG_PUT + stored_before_death, Fault::Kept));
        let store = Arc::new(Memory { fault, ..Memory::default() });
        let mut first = shipper(&writer, &store);
        first.step(NOW_MS, true).unwrap_err();
        drop(first);
        append(&writer, 2);
        let mut second = shipper(&writer, &store);
        // An hour before, by a clock that was set back.
        assert!(
            matches!(second.step(NOW_MS - 3_600_000, true), Ok(Step::Shipped(shipped)) if shipped.records == RECORDS)
        );
        assert!(
            matches!(second.step(NOW_MS - 3_600_000, true), Ok(Step::Shipped(shipped)) if shipped.records == RECORDS)
        );
        check(&store, 2, &format!("{stored_before_death} requests before the end"));
    }
}

#[test]
fn a_batch_waits_for_its_size_or_its_age() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path());
    let store = Arc::new(Memory::default());
    let mut shipper = shipper(&writer, &store);
    assert_eq!(shipper.step(NOW_MS, false).unwrap(), Step::Idle { until_unix_ms: None });
    append(&writer, 1);
    let due = NOW_MS + 60_000;
    assert_eq!(shipper.step(NOW_MS, false).unwrap(), Step::Idle { until_unix_ms: Some(due) });
    assert_eq!(shipper.step(due - 1, false).unwrap(), Step::Idle { until_unix_ms: Some(due) });
    assert!(matches!(shipper.step(due, false).unwrap(), Step::Shipped(_)), "its age");
    append(&writer, 2);
    append(&writer, 3);
    assert!(matches!(shipper.step(NOW_MS, false).unwrap(), Step::Shipped(_)), "its size");
    append(&writer, 4);
    assert!(
        matches!(shipper.step(NOW_MS - 60_001, false).unwrap(), Step::Shipped(_)),
        "a clock that went back"
    );
    check(&store, 4, "four frames");
}

/// The same content compressed by another build: what is stored counts.
#[test]
fn a_log_file_of_another_build_is_adopted() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path());
    append(&writer, 1);
    // The log file is stored, the answer lost, the process replaced.
    let store = Arc::new(Memory { fault: Some((LOG_PUT, Fault::Kept)), ..Memory::default() });
    shipper(&writer, &store).step(NOW_MS, true).unwrap_err();
    {
        let mut objects = store.objects.lock().unwrap();
        let (key, bytes) = objects.iter().find(|(key, _)| key.ends_with(".gz")).unwrap();
        let (key, mut content) = (key.clone(), Vec::new());
        flate2::bufread::GzDecoder::new(&bytes[..]).read_to_end(&mut content).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        io::Write::write_all(&mut encoder, &content).unwrap();
        let again = Bytes::from(encoder.finish().unwrap());
        assert_ne!(objects[&key], again);
        objects.insert(key, again);
    }
    ship(&writer, &store, true);
    check(&store, 1, "adopted");
}

/// What a trail takes is in the frames: others are passed over and counted, whoever repeats the plan.
#[test]
fn a_trail_ships_what_its_frames_say() {
    let select = |taken: &'static [u8]| TrailSelection {
        trail: "default".to_owned(),
        taken: Bytes::from_static(taken),
        oldest_event_time: 1,
        newest_event_time: 1,
    };
    for fault_at in 1..12 {
        let directory = tempfile::tempdir().unwrap();
        let writer = open(directory.path());
        append(&writer, 1);
        append_with(&writer, 2, |meta, lengths| {
            meta.selection = Some(Selection { lengths, trails: vec![select(&[0b101])], filtered: 0 });
        });
        append_with(&writer, 3, |meta, _| {
            meta.selection = Some(Selection { trails: vec![select(&[])], ..Selection::default() });
        });
        let store = Arc::new(Memory { fault: Some((fault_at, Fault::Kept)), ..Memory::default() });
        ship(&writer, &store, true);
        let progress = shipper(&writer, &store).into_progress();
        assert_eq!(progress.counts(), Counts { shipped: 5, filtered: 4, ..Counts::default() });
        assert!(progress.adds_up(9));
        check_ids(&store, &[1, 2, 3, 4, 6], &format!("request {fault_at}"));
    }
}

/// A body that does not fit its meta is not cut anywhere.
#[test]
fn a_frame_that_contradicts_itself_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path());
    append_with(&writer, 1, |meta, mut lengths| {
        lengths[0] += 1;
        let trails =
            vec![TrailSelection { trail: "default".to_owned(), taken: vec![1].into(), ..Default::default() }];
        meta.selection = Some(Selection { lengths, trails, filtered: 0 });
    });
    append(&writer, 2);
    let store = Arc::new(Memory::default());
    ship(&writer, &store, true);
    assert_eq!(ids(&store), (RECORDS + 1..=2 * RECORDS).collect::<Vec<_>>());
    assert_eq!(verified(&store).outcome(), Outcome::ValidWithLosses);
}

/// A gateway that stores at once, into the same bucket, create-only as everybody.
struct Gateway {
    store: Arc<Memory>,
    /// Does it, and the answer is lost.
    mute: bool,
}

impl HandOver for Gateway {
    fn hand_over(&self, objects: FinishedBatch) -> Result<(), HandOverError> {
        let key = PublishedKey::open(&objects.public_key).unwrap();
        let manifest = Manifest::open(&objects.manifest, &[key.public_key]).unwrap();
        let mut put = vec![(key.object.to_string(), objects.public_key)];
        if let Some(log) = &manifest.log_file {
            put.push((log.key.to_string(), objects.log.unwrap()));
        }
        put.push((manifest.manifest.to_string(), objects.manifest));
        let mut stored = self.store.objects.lock().unwrap();
        for (key, bytes) in put {
            let there = stored.entry(key.clone()).or_insert_with(|| bytes.clone());
            assert_eq!(*there, bytes, "{key}");
        }
        if self.mute { Err(HandOverError::Time) } else { Ok(()) }
    }
}

/// The store fails at every request, with and without effect, before the shutdown leaves the rest to a gateway; and the
/// gateway's answer is lost or not. What comes after the next start goes on with the same chain.
#[test]
fn what_is_handed_over_is_what_would_have_been_stored() {
    for (fault, mute) in
        [(Fault::Lost, false), (Fault::Lost, true), (Fault::Kept, false), (Fault::Kept, true)]
    {
        for at in 1..=8 {
            let directory = tempfile::tempdir().unwrap();
            let writer = open(directory.path());
            (1..=FRAMES).for_each(|frame| append(&writer, frame));
            let store = Arc::new(Memory { fault: Some((at, fault)), ..Memory::default() });
            let mut first = shipper(&writer, &store);
            while first.step(NOW_MS, true).is_ok() {}
            let gateway = Gateway { store: Arc::clone(&store), mute };
            let requests = *store.requests.lock().unwrap();
            let handed_over = loop {
                match first.hand_over(NOW_MS + 1, &gateway) {
                    Ok(Step::Shipped(_)) => {}
                    ended => break ended,
                }
            };
            assert_eq!(handed_over.is_err(), mute);
            assert_eq!(*store.requests.lock().unwrap(), requests, "the store is not asked");
            let case = format!("request {at} {fault:?}, mute {mute}");
            if !mute {
                check(&store, FRAMES, &case);
            }
            drop(first);
            append(&writer, FRAMES + 1);
            ship(&writer, &store, false);
            check(&store, FRAMES + 1, &case);
        }
    }
}
