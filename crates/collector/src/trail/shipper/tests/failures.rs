//! What is damaged, foreign, or makes no sense: nothing is overwritten, the trail goes on, and the bucket says what is
//! missing.

use std::os::unix::fs::FileExt;

use sidetrail_archive::quarantine;
use sidetrail_archive::verify::Kind;

use super::*;

/// Destroys the frame that holds a record, on disk and beneath its checksum.
fn damage(directory: &Path, id: u64) {
    let needle = format!(r#"{{"eventID":"{id}","padding""#);
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle.as_bytes()) {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(b"damaged", at as u64).unwrap();
            return;
        }
    }
    panic!("record {id} is not in the spool");
}

fn kinds(store: &Memory) -> Vec<&'static str> {
    let mut kinds: Vec<_> = verified(store).findings.iter().map(|finding| finding.kind.name()).collect();
    kinds.sort_unstable();
    kinds
}

#[test]
fn a_damaged_part_of_the_spool_has_a_receipt() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path());
    (1..=FRAMES).for_each(|frame| append(&writer, frame));
    damage(directory.path(), 2 * RECORDS + 1);
    let store = Arc::new(Memory::default());
    ship(&writer, &store, false);

    let lost = 2 * RECORDS + 1..=3 * RECORDS;
    let expected: Vec<_> = (1..=FRAMES * RECORDS).filter(|id| !lost.contains(id)).collect();
    assert_eq!(ids(&store), expected, "the good frames survive");
    let report = verified(&store);
    assert_eq!(report.outcome(), Outcome::ValidWithLosses, "{report:?}");
    assert_eq!(kinds(&store), ["lost", "spool loss"]);
    let gap = report.findings.iter().find_map(|finding| match finding.kind {
        Kind::Lost { from, to, .. } => Some(from..=to),
        _ => None,
    });
    assert_eq!(gap, Some(lost));
}

/// Nothing else has come, and nobody waits for a batch's age to hear of a loss.
#[test]
fn a_loss_at_the_end_is_said_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path());
    append(&writer, 1);
    damage(directory.path(), 1);
    let store = Arc::new(Memory::default());
    let mut shipper = shipper(&writer, &store);
    assert!(matches!(shipper.step(NOW_MS, false).unwrap(), Step::Shipped(shipped) if shipped.losses == 1));
    assert_eq!(kinds(&store), ["spool loss"]);
}

#[test]
fn a_frame_that_makes_no_sense_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path());
    append(&writer, 1);
    // A body that does not decompress, and a meta whose counts do not add up.
    let poison = FrameMeta { encoding: BodyEncoding::JoinedZstd.into(), ..meta(2, 1000) };
    append_raw(&writer, &poison, b"no zstd");
    append_raw(&writer, &FrameMeta { records: 99, ..meta(3, 9) }, b"{\"a\":\"b\"}");
    append(&writer, 4);
    // Whatever fails and whenever, the same objects come of it.
    for at in 1..16 {
        let store = Arc::new(Memory { fault: Some((at, Fault::Kept)), ..Memory::default() });
        let spool = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), spool.path().join(entry.file_name())).unwrap();
        }
        let copy = open(spool.path());
        // Only what one cursor has not passed is read, and each copy starts at the beginning.
        ship(&copy, &store, at % 2 == 0);
        let expected: Vec<_> = (1..=RECORDS).chain(3 * RECORDS + 1..=4 * RECORDS).collect();
        assert_eq!(ids(&store), expected);
        assert_eq!(kinds(&store), ["lost", "quarantined", "quarantined"], "request {at}");
        let objects = store.objects.lock().unwrap();
        let frames: Vec<_> =
            objects.iter().filter(|(key, _)| key.contains("/Sidetrail-Quarantine/")).collect();
        assert_eq!(frames.len(), 2);
        let bodies: Vec<_> = frames.iter().map(|(_, bytes)| quarantine::read(bytes).unwrap().2).collect();
        assert!(bodies.contains(&&b"no zstd"[..]) && bodies.contains(&&b"{\"a\":\"b\"}"[..]));
        drop(objects);

        let key = store.objects.lock().unwrap().keys().find(|key| key.ends_with(".frame")).unwrap().clone();
        store.objects.lock().unwrap().insert(key, "changed".into());
        assert_eq!(verified(&store).outcome(), Outcome::Invalid, "a changed frame is found");
    }
}

