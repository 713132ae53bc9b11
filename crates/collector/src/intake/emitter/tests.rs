use std::collections::HashSet;

use bytes::Bytes;
use prost::Message;
use serde_json::{Value, json};
use sidetrail_spool::{Ledger, Verdict};
use sidetrail_wire::ingest::v1::{Batch, Call, Event, event::Payload};
use sidetrail_wire::spool::v1::{BodyEncoding, FrameMeta};

use super::super::complete::Completion;
use super::super::render::Renderer;
use super::*;
use crate::ledger::SharedLedger;

const OWN: Id = Id([9; 16]);
const SOURCE: Id = Id([1; 16]);
const SOURCE_TEXT: &str = "01010101-0101-0101-0101-010101010101";
const CALL_ID: &str = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";
/// 2026-01-15T10:41:17Z, when the call began; the collector finds out an hour later.
const BEGAN: i64 = 1_768_473_677;
const NOW_MS: i64 = (BEGAN + 3600) * 1000;

/// A stream of the source that opens now.
fn stream(ledger: &SharedLedger) -> Renderer {
    let completion = Completion {
        account: "111122223333".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        collector: OWN,
    };
    let sender = Sender { source: SOURCE, service: "orders".to_owned(), instance: "a".to_owned() };
    Renderer::new(completion, sender, ledger.clone(), ledger.last_sequence(SOURCE), ledger.known(SOURCE))
}

