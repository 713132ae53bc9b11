//! What is torn, flipped, cut or gone, and what is said about it.

use std::path::PathBuf;

use sidetrail_spool::{Damage, Error, Item, Position, Reader, Reason, Writer};

use crate::{
    driver::{DIR, Sequence, body, fill, meta, open, sequence, small},
    memory::{MemoryFs, Survival},
};

/// The sizes on disk, as the module doc has them.
const SEGMENT_HEADER: u64 = 40;
const SNAPSHOT: u64 = 8;
const FRAME_HEADER: u64 = 24;

fn path(segment: u64) -> PathBuf {
    PathBuf::from(format!("{DIR}/{segment:020}.seg"))
}

fn read_all(reader: &mut Reader) -> (Vec<u64>, Vec<Damage>) {
    let (mut frames, mut damages) = (Vec::new(), Vec::new());
    while let Some(item) = reader.read().unwrap() {
        match item {
            Item::Frame(frame) => {
                assert_eq!(frame.body, body(sequence(frame.meta)));
                frames.push(sequence(frame.meta));
            }
            Item::Damage(damage) => damages.push(damage),
        }
    }
    (frames, damages)
}

fn but(all: std::ops::RangeInclusive<u64>, missing: &[u64]) -> Vec<u64> {
    all.filter(|it| !missing.contains(it)).collect()
}

/// Forty frames, and where they are.
fn log(fs: &MemoryFs) -> (Writer<Sequence>, Vec<Position>) {
    let (mut writer, _) = open(fs, small()).unwrap();
    let positions = fill(&mut writer, 1..=40);
    assert!(writer.usage().segments >= 4);
    (writer, positions)
}

/// The frames of a segment, with the number and the place of each.
fn frames_of(positions: &[Position], segment: u64) -> Vec<(u64, Position)> {
    (1..).zip(positions.iter().copied()).filter(|(_, position)| position.segment == segment).collect()
}

#[test]
fn torn_tail_at_every_byte() {
    let fs = MemoryFs::default();
    let (mut writer, _) = open(&fs, small()).unwrap();
    fill(&mut writer, 1..=4);
    let last = fill(&mut writer, 5..=5)[0];
    let end = writer.end();
    drop(writer);
    let whole = fs.content(&path(1));
    for (cut, zeros) in (last.offset..end.offset).flat_map(|cut| [(cut, false), (cut, true)]) {
        fs.tamper(&path(1), |bytes| {
            *bytes = whole[..cut as usize].to_vec();
            if zeros {
                bytes.resize(whole.len() + 100, 0);
            }
        });
        let (mut writer, recovery) = open(&fs, small()).unwrap();
        assert_eq!((writer.ledger().last, recovery.replayed), (4, 4), "cut at {cut}");
        assert_eq!(recovery.cut.map(|cut| cut.from), (zeros || cut > last.offset).then_some(last));
        fill(&mut writer, 5..=6);
        assert_eq!(read_all(&mut writer.reader(Position::START)), (but(1..=6, &[]), vec![]));
    }
    // And nothing is cut from what is whole.
    fs.tamper(&path(1), |bytes| *bytes = whole.clone());
    let (writer, recovery) = open(&fs, small()).unwrap();
    assert_eq!((writer.ledger().last, recovery.cut, writer.end()), (5, None, end));
}

#[test]
fn a_flipped_bit_in_every_region_of_a_closed_segment() {
    let fs = MemoryFs::default();
    let (writer, positions) = log(&fs);
    let frames = frames_of(&positions, 2);
    let first = frames[0].1.offset;
    assert_eq!(first, SEGMENT_HEADER + SNAPSHOT);
    let (lost, hit) = frames[2];
    let next = frames[3].1.offset;
    let (lost_last, last) = *frames.last().unwrap();
    let end = fs.content(&path(2)).len() as u64;

    let regions = [
        ("segment header", 0..SEGMENT_HEADER, 0..first, Reason::SegmentHeader, vec![]),
        ("snapshot", SEGMENT_HEADER..first, SEGMENT_HEADER..first, Reason::Snapshot, vec![]),
        (
            "frame header",
            hit.offset..hit.offset + FRAME_HEADER,
            hit.offset..next,
            Reason::FrameHeader,
            vec![lost],
        ),
        (
            "meta",
            hit.offset + FRAME_HEADER..hit.offset + FRAME_HEADER + 8,
            hit.offset..next,
            Reason::Payload,
            vec![lost],
        ),
        ("body", hit.offset + FRAME_HEADER + 8..next, hit.offset..next, Reason::Payload, vec![lost]),
        (
            "last header",
            last.offset..last.offset + FRAME_HEADER,
            last.offset..end,
            Reason::FrameHeader,
            vec![lost_last],
        ),
        ("last body", last.offset + FRAME_HEADER..end, last.offset..end, Reason::Payload, vec![lost_last]),
    ];
    for (name, bytes, range, reason, missing) in regions {
        let damage = Damage { from: Position::new(2, range.start), to: Position::new(2, range.end), reason };
        for at in bytes.clone() {
            let bit = 1 << (at % 8);
            fs.tamper(&path(2), |bytes| bytes[at as usize] ^= bit);
            let found = read_all(&mut writer.reader(Position::START));
            assert_eq!(found, (but(1..=40, &missing), vec![damage]), "{name}, byte {at}");
            fs.tamper(&path(2), |bytes| bytes[at as usize] ^= bit);
        }
    }
}