/// What somebody else wrote under our name is left as it is, and the batch goes elsewhere.
#[test]
fn a_foreign_object_is_not_overwritten() {
    let make = || {
        let directory = tempfile::tempdir().unwrap();
        let writer = open(directory.path());
        append(&writer, 1);
        (directory, writer)
    };
    let (_directory, writer) = make();
    let store = Arc::new(Memory::default());
    ship(&writer, &store, false);
    let names: Vec<_> = store.objects.lock().unwrap().keys().cloned().collect();
    let log = names.iter().find(|key| key.ends_with(".gz")).unwrap();
    let manifest = names.iter().find(|key| key.contains("/Sidetrail-Manifest/")).unwrap();

    for die in [false, true] {
        let (_directory, writer) = make();
        let store = Arc::new(Memory::default());
        store.objects.lock().unwrap().insert(log.clone(), Bytes::from_static(b"somebody else's"));
        ship(&writer, &store, die);
        assert_eq!(store.objects.lock().unwrap()[log], "somebody else's");
        assert_eq!(kinds(&store), ["superseded"]);

        store.objects.lock().unwrap().insert(log.clone(), Bytes::from_static(b"changed later"));
        assert_eq!(kinds(&store), ["uncommitted"], "the manifest names the bytes that it found");
        store.objects.lock().unwrap().remove(log);
        check(&store, 1, "without it");

        let (_directory, writer) = make();
        let store = Arc::new(Memory::default());
        store.objects.lock().unwrap().insert(manifest.clone(), Bytes::from_static(b"somebody else's"));
        ship(&writer, &store, die);
        assert_eq!(store.objects.lock().unwrap()[manifest], "somebody else's");
        assert_eq!(kinds(&store), ["malformed"]);
    }
}

/// A part of a planned batch is damaged before the plan is repeated: nothing that is left is lost, and nothing is stuck.
#[test]
fn a_plan_survives_the_damage_of_its_frames() {
    // Up to where the first attempt comes, and what is found then.
    let cases: [(u64, &[&str]); 4] = [
        (LOG_PUT, &["lost", "spool loss", "superseded"]),
        (LOG_PUT + 1, &["lost", "spool loss", "superseded"]),
        (LOG_PUT + 2, &[]),
        (LOG_PUT + 3, &[]),
    ];
    for (stored, expected) in cases {
        for late in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let writer = open(directory.path());
            append(&writer, 1);
            append(&writer, 2);
            let store = Arc::new(Memory { fault: Some((stored, Fault::Kept)), ..Memory::default() });
            shipper(&writer, &store).step(NOW_MS, true).unwrap_err();
            if late {
                append(&writer, 3);
            }
            damage(directory.path(), 1);
            ship(&writer, &store, true);
            assert_eq!(kinds(&store), expected, "request {stored}");
            let frames = if late { 3 } else { 2 };
            let mut found = ids(&store);
            found.dedup();
            assert_eq!(
                found,
                (1..=frames * RECORDS).collect::<Vec<_>>(),
                "request {stored}: nothing is lost"
            );
        }
    }
}

/// Ages, names and the times of the chain while the clock does what it wants.
#[test]
fn a_clock_that_jumps_costs_nothing() {
    const DAY_MS: i64 = 86_400_000;
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path());
    let store = Arc::new(Memory::default());
    let mut shipper = shipper(&writer, &store);
    let at = |frame, received_unix_ms| {
        let record = format!(r#"{{"eventID":"{frame}"}}"#);
        let meta = FrameMeta {
            first_sequence: frame,
            last_sequence: frame,
            records: 1,
            received_unix_ms,
            ..meta(1, record.len())
        };
        append_raw(&writer, &meta, record.as_bytes());
    };
    let mut day = |now: i64| match shipper.step(now, false).unwrap() {
        Step::Shipped(shipped) => shipped.manifest.split('/').skip(4).take(3).collect::<Vec<_>>().join("-"),
        idle @ Step::Idle { .. } => panic!("{idle:?}"),
    };
    at(1, NOW_MS);
    assert_eq!(day(NOW_MS + DAY_MS), "2026-01-16", "a jump forward makes it due");
    at(2, NOW_MS + DAY_MS);
    assert_eq!(day(NOW_MS), "2026-01-16", "a jump back makes it due, and the chain does not go back");
    at(3, NOW_MS);
    assert_eq!(day(NOW_MS + 60_000), "2026-01-16");
    at(4, NOW_MS + 2 * DAY_MS);
    assert_eq!(day(NOW_MS + 2 * DAY_MS + 60_000), "2026-01-17");
    assert_eq!(shipper.progress().ahead_s(NOW_MS), 2 * 86_400 + 60);
    assert_eq!(shipper.progress().ahead_s(NOW_MS + 3 * DAY_MS), 0);
    assert_eq!(ids(&store), [1, 2, 3, 4]);
    assert_eq!(verified(&store).outcome(), Outcome::Valid);
}

