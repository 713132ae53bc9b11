use sidetrail_spool::{Options, OsFs, Writer};
use sidetrail_wire::spool::v1::Incomplete;

use super::*;

fn meta(source: u8, first: u64, last: u64) -> Vec<u8> {
    FrameMeta {
        source: vec![source; 16].into(),
        first_sequence: first,
        last_sequence: last,
        ..FrameMeta::default()
    }
    .encode_to_vec()
}

#[test]
fn takes_the_next_knows_the_old_refuses_a_gap() {
    let mut ledger = SharedLedger::default();
    assert_eq!(ledger.check(&meta(1, 1, 5), 0), Verdict::Accept);
    ledger.apply(&meta(1, 1, 5), 0);
    assert_eq!(ledger.check(&meta(1, 1, 5), 0), Verdict::AlreadyHave);
    assert_eq!(ledger.check(&meta(1, 6, 6), 0), Verdict::Accept);
    assert!(matches!(ledger.check(&meta(1, 7, 8), 0), Verdict::Refuse(_)), "a gap");
    assert!(matches!(ledger.check(&meta(1, 5, 6), 0), Verdict::Refuse(_)), "an overlap");
    assert!(matches!(ledger.check(&meta(1, 0, 6), 0), Verdict::Refuse(_)), "no range");
    assert!(matches!(ledger.check(b"\xff", 0), Verdict::Refuse(_)), "no message");
    assert_eq!(ledger.check(&meta(2, 1, 1), 0), Verdict::Accept, "another source");
}

#[test]
fn a_snapshot_carries_the_state() {
    let mut ledger = SharedLedger::default();
    ledger.apply(&meta(1, 1, 5), 0);
    ledger.apply(&meta(2, 1, 2), 0);
    let mut snapshot = Vec::new();
    ledger.snapshot(&mut snapshot);
    let mut restored = SharedLedger::default();
    restored.restore(&snapshot).unwrap();
    assert_eq!(restored.last_sequence(Id([1; 16])), 5);
    assert_eq!(restored.totals(), Totals { accepted: 7, ..Totals::default() });
    assert_eq!(restored.check(&meta(2, 3, 3), 0), Verdict::Accept);
    assert!(restored.restore(b"\xff").is_err());
}

#[test]
fn forgets_the_least_recent() {
    let mut sources = Sources::default();
    for id in 0..4_u8 {
        let state = SourceState { touched: 4 - u64::from(id), ..SourceState::default() };
        sources.states.insert(Id([id; 16]), state);
    }
    sources.forget_beyond(3);
    assert!(!sources.states.contains_key(&Id([3; 16])));
    assert_eq!(sources.states.len(), 3);
}

const OWN: u8 = 9;

