use std::ops::ControlFlow;

use super::*;
use crate::history::event::Event;
use crate::history::key::Seconds;

fn partition() -> Partition {
    Partition { account: "123456789012".into(), region: "eu-central-1".into(), class: Class::Management }
}

fn source(manifest: &str) -> Source {
    Source::new(FileId::new("bucket", manifest), sidetrail_archive::hash::Sha256::of(manifest.as_bytes()))
}

fn record(at: u32, name: &str) -> String {
    format!(
        r#"{{"eventTime":"{}","eventName":"{name}","eventID":"e-{at}-{name}","requestParameters":{{"n":"w{}"}}}}"#,
        Seconds(at).timestamp(),
        at % 7
    )
}

fn build(path: &std::path::Path, records: &[String], file: Source) -> Segment {
    let mut builder = Builder::create(path, partition()).unwrap();
    for record in records {
        let event = Event::read(record);
        builder.push(&event, event.key(Seconds(0)), file).unwrap();
    }
    assert_eq!(builder.keys().count(), records.len());
    builder.finish().unwrap();
    Segment::open(path, 1, PageCache::new()).unwrap()
}

fn all(segment: &Segment) -> Vec<String> {
    let ordinals: Vec<u32> = (0..segment.count()).collect();
    let mut records = vec![String::new(); ordinals.len()];
    segment.records(&ordinals, &mut |at, record| records[at] = record.to_owned()).unwrap();
    records
}

fn found(segment: &Segment, term: &[u8]) -> Vec<u32> {
    let mut cursor = Cursor::term(segment, term).unwrap();
    let mut found = Vec::new();
    while let Some(ordinal) = cursor.seek(segment, found.last().map_or(0, |last: &u32| last + 1)).unwrap() {
        found.push(ordinal);
    }
    found
}

#[test]
fn events_come_newest_first_and_to_the_byte() {
    let directory = tempfile::tempdir().unwrap();
    let file = source("manifest");
    let mut records: Vec<_> = (0..2000).map(|at| record(at * 37 % 5000, "A")).collect();
    let segment = build(&directory.path().join("a"), &records, file);
    records.sort_by_key(|record| std::cmp::Reverse(Event::read(record).key(Seconds(0))));
    assert_eq!(all(&segment), records);
    assert_eq!(segment.event(0).unwrap(), (segment.newest(), file.id));
    assert_eq!(segment.files(), [file]);
    for at in [0, 17, 4999, 6000] {
        let bound = Key::last_of(Seconds(at));
        let expected = records.iter().filter(|record| Event::read(record).key(Seconds(0)) > bound).count();
        assert_eq!(segment.from(bound).unwrap() as usize, expected);
    }
    assert!(segment.event(2000).is_err() && segment.memory() < 20_000);
}

/// An `eventID` is the caller's to choose: two events may have the same, and one may have it as `requestID` and
/// `sharedEventID`.
#[test]
fn events_may_share_what_is_mostly_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let same = |at: u32| {
        let time = Seconds(at).timestamp();
        format!(r#"{{"eventTime":"{time}","eventID":"e","requestID":"r","sharedEventID":"r"}}"#)
    };
    let records = [same(3), same(1), record(2, "A"), same(4)];
    let segment = build(&directory.path().join("a"), &records, source("manifest"));
    for (term, expected) in [(&b"\x01e"[..], &[0, 1, 3][..]), (b"\x0fr", &[0, 1, 3]), (b"\x01e-2-A", &[2])] {
        assert_eq!(found(&segment, term), expected);
    }
}

#[test]
fn merged_segments_are_as_if_built_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (one, other) = (source("1"), source("2"));
    let first: Vec<_> = (0..500).map(|at| record(at * 3, "A")).collect();
    let second: Vec<_> = (0..700).map(|at| record(at * 2, if at % 2 == 0 { "A" } else { "B" })).collect();
    let parts = [build(&path("1"), &first, one), build(&path("2"), &second, other)].map(std::sync::Arc::new);
    merge(&path("merged"), &parts).unwrap();
    let merged = Segment::open(&path("merged"), 2, PageCache::new()).unwrap();
    let both = [first, second].concat();
    let whole = build(&path("whole"), &both, one);
    assert_eq!(all(&merged), all(&whole));
    assert_eq!(merged.files(), [one, other]);
    for term in [&b"\x02A"[..], b"\x02B", b"\x02C", b"\x10w3"] {
        assert_eq!(found(&merged, term), found(&whole, term));
    }
    let from_second = (0..merged.count()).filter(|at| merged.event(*at).unwrap().1 == other.id).count();
    assert_eq!(from_second, 700);
}

#[test]
fn damage_is_an_error_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let records: Vec<_> = (0..300).map(|at| record(at, "A")).collect();
    build(&path, &records, source("1"));
    let good = std::fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let segment = Segment::open(&path, 3, PageCache::new())?;
        let mut cursor = Cursor::any(&segment, &[], &[(vec![0], vec![0xfe])])?;
        let mut at = 0;
        let walked = loop {
            match cursor.seek(&segment, at)? {
                Some(found) => at = found + 1,
                None => break ControlFlow::<Damaged, u32>::Continue(at),
            }
        };
        segment.records(&[0, 299], &mut |_, _| ())?;
        Ok::<_, Damaged>(walked)
    };
    assert!(matches!(read(&good), Ok(ControlFlow::Continue(300))));
    for at in (0..good.len()).step_by(1009) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(read(&bad).is_err(), "{at}");
    }
    assert!(read(&good[..good.len() - 1]).is_err() && read(b"").is_err());
}