fn call() -> Call {
    Call {
        event_id: vec![0xaa; 16].into(),
        time_unix_nano: Some(BEGAN * 1_000_000_000),
        event_name: "RefundOrder".to_owned(),
        request_id: Some("request-1".to_owned()),
        request_parameters: Some(r#"{"orderId":"17"}"#.into()),
        additional_event_data: Some(r#"{"route":"/orders/{id}"}"#.into()),
        ..Call::default()
    }
}

fn send(renderer: &mut Renderer, sequence: u64, completes: u64, payload: Payload) -> Frame {
    let event = Event { sequence, payload: Some(payload), completes };
    let mut rendered = renderer.render(&Batch { events: vec![event] }.into(), BEGAN * 1000).unwrap();
    assert!(rendered.refusals.is_empty(), "{:?}", rendered.refusals);
    rendered.frames.remove(0)
}

fn write(ledger: &mut SharedLedger, frame: &Frame) {
    assert_eq!(ledger.check(&frame.meta, frame.body.len()), Verdict::Accept);
    ledger.apply(&frame.meta, frame.body.len());
}

fn emission(ledger: &SharedLedger) -> Frame {
    let intents = ledger.open_intents(SOURCE, MAX_INTENTS);
    frame((OWN, ledger.last_sequence(OWN) + 1), SOURCE, &intents, NOW_MS, &Arc::default()).unwrap()
}

fn open(frame: &Frame) -> (FrameMeta, Vec<Value>) {
    let meta = FrameMeta::decode(frame.meta.as_slice()).unwrap();
    let body = match meta.encoding() {
        BodyEncoding::JoinedZstd => zstd::bulk::decompress(&frame.body, meta.body_size as usize).unwrap(),
        _ => frame.body.clone(),
    };
    let records = serde_json::from_str(&format!("[{}]", String::from_utf8(body).unwrap())).unwrap();
    (meta, records)
}

#[test]
fn what_stays_open_becomes_an_incomplete_record() {
    let mut ledger = SharedLedger::default();
    let mut renderer = stream(&ledger);
    for sequence in 1..=2 {
        write(&mut ledger, &send(&mut renderer, sequence, 0, Payload::Intent(call())));
    }
    let frame = emission(&ledger);
    let (meta, records) = open(&frame);
    assert_eq!((meta.first_sequence, meta.last_sequence, meta.records), (1, 2, 2));
    assert_eq!((meta.source.as_ref(), meta.service.as_str()), (&OWN.0[..], SERVICE));
    assert_eq!((meta.oldest_event_time, meta.newest_event_time), (BEGAN, BEGAN), "of the intent");
    let record = &records[1];
    assert_eq!(record["errorCode"], "Incomplete");
    assert!(record["errorMessage"].as_str().unwrap().contains("before the call's outcome was recorded"));
    assert_eq!((&record["responseElements"], &record["eventID"]), (&Value::Null, &json!(CALL_ID)));
    assert_eq!(record["eventTime"], "2026-01-15T10:41:17Z");
    assert_eq!(record["requestParameters"], json!({"orderId": "17"}));
    assert_eq!(
        record["additionalEventData"],
        json!({
            "route": "/orders/{id}",
            "sidetrail": {
                "source": OWN.to_string(),
                "sequence": 2,
                "intent": {"source": SOURCE_TEXT, "sequence": 2},
            },
        })
    );
    write(&mut ledger, &frame);
    assert_eq!((ledger.totals().open, ledger.totals().incomplete), (0, 2));
    assert!(matches!(ledger.check(&frame.meta, 0), Verdict::AlreadyHave), "never twice");
}

#[test]
fn a_frame_from_an_older_view_is_refused_and_made_again() {
    let mut ledger = SharedLedger::default();
    let mut renderer = stream(&ledger);
    for sequence in 1..=2 {
        write(&mut ledger, &send(&mut renderer, sequence, 0, Payload::Intent(call())));
    }
    let completion = send(&mut renderer, 3, 1, Payload::Call(call()));
    let stale = emission(&ledger);
    write(&mut ledger, &completion);
    assert!(matches!(ledger.check(&stale.meta, 0), Verdict::Refuse(_)));
    let again = emission(&ledger);
    assert_eq!(open(&again).0.incomplete.unwrap().sequences, [2]);
    write(&mut ledger, &again);
}

#[test]
fn a_completion_that_comes_late_amends() {
    let mut ledger = SharedLedger::default();
    let mut before = stream(&ledger);
    write(&mut ledger, &send(&mut before, 1, 0, Payload::Intent(call())));
    let emitted = emission(&ledger);
    write(&mut ledger, &emitted);
    // A stream from before must not take it for open.
    let stale = send(&mut before, 2, 1, Payload::Call(call()));
    assert!(matches!(ledger.check(&stale.meta, 0), Verdict::Refuse(_)));

    let mut after = stream(&ledger);
    let frame = send(&mut after, 2, 1, Payload::Call(call()));
    write(&mut ledger, &frame);
    let (meta, records) = open(&frame);
    assert_eq!((meta.completed, meta.completed_late), (vec![], vec![1]));
    let record = &records[0];
    assert_eq!(
        record["addendum"],
        json!({
            "reason": "UPDATED_DATA",
            "updatedFields": "errorCode,errorMessage,responseElements,additionalEventData",
            "originalRequestID": "request-1",
            "originalEventID": CALL_ID,
        })
    );
    let mark = json!({"source": SOURCE_TEXT, "sequence": 2, "intent": 1});
    assert_eq!(record["additionalEventData"]["sidetrail"], mark);
    assert_ne!(record["eventID"], CALL_ID);
    assert_eq!(record["eventID"].as_str().map(str::len), Some(36));
    // Once: what comes after that has nothing to amend.
    let again = send(&mut after, 3, 1, Payload::Call(call()));
    assert!(open(&again).1[0].get("addendum").is_none());
    write(&mut ledger, &again);
}

#[test]
fn many_intents_take_several_frames_and_each_comes_once() {
    let mut ledger = SharedLedger::default();
    let mut renderer = stream(&ledger);
    let all = 200;
    for sequence in 1..=all {
        let parameters = Bytes::from(format!(r#"{{"a":"{}"}}"#, "x".repeat(12_000)));
        let intent = Call { request_parameters: Some(parameters), ..call() };
        write(&mut ledger, &send(&mut renderer, sequence, 0, Payload::Intent(intent)));
    }
    let mut seen = HashSet::new();
    let mut frames = 0;
    while ledger.totals().open > 0 && frames < all {
        let frame = emission(&ledger);
        write(&mut ledger, &frame);
        let (meta, records) = open(&frame);
        assert_eq!(meta.last_sequence - meta.first_sequence + 1, records.len() as u64);
        for record in records {
            let of = &record["additionalEventData"]["sidetrail"]["intent"]["sequence"];
            assert!(seen.insert(of.as_u64().unwrap()), "{of} twice");
        }
        frames += 1;
    }
    assert_eq!((seen.len() as u64, frames), (all, 3));
}

#[test]
fn what_is_no_record_is_not_in_the_way() {
    let kept = |sequence, record: &'static [u8]| Intent {
        sequence,
        record: Bytes::from_static(record),
        ..Intent::default()
    };
    let frame =
        frame((OWN, 5), SOURCE, &[kept(1, b"\xff"), kept(2, b"{}")], NOW_MS, &Arc::default()).unwrap();
    let (meta, records) = open(&frame);
    assert_eq!((meta.first_sequence, meta.last_sequence, meta.records, meta.dropped), (5, 6, 1, 1));
    assert_eq!(records[0]["additionalEventData"]["sidetrail"]["sequence"], 6);
    assert_eq!(meta.incomplete.unwrap().sequences, [1, 2]);
}

/// An Incomplete record that no trail takes ends its intent and counts, without a body.
#[test]
fn trails_choose_incomplete_records_too() {
    let mut ledger = SharedLedger::default();
    let mut renderer = stream(&ledger);
    write(&mut ledger, &send(&mut renderer, 1, 0, Payload::Intent(call())));
    let reads = serde_json::from_str(r#"{"EventSelectors": [{"ReadWriteType": "ReadOnly"}]}"#).unwrap();
    let choosers = Arc::new(Choosers::new([("reads".parse().unwrap(), Some(reads))]));
    let frame = frame((OWN, 1), SOURCE, &ledger.open_intents(SOURCE, 1), NOW_MS, &choosers).unwrap();
    let (meta, records) = open(&frame);
    assert_eq!((records.len(), meta.records, meta.selection.unwrap().filtered), (0, 0, 1));
    write(&mut ledger, &frame);
    assert_eq!((ledger.totals().incomplete, ledger.totals().open), (1, 0));
}
