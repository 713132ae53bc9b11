//! The fault table: every operation of a run fails in every way, and then the power goes.

use std::io::ErrorKind;

use sidetrail_spool::{Kind, Position};

use crate::{
    driver::{Driver, body, fill, meta, open, small},
    memory::{Fault, MemoryFs, Op, Survival},
};

/// Forty frames in batches of three; the consumer follows, and segments are released and recycled.
fn run(fs: MemoryFs, spares: usize, survival: Survival) -> Driver {
    let mut driver = Driver::new(fs, small().with_spares(spares), survival);
    let mut rounds = 0;
    while driver.acked < 40 {
        rounds += 1;
        assert!(rounds < 100, "no progress beyond {}", driver.acked);
        for _ in 0..3 {
            driver.append();
        }
        driver.sync();
        if rounds % 2 == 0 {
            driver.read(5);
            driver.note();
            driver.release();
        }
    }
    driver
}

fn table(op: Op, kind: ErrorKind) {
    // Released segments are removed in the one, and overwritten in the other.
    assert!(table_with(op, kind, 0) + table_with(op, kind, 1) > 0, "{op:?} never happens");
}

fn table_with(op: Op, kind: ErrorKind, spares: usize) -> u64 {
    let fs = MemoryFs::default();
    run(fs.clone(), spares, Survival::Nothing).finish(Survival::Nothing);
    let count = fs.count(op);
    // Reads are many and alike.
    let step = 1 + count as usize / 60;
    for nth in (1..=count).step_by(step) {
        for fault in [Fault::Lost, Fault::Kept, Fault::Crash] {
            for survival in
                [Survival::Nothing, Survival::Everything, Survival::Some(nth), Survival::Some(nth + 1000)]
            {
                let case = format!("{op:?} number {nth} {fault:?} {survival:?} {spares} spares");
                let result = std::panic::catch_unwind(|| {
                    let fs = MemoryFs::default();
                    fs.plan(op, nth, fault, kind);
                    run(fs, spares, survival).finish(survival);
                });
                assert!(result.is_ok(), "{case}");
            }
        }
    }
    count
}

#[test]
fn segment_or_cursor_create() {
    table(Op::Create, ErrorKind::PermissionDenied);
}

#[test]
fn frame_header_or_cursor_write() {
    table(Op::Write, ErrorKind::StorageFull);
}

#[test]
fn data_sync() {
    table(Op::Sync, ErrorKind::Other);
}

#[test]
fn data_sync_on_full_disk() {
    table(Op::Sync, ErrorKind::StorageFull);
}

#[test]
fn directory_sync() {
    table(Op::SyncDir, ErrorKind::Other);
}

#[test]
fn rename() {
    table(Op::Rename, ErrorKind::Other);
}

#[test]
fn segment_delete() {
    table(Op::Remove, ErrorKind::Other);
}

#[test]
fn truncate() {
    table(Op::SetLen, ErrorKind::Other);
}

#[test]
fn open_list_lock_read() {
    for op in [Op::Open, Op::List, Op::Lock, Op::Read] {
        table(op, ErrorKind::Other);
    }
}

/// The undo of a failed write is a commit point of its own.
#[test]
fn truncate_after_a_failed_write() {
    for fault in [Fault::Lost, Fault::Kept, Fault::Crash] {
        for survival in [Survival::Nothing, Survival::Everything, Survival::Some(3), Survival::Some(4)] {
            let fs = MemoryFs::default();
            let mut driver = Driver::new(fs.clone(), small(), survival);
            for _ in 0..4 {
                driver.append();
            }
            driver.sync();
            // One more frame goes through, so that the undo is not all there is to lose.
            driver.append();
            fs.set_capacity(Some(fs.sizes("").values().sum()));
            fs.plan(Op::SetLen, 1, fault, ErrorKind::Other);
            driver.append();
            fs.set_capacity(None);
            for _ in 0..9 {
                driver.append();
                driver.sync();
            }
            driver.finish(survival);
        }
    }
}

/// The new segment may be there though making it failed: its snapshot must stay true.
#[test]
fn a_segment_that_was_closed_takes_nothing_more() {
    let fs = MemoryFs::default();
    let (mut writer, _) = open(&fs, small()).unwrap();
    let mut next = 1;
    while writer.end().offset < 3200 {
        fill(&mut writer, next..=next);
        next += 1;
    }
    fs.plan(Op::Rename, 1, Fault::Kept, ErrorKind::Other);
    assert_eq!(writer.append(&meta(next), &[1; 1000]).unwrap_err().kind(), Kind::Wait);
    writer.append(&meta(next), b"small").unwrap();
    writer.sync().unwrap();
    assert_eq!(writer.end().segment, 2);
    drop(writer);
    let (writer, _) = open(&fs, small()).unwrap();
    assert_eq!(writer.ledger().last, next);
    let mut reader = writer.reader(Position::START);
    (0..next).for_each(|_| assert!(reader.read().unwrap().is_some()));
    assert_eq!(reader.read().unwrap(), None);
}

/// Until the new name of a spare file is durable, a crash would make it a segment again.
#[test]
fn a_spare_file_is_not_used_before_its_name_is_durable() {
    let fs = MemoryFs::default();
    let (mut writer, _) = open(&fs, small()).unwrap();
    fill(&mut writer, 1..=20);
    let end = writer.end();
    writer.cursors().set("main", end, b"").unwrap();
    fs.plan(Op::SyncDir, 1, Fault::Lost, ErrorKind::Other);
    writer.release().unwrap_err();
    let before = fs.count(Op::SyncDir);
    let mut next = 21;
    while writer.end().segment == end.segment {
        writer.append(&meta(next), &body(next)).unwrap();
        next += 1;
    }
    assert_eq!(fs.count(Op::SyncDir) - before, 2);
}