fn intent(sequence: u64) -> Intent {
    Intent {
        sequence,
        record: format!(r#"{{"eventName":"Refund{sequence}"}}"#).into(),
        event_id: format!("event {sequence}"),
        request_id: String::new(),
    }
}

fn frame(source: u8, first: u64, last: u64, change: impl FnOnce(&mut FrameMeta)) -> Vec<u8> {
    let mut meta = FrameMeta::decode(meta(source, first, last).as_slice()).unwrap();
    change(&mut meta);
    meta.encode_to_vec()
}

fn opening(source: u8, first: u64, last: u64) -> Vec<u8> {
    frame(source, first, last, |meta| {
        meta.intents = last - first + 1;
        meta.opened = (first..=last).map(intent).collect();
    })
}

fn completing(source: u8, at: u64, intents: &[u64]) -> Vec<u8> {
    frame(source, at, at, |meta| meta.completed = intents.to_vec())
}

fn incomplete(first: u64, source: u8, intents: &[u64]) -> Vec<u8> {
    let count = intents.len() as u64;
    frame(OWN, first, first + count - 1, |meta| {
        meta.records = u32::try_from(count).unwrap();
        meta.incomplete = Some(Incomplete { source: vec![source; 16].into(), sequences: intents.to_vec() });
    })
}

/// The order in which two frames come decides which of them is written, never both.
#[test]
fn an_intent_ends_once() {
    let opened = || {
        let mut ledger = SharedLedger::default();
        ledger.apply(&opening(1, 1, 3), 0);
        ledger
    };
    let (call, emission) = (completing(1, 4, &[2]), incomplete(1, 1, &[1, 2]));

    let mut ledger = opened();
    assert_eq!(ledger.check(&call, 0), Verdict::Accept);
    assert_eq!(ledger.check(&emission, 0), Verdict::Accept);
    ledger.apply(&call, 0);
    assert!(matches!(ledger.check(&emission, 0), Verdict::Refuse(_)), "completed");
    assert_eq!(ledger.check(&incomplete(1, 1, &[1, 3]), 0), Verdict::Accept);

    let mut ledger = opened();
    ledger.apply(&emission, 0);
    assert!(matches!(ledger.check(&call, 0), Verdict::Refuse(_)), "recorded as Incomplete");
    assert!(matches!(ledger.check(&incomplete(3, 1, &[2]), 0), Verdict::Refuse(_)), "twice");
    assert_eq!(ledger.check(&incomplete(3, 1, &[3]), 0), Verdict::Accept);
    let late = frame(1, 4, 4, |meta| meta.completed_late = vec![2]);
    assert_eq!(ledger.check(&late, 0), Verdict::Accept);
    ledger.apply(&late, 0);
    let known = ledger.known(Id([1; 16]));
    assert_eq!(known.recorded.keys().collect::<Vec<_>>(), [&1]);
    assert!(known.open.contains(&3));
}

#[test]
fn a_snapshot_carries_the_intents() {
    let mut ledger = SharedLedger::default();
    ledger.apply(&opening(1, 1, 3), 0);
    ledger.apply(&opening(2, 1, 1), 0);
    ledger.apply(&incomplete(1, 1, &[1]), 0);
    ledger.apply(&completing(1, 4, &[3]), 0);
    let mut snapshot = Vec::new();
    ledger.snapshot(&mut snapshot);

    let mut restored = SharedLedger::default();
    restored.restore(&snapshot).unwrap();
    assert_eq!(restored.totals(), ledger.totals());
    let expected = Totals { accepted: 6, dropped: 0, intents: 4, incomplete: 1, open: 2, missing: 0 };
    assert_eq!(restored.totals(), expected);
    assert_eq!(restored.open_intents(Id([1; 16]), 9), [intent(2)]);
    assert_eq!(restored.open_intents(Id([2; 16]), 9), [intent(1)]);
    assert_eq!(restored.known(Id([1; 16])).recorded[&1].event_id, "event 1");
    assert_eq!(restored.check(&incomplete(2, 2, &[1]), 0), Verdict::Accept, "its own numbers go on");
}

#[test]
fn room_is_taken_while_a_frame_is_on_its_way() {
    let mut ledger = SharedLedger::for_segments_of(4 << 10);
    let taken: Vec<_> = (1..).map_while(|sequence| ledger.reserve(&intent(sequence)).ok()).collect();
    let all = taken.len();
    assert!(all > 1);
    drop(taken);
    let one = ledger.reserve(&intent(1)).unwrap();
    ledger.apply(&opening(1, 1, 1), 0);
    drop(one);
    let more = (2..).map_while(|sequence| ledger.reserve(&intent(sequence)).ok()).collect::<Vec<_>>().len();
    assert_eq!(more, all - 1, "the open one keeps its room");
}

#[test]
fn the_largest_state_fits_a_snapshot() {
    let mut ledger = SharedLedger::default();
    let name = |number: u64| {
        let mut id = [0xff; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        id.to_vec()
    };
    let most = 1 << 62;
    ledger.with(|sources| sources.uses = most);
    for number in 0..MAX_SOURCES as u64 {
        let intent = Intent { sequence: most, record: vec![b'x'; 600].into(), ..intent(0) };
        let Ok(_room) = ledger.reserve(&intent) else { break };
        let meta = FrameMeta {
            source: name(number).into(),
            first_sequence: most,
            last_sequence: most,
            opened: vec![intent],
            ..FrameMeta::default()
        };
        ledger.apply(&meta.encode_to_vec(), 0);
    }
    let mut snapshot = Vec::new();
    ledger.snapshot(&mut snapshot);
    assert!(snapshot.len() > MAX_SNAPSHOT / 2, "{}", snapshot.len());
    assert!(snapshot.len() <= MAX_SNAPSHOT, "{}", snapshot.len());
}

#[test]
fn what_is_still_needed_is_not_forgotten() {
    let mut ledger = SharedLedger::default();
    ledger.apply(&opening(1, 1, 2), 0);
    ledger.apply(&incomplete(1, 1, &[1]), 0);
    for number in 0..MAX_SOURCES as u64 + 10 {
        let mut source = [7; 16];
        source[..8].copy_from_slice(&number.to_be_bytes());
        let meta = FrameMeta {
            source: source.to_vec().into(),
            first_sequence: 1,
            last_sequence: 1,
            ..FrameMeta::default()
        };
        ledger.apply(&meta.encode_to_vec(), 0);
    }
    assert_eq!(ledger.last_sequence(Id([OWN; 16])), 1);
    assert_eq!(ledger.last_sequence(Id([1; 16])), 2);
}

/// Start-up reads the last segment only, whose frames know nothing of the intent.
#[test]
fn an_open_intent_outlives_its_segment() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let options = Options::new(64 << 20).with_segment_bytes(4 << 10);
        let ledger = SharedLedger::for_segments_of(64 << 10);
        Writer::open(Arc::new(OsFs), directory.path(), options, ledger).unwrap().0
    };
    let mut writer = open();
    writer.append(&opening(1, 1, 2), b"").unwrap();
    writer.sync().unwrap();
    let first = writer.end().segment;
    for sequence in 1..=20 {
        writer.append(&meta(2, sequence, sequence), &[b'x'; 1000]).unwrap();
    }
    writer.sync().unwrap();
    assert!(writer.end().segment > first + 1);
    writer.cursors().set("trail", writer.end(), b"").unwrap();
    writer.release().unwrap();
    assert!(writer.usage().oldest > first, "the segment with the intents is gone");
    drop(writer);

    let mut writer = open();
    assert_eq!(writer.ledger().open_intents(Id([1; 16]), 9), [intent(1), intent(2)]);
    writer.append(&incomplete(1, 1, &[1, 2]), b"").unwrap();
    writer.sync().unwrap();
    drop(writer);
    let mut writer = open();
    assert_eq!(writer.ledger().totals().open, 0);
    assert!(writer.append(&incomplete(3, 1, &[1]), b"").is_err(), "twice");
    assert!(writer.append(&completing(1, 3, &[2]), b"").is_err(), "after that");
}