/// A frame that comes after the caller has looked at the clock is no reason to think that it was set back.
#[test]
fn a_frame_from_a_moment_later_does_not_hurry_the_batch() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path());
    append(&writer, 1);
    let step = shipper(&writer, &Arc::default()).step(NOW_MS - 5, false).unwrap();
    assert_eq!(step, Step::Idle { until_unix_ms: Some(NOW_MS + 60_000) });
}

/// What a source said it had numbered and what never came is a finding, and no longer once it comes.
#[test]
fn what_never_came_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path());
    append(&writer, 1);
    let note = FrameMeta {
        first_sequence: RECORDS + 1,
        last_sequence: RECORDS,
        records: 0,
        assigned: 2 * RECORDS,
        ..meta(2, 0)
    };
    append_raw(&writer, &note, b"");
    let store = Arc::new(Memory::default());
    ship(&writer, &store, false);
    let report = verified(&store);
    assert_eq!(report.outcome(), Outcome::ValidWithLosses);
    assert!(
        matches!(
            report.findings[..],
            [verify::Finding { kind: Kind::NotArrived { from: 4, to: 6, .. }, .. }]
        ),
        "{report:?}"
    );
    append(&writer, 2);
    ship(&writer, &store, false);
    check(&store, 2, "it came after all");
}

/// Reasons of drops are in the manifest, by source, and no more of them than drops.
#[test]
fn drops_have_their_reasons() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path());
    let drop = |reason: &str, count| sidetrail_wire::spool::v1::Drop { reason: reason.to_owned(), count };
    let drops = vec![drop("overflow", 2), drop("too large", 1)];
    append_raw(&writer, &FrameMeta { records: 0, dropped: 3, drops, ..meta(1, 0) }, b"");
    let store = Arc::new(Memory::default());
    ship(&writer, &store, false);
    let objects = store.objects.lock().unwrap().clone();
    let (_, bytes) = objects.iter().find(|(key, _)| key.contains("/Sidetrail-Manifest/")).unwrap();
    let payload = Envelope::read(bytes).unwrap().payload;
    let manifest: Manifest = serde_json::from_slice(&payload).unwrap();
    let found: Vec<_> = manifest.drops.iter().map(|drop| (drop.reason.as_str(), drop.count)).collect();
    assert_eq!(found, [("overflow", 2), ("too large", 1)]);
    assert_eq!(verified(&store).outcome(), Outcome::Valid, "that is information");
}

/// What cannot be locked is shipped all the same, remembered over a restart, and locked once that works: until the time
/// that it was to be locked for in the first place.
#[test]
fn locks_are_made_up_for() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path());
    append(&writer, 1);
    let store = Arc::new(Memory::default());
    store.locks.lock().unwrap().broken = true;
    ship(&writer, &store, false);
    check(&store, 1, "without a lock");

    let mut again = shipper(&writer, &store);
    assert_eq!(again.unlocked(), 2, "log file and manifest");
    assert!(again.lock_rest().is_err());
    assert_eq!(again.unlocked(), 2);
    store.locks.lock().unwrap().broken = false;
    again.lock_rest().unwrap();
    assert_eq!((again.unlocked(), shipper(&writer, &store).unlocked()), (0, 0), "on disk too");
    append(&writer, 2);
    ship(&writer, &store, false);

    let objects: Vec<_> = store.objects.lock().unwrap().keys().cloned().collect();
    let locks = store.locks.lock().unwrap();
    assert_eq!(locks.locked.keys().cloned().collect::<Vec<_>>(), objects);
    assert!(locks.locked.values().all(|until| *until == NOW_MS / 1000 + 60), "{locks:?}");
}

/// More than can be remembered: shipping goes on, and the state stays within its bound.
#[test]
fn a_bucket_that_never_locks_holds_up_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let writer = open(directory.path());
    let store = Arc::new(Memory::default());
    store.locks.lock().unwrap().broken = true;
    for frame in 1..=40 {
        append(&writer, frame);
        ship(&writer, &store, false);
    }
    check(&store, 40, "without a lock");
    assert_eq!(shipper(&writer, &store).unlocked(), 64);
}
