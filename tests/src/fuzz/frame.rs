//! A frame that another collector forwards is refused, or becomes one that our own readers can read.

use prost::Message;
use serde_json::Value;
use sidetrail_collector::testing::{Taken, take_frame};
use sidetrail_spool::MAX_META;
use sidetrail_wire::gateway::v1::Frame;
use sidetrail_wire::spool::v1::{BodyEncoding, FrameMeta};

/// The largest text that a frame may have.
const MAX_TEXT: usize = 2 << 20;

/// Of a frame with so many records.
pub(super) fn meta(first: u64, records: u32) -> FrameMeta {
    FrameMeta {
        source: vec![1; 16].into(),
        first_sequence: first,
        last_sequence: first + u64::from(records) - 1,
        records,
        encoding: BodyEncoding::Joined.into(),
        oldest_event_time: 1_768_473_677,
        newest_event_time: 1_768_473_678,
        received_unix_ms: 1_768_473_679_000,
        service: "orders.example.com".to_owned(),
        instance: "orders-7".to_owned(),
        ..FrameMeta::default()
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let records = super::real_records();
    let frame = |count: usize, encoding: BodyEncoding| {
        let text = records[..count].join(",");
        let mut meta = meta(5, count as u32);
        meta.body_size = text.len() as u32;
        meta.encoding = encoding.into();
        let body = match encoding {
            BodyEncoding::JoinedZstd => zstd::bulk::compress(text.as_bytes(), 1).expect("memory"),
            _ => text.into_bytes(),
        };
        (meta, body)
    };
    let (mut dropped, body) = frame(2, BodyEncoding::Joined);
    dropped.last_sequence += 2;
    dropped.dropped = 2;
    let mut note = meta(9, 1);
    (note.records, note.last_sequence, note.assigned, note.ended) = (0, 8, 8, true);
    let frames = [
        frame(1, BodyEncoding::Joined),
        frame(3, BodyEncoding::JoinedZstd),
        (dropped, body),
        (note, Vec::new()),
    ];
    let frames = frames.map(|(meta, body)| Frame { meta: meta.encode_to_vec().into(), body: body.into() });
    frames.iter().map(Message::encode_to_vec).collect()
}

pub(super) fn check(input: &[u8]) {
    let Ok(frame) = Frame::decode(input) else { return };
    let Taken { whole, parts, range: (first, last) } = match take_frame(frame) {
        Ok(taken) => taken,
        Err(reason) => {
            assert!(reason.starts_with("frame."), "{reason}");
            return;
        }
    };
    let whole = entry(&whole);
    // A note says something of an empty range.
    assert_eq!((whole.first_sequence, whole.last_sequence), (first, last));
    assert_eq!(whole.collector.len(), 16);
    let mut next = first;
    for part in parts.iter().map(entry) {
        if part.overlaps {
            assert_eq!(parts.len(), 1);
            assert_eq!((part.first_sequence, part.last_sequence), (first, last));
            return;
        }
        assert_eq!(part.first_sequence, next);
        assert_eq!(u64::from(part.records), part.last_sequence + 1 - part.first_sequence);
        next = part.last_sequence + 1;
    }
    assert_eq!(next, last + 1, "the parts are the whole");
}

/// What the spool would have, checked.
fn entry((meta, body): &(Vec<u8>, Vec<u8>)) -> FrameMeta {
    assert!(meta.len() <= MAX_META);
    let meta = FrameMeta::decode(meta.as_slice()).expect("a frame's meta");
    let text = match meta.encoding() {
        BodyEncoding::JoinedZstd => zstd::bulk::decompress(body, MAX_TEXT).expect("it was accepted"),
        _ => body.clone(),
    };
    assert_eq!(text.len(), meta.body_size as usize);
    let array = [b"[", text.as_slice(), b"]"].concat();
    // What no `Value` can hold is JSON all the same.
    if let Ok(records) = serde_json::from_slice::<Vec<Value>>(&array) {
        assert_eq!(records.len(), meta.records as usize);
        assert!(records.iter().all(Value::is_object));
    }
    meta
}
