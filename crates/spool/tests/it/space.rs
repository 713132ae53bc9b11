//! Full, locked, read-only, and wrong from the start.

use std::{io::ErrorKind, path::Path};

use sidetrail_spool::{Appended, Error, Kind, MAX_META, Options, Position};

use crate::{
    driver::{DIR, body, fill, meta, open, small},
    memory::{Fault, MemoryFs, Op},
};

#[test]
fn a_full_budget_and_then_a_release() {
    for spares in [0, 2] {
        let fs = MemoryFs::default();
        let (mut writer, _) = open(&fs, small().with_spares(spares)).unwrap();
        writer.cursors().set("main", Position::START, b"").unwrap();
        let mut next = 1;
        let error = loop {
            match writer.append(&meta(next), &body(next)) {
                Ok(_) => next += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Full { used, budget, needed } if used + needed > budget), "{error}");
        assert_eq!(error.kind(), Kind::Wait);
        // It stays full over a restart, and what it has is acknowledged all the same.
        writer.sync().unwrap();
        drop(writer);
        let (mut writer, _) = open(&fs, small().with_spares(spares)).unwrap();
        assert_eq!(writer.append(&meta(next - 1), &body(next - 1)).unwrap(), Appended::AlreadyHave);
        assert!(matches!(writer.append(&meta(next), &body(next)), Err(Error::Full { .. })));
        assert_eq!(writer.release().unwrap(), 0, "the cursor holds everything");
        let end = writer.end();
        writer.cursors().set("main", end, b"").unwrap();
        assert!(writer.release().unwrap() > 0);
        assert_eq!(writer.usage().segments, 1);
        fill(&mut writer, next..=next + 20);
        assert!(writer.usage().bytes <= writer.usage().budget);
    }
}

/// Whatever the sizes of the frames, releasing all that was read makes room for the next one.
#[test]
fn the_smallest_budget_never_locks_up() {
    let fs = MemoryFs::default();
    let sizes = small();
    let budget = sizes.min_budget();
    let options =
        Options::new(budget).with_segment_bytes(4 << 10).with_max_body(6 << 10).with_max_snapshot(256);
    assert!(matches!(open(&fs, options), Err(Error::Options(_))));
    let options = Options::new(0).with_segment_bytes(4 << 10).with_max_body(6 << 10).with_max_snapshot(256);
    let options = Options::new(options.min_budget())
        .with_segment_bytes(4 << 10)
        .with_max_body(6 << 10)
        .with_max_snapshot(256);
    let (mut writer, _) = open(&fs, options).unwrap();
    for sequence in 1..200 {
        let body = vec![7; (sequence as usize * 1511) % (6 << 10)];
        if writer.append(&meta(sequence), &body).is_err() {
            writer.cursors().set("main", writer.end(), b"").unwrap();
            writer.release().unwrap();
            writer.append(&meta(sequence), &body).unwrap();
        }
        writer.sync().unwrap();
    }
}

#[test]
fn a_full_disk_and_then_room() {
    let fs = MemoryFs::default();
    let (mut writer, _) = open(&fs, small()).unwrap();
    fill(&mut writer, 1..=30);
    let end = writer.end();
    for room in 0..600 {
        fs.set_capacity(Some(fs.sizes("").values().sum::<u64>() + room));
        let error = writer.append(&meta(31), &[1; 600]).unwrap_err();
        assert!(matches!(&error, Error::DiskFull { path, .. } if path.starts_with(DIR)), "{error}");
        assert_eq!((error.kind(), writer.ledger().last, writer.end().segment), (Kind::Wait, 30, end.segment));
    }
    fs.set_capacity(None);
    writer.append(&meta(31), &[1; 600]).unwrap();
    fill(&mut writer, 32..=50);
    drop(writer);
    assert_eq!(open(&fs, small()).unwrap().0.ledger().last, 50);
}

#[test]
fn a_read_only_directory_is_named() {
    let fs = MemoryFs::default();
    fs.plan(Op::Lock, 1, Fault::Lost, ErrorKind::ReadOnlyFilesystem);
    let error = open(&fs, small()).unwrap_err();
    assert_eq!(error.to_string(), "cannot lock /spool/lock");
    fs.plan(Op::Create, 1, Fault::Lost, ErrorKind::PermissionDenied);
    let error = open(&fs, small()).unwrap_err();
    assert_eq!(error.to_string(), "cannot create /spool/00000000000000000001.seg.tmp");
}

#[test]
fn one_writer() {
    let fs = MemoryFs::default();
    let (writer, _) = open(&fs, small()).unwrap();
    let error = open(&fs, small()).unwrap_err();
    assert!(matches!(&error, Error::Locked { path } if path == Path::new("/spool/lock")), "{error}");
    drop(writer);
    open(&fs, small()).unwrap();
}

#[test]
fn limits_are_refused_before_anything_happens() {
    let fs = MemoryFs::default();
    let (mut writer, _) = open(&fs, small()).unwrap();
    let end = writer.end();
    for (meta, body) in
        [(vec![0; MAX_META + 1], vec![]), (meta(1).to_vec(), vec![0; 1025]), (meta(7).to_vec(), vec![])]
    {
        assert_eq!(writer.append(&meta, &body).unwrap_err().kind(), Kind::Reject);
    }
    assert_eq!(writer.end(), end);
    let cursors = writer.cursors();
    cursors.set("a", Position::new(3, 4), b"").unwrap();
    for (name, position, payload) in [
        ("a", Position::new(3, 3), vec![]),
        ("A", Position::new(3, 4), vec![]),
        ("b", Position::START, vec![0; (64 << 10) + 1]),
    ] {
        assert_eq!(cursors.set(name, position, &payload).unwrap_err().kind(), Kind::Reject);
    }
    for options in
        [small().with_segment_bytes(1), small().with_segment_bytes(1 << 40), small().with_max_body(1 << 30)]
    {
        assert_eq!(open(&MemoryFs::default(), options).unwrap_err().kind(), Kind::Stop);
    }
}

/// A failed sync is never followed by a good one, though the file system says so.
#[test]
fn a_failed_sync_is_final() {
    let fs = MemoryFs::default();
    let (mut writer, _) = open(&fs, small()).unwrap();
    fill(&mut writer, 1..=3);
    let durable = writer.watermark().get();
    writer.append(&meta(4), &body(4)).unwrap();
    fs.plan(Op::Sync, 1, Fault::Lost, ErrorKind::Other);
    assert_eq!(writer.sync().unwrap_err().kind(), Kind::Stop);
    assert_eq!(writer.sync().unwrap_err().kind(), Kind::Stop);
    assert_eq!(writer.append(&meta(2), &body(2)).unwrap_err().kind(), Kind::Stop, "not even what it has");
    assert_eq!(writer.watermark().get(), durable);
}

#[test]
fn a_removed_cursor_holds_nothing() {
    let fs = MemoryFs::default();
    let (mut writer, _) = open(&fs, small()).unwrap();
    fill(&mut writer, 1..=40);
    assert_eq!(writer.release().unwrap(), 0, "nobody has read anything");
    let cursors = writer.cursors();
    cursors.set("slow", Position::new(2, 0), b"").unwrap();
    cursors.set("fast", writer.end(), b"").unwrap();
    writer.release().unwrap();
    assert_eq!(writer.usage().oldest, 2);
    cursors.remove("slow").unwrap();
    cursors.remove("slow").unwrap();
    writer.release().unwrap();
    assert_eq!(writer.usage().oldest, writer.end().segment);
}