#[test]
fn a_cut_segment_is_named_wherever_it_is_cut() {
    let fs = MemoryFs::default();
    let (writer, positions) = log(&fs);
    let frames = frames_of(&positions, 2);
    let whole = fs.content(&path(2));
    let end = whole.len() as u64;
    for cut in frames[1].1.offset..end {
        fs.tamper(&path(2), |bytes| bytes.truncate(cut as usize));
        let kept = frames.iter().rposition(|(_, position)| position.offset <= cut).unwrap();
        let from = frames[kept].1;
        let missing: Vec<u64> = frames[kept..].iter().map(|(number, _)| *number).collect();
        let (read, damages) = read_all(&mut writer.reader(Position::START));
        assert_eq!(read, but(1..=40, &missing), "cut at {cut}");
        assert_eq!(damages.len(), 1, "cut at {cut}: {damages:?}");
        assert_eq!((damages[0].from, damages[0].to), (from, Position::new(2, end)), "cut at {cut}");
        fs.tamper(&path(2), |bytes| bytes.clone_from(&whole));
    }
}

#[test]
fn missing_segments_are_named() {
    let fs = MemoryFs::default();
    let (writer, positions) = log(&fs);
    let gone: Vec<u64> =
        [2, 3].iter().flat_map(|it| frames_of(&positions, *it)).map(|(number, _)| number).collect();
    fs.vanish(&path(2));
    fs.vanish(&path(3));
    let damage = Damage { from: Position::new(2, 0), to: Position::new(4, 0), reason: Reason::Missing };
    assert_eq!(read_all(&mut writer.reader(Position::START)), (but(1..=40, &gone), vec![damage]));
    // From the middle of a missing one.
    let from = Position::new(3, 99);
    let (_, damages) = read_all(&mut writer.reader(from));
    assert_eq!(damages, [Damage { from, ..damage }]);
}

/// Whole frames behind a torn one are gone for good: nothing written later makes them follow on.
#[test]
fn frames_behind_a_torn_one_do_not_come_back() {
    let fs = MemoryFs::default();
    let (mut writer, _) = open(&fs, small()).unwrap();
    let positions = [1, 2, 3].map(|sequence| {
        let at = writer.end();
        writer.append(&meta(sequence), &body(sequence)).unwrap();
        at
    });
    drop(writer);
    fs.tamper(&path(1), |bytes| bytes[positions[1].offset as usize + 30] ^= 1);
    let (mut writer, recovery) = open(&fs, small()).unwrap();
    assert_eq!(recovery.cut.map(|cut| (cut.from, cut.frames)), Some((positions[1], 1)));
    fill(&mut writer, 2..=2);
    assert_eq!(writer.end(), positions[2]);
    fs.crash(Survival::Nothing);
    drop(writer);
    let (writer, recovery) = open(&fs, small()).unwrap();
    assert_eq!((writer.ledger().last, recovery.cut), (2, None));
}

/// A hole in the last segment is damage when a later frame says that it was synced.
#[test]
fn damage_in_the_last_segment_is_no_torn_tail() {
    for within in [5, FRAME_HEADER + 2] {
        let fs = MemoryFs::default();
        let (mut writer, _) = open(&fs, small()).unwrap();
        let positions = fill(&mut writer, 1..=5);
        drop(writer);
        fs.tamper(&path(1), |bytes| bytes[(positions[1].offset + within) as usize] ^= 1);
        let (mut writer, recovery) = open(&fs, small()).unwrap();
        assert_eq!((writer.ledger().last, recovery.cut), (5, None));
        // What is damaged is judged by where the segment ends, so that takes nothing more.
        assert_eq!(writer.end().segment, 2);
        fill(&mut writer, 6..=6);
        let (frames, damages) = read_all(&mut writer.reader(Position::START));
        assert_eq!((frames, damages.len()), (but(1..=6, &[2]), 1));
        assert_eq!((damages[0].from, damages[0].to), (positions[1], positions[2]));
    }
}

/// A cursor is a witness as well: what it passed was durable, so the log goes on behind it.
#[test]
fn nothing_is_written_before_a_cursor() {
    for vanish in [false, true] {
        let fs = MemoryFs::default();
        let (mut writer, _) = open(&fs, small()).unwrap();
        let positions = fill(&mut writer, 1..=5);
        let end = writer.end();
        writer.cursors().set("main", end, b"").unwrap();
        drop(writer);
        if vanish {
            fs.vanish(&path(1));
        } else {
            fs.tamper(&path(1), |bytes| bytes.truncate(positions[3].offset as usize + 9));
        }
        let (mut writer, recovery) = open(&fs, small()).unwrap();
        assert!(recovery.lost);
        assert!(writer.end() > Position::new(2, 0));
        let next = writer.ledger().last + 1;
        fill(&mut writer, next..=next);
        let (frames, damages) = read_all(&mut writer.reader(end));
        assert_eq!(frames, [next]);
        assert!(damages.len() <= 1);
    }
}