/// A frame that only says what a source has assigned: no event, no sequence, and written once.
#[test]
fn what_a_source_says_of_itself_is_kept() {
    let mut ledger = SharedLedger::default();
    let note = |first: u64, assigned, ended| {
        let source = bytes::Bytes::from_static(&[1; 16]);
        let range =
            FrameMeta { source, first_sequence: first, last_sequence: first - 1, ..FrameMeta::default() };
        FrameMeta { assigned, ended, ..range }.encode_to_vec()
    };
    assert_eq!(ledger.check(&note(1, 9, false), 0), Verdict::Accept);
    ledger.apply(&note(1, 9, false), 0);
    assert_eq!(ledger.totals(), Totals { missing: 9, ..Totals::default() });
    assert_eq!(ledger.check(&note(1, 9, false), 0), Verdict::AlreadyHave);
    assert_eq!(ledger.check(&note(2, 10, false), 0), Verdict::AlreadyHave, "it is about another place");
    assert_eq!(ledger.check(&note(1, 9, true), 0), Verdict::Accept);
    assert!(matches!(ledger.check(&note(1, 0, false), 0), Verdict::Refuse(_)), "a range of nothing");

    let mut snapshot = Vec::new();
    ledger.snapshot(&mut snapshot);
    let mut restored = SharedLedger::default();
    restored.restore(&snapshot).unwrap();
    assert_eq!(restored.totals().missing, 9);
}

fn forwarded(source: u8, first: u64, last: u64) -> Vec<u8> {
    frame(source, first, last, |meta| meta.collector = vec![7; 16].into())
}

/// A sender that went from one collector to another comes by way of both, in any order.
#[test]
fn what_is_forwarded_comes_in_any_order_and_once() {
    let mut ledger = SharedLedger::default();
    for (first, last) in [(11, 20), (1, 5), (31, 40)] {
        assert_eq!(ledger.check(&forwarded(1, first, last), 0), Verdict::Accept, "{first}");
        ledger.apply(&forwarded(1, first, last), 0);
    }
    let check = |ledger: &SharedLedger| {
        assert_eq!(ledger.check(&forwarded(1, 12, 20), 0), Verdict::AlreadyHave);
        assert_eq!(ledger.check(&forwarded(1, 1, 5), 0), Verdict::AlreadyHave);
        assert_eq!(ledger.check(&forwarded(1, 6, 10), 0), Verdict::Accept, "from the middle");
        assert!(matches!(ledger.check(&forwarded(1, 4, 10), 0), Verdict::Refuse(_)), "in part");
        assert_eq!(ledger.missing(Id([1; 16]), 1, 50), [(6, 10), (21, 30), (41, 50)]);
        let overlapping = frame(1, 4, 10, |meta| {
            meta.collector = vec![7; 16].into();
            meta.overlaps = true;
        });
        assert_eq!(ledger.check(&overlapping, 0), Verdict::Accept, "nothing is lost");
        assert_eq!(ledger.last_sequence(Id([1; 16])), 5, "up to where an application is acked");
    };
    check(&ledger);
    let mut snapshot = Vec::new();
    ledger.snapshot(&mut snapshot);
    let mut restored = SharedLedger::default();
    restored.restore(&snapshot).unwrap();
    check(&restored);

    ledger.apply(&forwarded(1, 6, 10), 0);
    assert_eq!(ledger.last_sequence(Id([1; 16])), 20);
    ledger.apply(&meta(1, 21, 22), 0);
    assert_eq!(ledger.last_sequence(Id([1; 16])), 22, "the sender came itself");
    assert!(matches!(
        ledger.check(&frame(1, 60, 61, |meta| meta.collector = vec![7].into()), 0),
        Verdict::Refuse(_)
    ));
}

/// Recovery of a damaged log: frames are missing, and the sender must not wait for acks of what it has let go.
#[test]
fn damage_takes_back_no_ack() {
    let mut ledger = SharedLedger::default();
    ledger.apply(&meta(1, 1, 3), 0);
    ledger.apply(&meta(1, 7, 9), 0);
    assert_eq!(ledger.last_sequence(Id([1; 16])), 9);
}

/// A source that was elsewhere before begins in the middle, by its first frame only: one after it does not stand in for it.
#[test]
fn a_source_begins_once() {
    let mut ledger = SharedLedger::default();
    let begins = |first, last| frame(1, first, last, |meta| meta.begins = true);
    assert!(matches!(ledger.check(&meta(1, 5, 6), 0), Verdict::Refuse(_)));
    assert_eq!(ledger.check(&begins(5, 6), 0), Verdict::Accept);
    ledger.apply(&begins(5, 6), 0);
    assert_eq!(ledger.last_sequence(Id([1; 16])), 6);
    assert!(matches!(ledger.check(&begins(8, 9), 0), Verdict::Refuse(_)));
    assert_eq!(ledger.check(&meta(1, 7, 9), 0), Verdict::Accept);
}