#[test]
fn the_ledger_is_rebuilt_from_the_segment_before() {
    for at in [9, SEGMENT_HEADER as usize + 3] {
        let fs = MemoryFs::default();
        let (writer, _) = log(&fs);
        let last = writer.end().segment;
        drop(writer);
        fs.tamper(&path(last), |bytes| bytes[at] ^= 4);
        let (mut writer, recovery) = open(&fs, small()).unwrap();
        assert!(recovery.rebuilt && recovery.cut.is_none());
        assert_eq!((writer.ledger().last, writer.end().segment), (40, last + 1));
        fill(&mut writer, 41..=42);
        let (frames, damages) = read_all(&mut writer.reader(Position::START));
        assert_eq!((frames, damages.len()), (but(1..=42, &[]), 1));
        drop(writer);
        // The new segment has what is needed: the old damage does not matter any more.
        let (writer, recovery) = open(&fs, small()).unwrap();
        assert_eq!((writer.ledger().last, recovery.rebuilt), (42, false));
    }
}

#[test]
fn without_a_ledger_nothing_opens() {
    let fs = MemoryFs::default();
    drop(open(&fs, small()).unwrap());
    fs.tamper(&path(1), |bytes| bytes[0] ^= 1);
    let error = open(&fs, small()).unwrap_err();
    assert!(matches!(&error, Error::Damaged { path: it, .. } if *it == path(1)), "{error}");
}

/// The bytes of a file's former life are whole frames behind the end of the log, and stay invisible.
#[test]
fn stale_bytes_of_a_recycled_segment() {
    let fs = MemoryFs::default();
    let (mut writer, _) = log(&fs);
    let end = writer.end();
    writer.cursors().set("main", end, b"").unwrap();
    assert!(writer.release().unwrap() > 0);
    assert_eq!(fs.sizes(".spare").len(), 2);
    let mut next = 41;
    while writer.end().segment == end.segment {
        fill(&mut writer, next..=next);
        next += 1;
    }
    assert_eq!(fs.sizes(".spare").len(), 1);
    let recycled = path(writer.end().segment);
    let end = writer.end();
    assert!(fs.content(&recycled).len() as u64 > end.offset, "the file is larger than its log");

    fs.crash(Survival::Nothing);
    drop(writer);
    let (mut writer, recovery) = open(&fs, small()).unwrap();
    assert_eq!((writer.end(), writer.ledger().last), (end, next - 1));
    assert_eq!(recovery.cut.map(|cut| cut.frames), Some(0));
    fill(&mut writer, next..=next + 20);
    let cursor = writer.cursors().get("main").unwrap().unwrap();
    assert_eq!(read_all(&mut writer.reader(cursor.position)), (but(41..=next + 20, &[]), vec![]));
}

#[test]
fn a_frame_in_a_body_is_not_a_frame() {
    let fs = MemoryFs::default();
    let (mut writer, _) = open(&fs, small()).unwrap();
    let first = fill(&mut writer, 1..=1)[0];
    let end = writer.end();
    let inner = fs.content(&path(1))[first.offset as usize..end.offset as usize].to_vec();
    writer.append(&meta(2), &inner).unwrap();
    writer.sync().unwrap();
    let next = writer.end();
    fill(&mut writer, 3..=3);
    fs.tamper(&path(1), |bytes| bytes[end.offset as usize] ^= 1);
    let damage = Damage { from: end, to: next, reason: Reason::FrameHeader };
    assert_eq!(read_all(&mut writer.reader(Position::START)), (vec![1, 3], vec![damage]));
}

#[test]
fn start_up_reads_the_last_segment_only() {
    let fs = MemoryFs::default();
    let (writer, _) = log(&fs);
    let last = writer.end().segment;
    drop(writer);
    fs.take_read();
    let (writer, _) = open(&fs, small()).unwrap();
    let read: Vec<PathBuf> = fs.take_read().into_keys().collect();
    assert_eq!(read, [path(last)]);
    assert_eq!(writer.ledger().last, 40);
}

#[test]
fn a_damaged_cursor_is_named() {
    let fs = MemoryFs::default();
    let (writer, _) = log(&fs);
    writer.cursors().set("main", Position::new(2, 0), b"plan").unwrap();
    drop(writer);
    let cursor = PathBuf::from(DIR).join("main.cursor");
    for at in 0..fs.content(&cursor).len() {
        fs.tamper(&cursor, |bytes| bytes[at] ^= 1);
        let error = open(&fs, small()).unwrap_err();
        assert!(matches!(&error, Error::Damaged { path, .. } if *path == cursor), "{error}");
        fs.tamper(&cursor, |bytes| bytes[at] ^= 1);
    }
    let (writer, _) = open(&fs, small()).unwrap();
    assert_eq!(writer.cursors().get("main").unwrap().unwrap().payload, b"plan");
}
