use bytes::Bytes;
use prost::Message;
use serde_json::Value;
use sidetrail_archive::key::Id;
use sidetrail_spool::Ledger;
use sidetrail_wire::ingest::unread;
use sidetrail_wire::ingest::v1::{Batch, Event, event::Payload};
use sidetrail_wire::spool::v1::{BodyEncoding, FrameMeta};

use super::super::frame::FRAME_BODY;
use super::*;
use crate::selection::Cut;

const SOURCE: Id = Id([1; 16]);

fn renderer() -> Renderer {
    resumed(&SharedLedger::default())
}

/// A renderer for a stream that opens now.
fn resumed(ledger: &SharedLedger) -> Renderer {
    let completion = Completion {
        account: "111122223333".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        collector: Id([9; 16]),
    };
    let sender = Sender { source: SOURCE, service: "orders".to_owned(), instance: "a".to_owned() };
    Renderer::new(completion, sender, ledger.clone(), ledger.last_sequence(SOURCE), ledger.known(SOURCE))
}

fn event(sequence: u64, payload: Payload) -> Event {
    Event { sequence, payload: Some(payload), ..Event::default() }
}

fn record(sequence: u64, text: &str) -> Event {
    event(sequence, Payload::Record(Bytes::copy_from_slice(text.as_bytes())))
}

fn render(renderer: &mut Renderer, events: Vec<Event>) -> Rendered {
    renderer.render(&Batch { events }.into(), 1_000_500).unwrap()
}

fn open(frame: &Frame) -> (FrameMeta, String) {
    let meta = FrameMeta::decode(frame.meta.as_slice()).unwrap();
    let body = match meta.encoding() {
        BodyEncoding::JoinedZstd => zstd::bulk::decompress(&frame.body, meta.body_size as usize).unwrap(),
        _ => frame.body.clone(),
    };
    assert_eq!(body.len(), meta.body_size as usize);
    (meta, String::from_utf8(body).unwrap())
}

#[test]
fn complete_records_are_kept_to_the_letter() {
    let texts = [r#"{"eventTime":"2026-01-15T10:41:17Z","n":1.10}"#, r#"{ "eventTime" : "redacted" }"#];
    let rendered = render(&mut renderer(), vec![record(1, texts[0]), record(2, texts[1])]);
    let (meta, body) = open(&rendered.frames[0]);
    assert_eq!(body, texts.join(","));
    assert_eq!((meta.first_sequence, meta.last_sequence, meta.records, meta.dropped), (1, 2, 2, 0));
    assert_eq!(
        (meta.oldest_event_time, meta.newest_event_time),
        (1000, 1_768_473_677),
        "received, where undatable"
    );
}

#[test]
fn what_cannot_be_recorded_is_refused_by_name_and_counted() {
    let too_large = format!(r#"{{"a":"{}"}}"#, "x".repeat(limits::MAX_RECORD));
    let bad_call = Call { request_parameters: Some("{".into()), ..Call::default() };
    let rendered = render(
        &mut renderer(),
        vec![
            record(1, &too_large),
            record(2, "[]"),
            record(3, "{"),
            event(4, Payload::Record(Bytes::from_static(b"{\"a\":\"\xff\"}"))),
            event(5, Payload::Call(bad_call)),
            Event { sequence: 6, ..Event::default() },
            record(7, "{}"),
        ],
    );
    let fields: Vec<_> = rendered.refusals.iter().map(|it| (it.sequence, it.field.as_str())).collect();
    assert_eq!(
        fields,
        [
            (1, "record"),
            (2, "record"),
            (3, "record"),
            (4, "record"),
            (5, "requestParameters"),
            (6, "payload")
        ]
    );
    assert!(rendered.refusals[0].reason.contains("the limit is 262144"), "{}", rendered.refusals[0].reason);
    let (meta, body) = open(&rendered.frames[0]);
    assert_eq!((meta.first_sequence, meta.last_sequence, meta.records, meta.dropped), (1, 7, 1, 6));
    assert_eq!(body, "{}");
}

#[test]
fn resent_events_are_passed_over_and_gaps_refused() {
    let mut renderer = renderer();
    assert_eq!(render(&mut renderer, vec![record(1, "{}"), record(2, "{}")]).frames.len(), 1);
    assert!(render(&mut renderer, vec![record(1, "{}"), record(2, "{}")]).frames.is_empty());
    let rendered = render(&mut renderer, vec![record(2, "{}"), record(3, "{}")]);
    assert_eq!(open(&rendered.frames[0]).0.first_sequence, 3);
    let error = renderer.render(&Batch { events: vec![record(5, "{}")] }.into(), 0).unwrap_err();
    assert_eq!(error, BatchError::Sequence { expected: 4, got: 5 });
}

/// Only what is asked for is read: a call that is none is one event that cannot be recorded, an event that is none ends the
/// stream.
#[test]
fn calls_that_are_none_are_refused_and_events_that_are_none_end_it() {
    let mut renderer = renderer();
    // An event's sequence, and a call or an intent of one byte, which begins a member and does not end it.
    let events = [b"\x08\x01\x12\x01\x1a", b"\x08\x02\x2a\x01\x1a"].map(|event| Bytes::from_static(event));
    let batch = unread::Batch { events: events.to_vec() };
    let rendered = renderer.render(&batch, 0).unwrap();
    let refused: Vec<_> = rendered.refusals.iter().map(|it| (it.sequence, &*it.field)).collect();
    assert_eq!(refused, [(1, "payload"), (2, "payload")]);
    let (meta, _) = open(&rendered.frames[0]);
    assert_eq!((meta.last_sequence, meta.records, meta.dropped), (2, 0, 2));

    let batch =
        unread::Batch { events: vec![record(3, "{}").encode_to_vec().into(), Bytes::from_static(b"\x08")] };
    let error = renderer.render(&batch, 0).unwrap_err();
    assert!(matches!(error, BatchError::Event { after: 3, .. }), "{error:?}");
}

/// Reasons are kept, few and short, and what is refused here has one too.
#[test]
fn drops_keep_their_reasons() {
    let mut renderer = renderer();
    let dropped = |sequence, reason: &str| {
        event(sequence, Payload::Dropped(Dropped { count: 2, reason: reason.to_owned() }))
    };
    let long = "ä".repeat(100);
    let events = vec![
        dropped(1, "overflow"),
        dropped(3, ""),
        dropped(5, &long),
        dropped(7, "overflow"),
        record(9, "no"),
    ];
    let rendered = render(&mut renderer, events);
    let (meta, _) = open(&rendered.frames[0]);
    let drops: Vec<_> = meta.drops.iter().map(|drop| (drop.reason.as_str(), drop.count)).collect();
    assert_eq!(drops, [("overflow", 4), ("not said", 2), (&*"ä".repeat(32), 2), ("refused: record", 1)]);
    assert_eq!(meta.dropped, 9);

    let many = (0..20).map(|at| dropped(10 + 2 * at, &at.to_string())).collect();
    let (meta, _) = open(&render(&mut renderer, many).frames[0]);
    assert_eq!(meta.drops.len(), 8);
    assert_eq!((meta.drops[7].reason.as_str(), meta.drops[7].count), ("other", 26));
    assert_eq!(meta.dropped, 40);
}

/// What a source says of itself is a frame where it is news: numbers that did not come, or its end.
#[test]
fn a_source_that_is_ahead_or_ends_is_noted() {
    let mut renderer = renderer();
    assert!(renderer.note(0, false, 0).unwrap().is_none());
    assert!(renderer.note(0, true, 0).unwrap().is_none(), "one that never said anything");
    render(&mut renderer, vec![record(1, "{}"), record(2, "{}")]);
    assert!(renderer.note(2, false, 0).unwrap().is_none(), "all of it came");
    let said = |frame: Option<Frame>| {
        let frame = frame.unwrap();
        let meta = open(&frame).0;
        assert_eq!((frame.last_sequence, meta.records, meta.dropped, meta.intents), (0, 0, 0, 0));
        (meta.first_sequence, meta.last_sequence, meta.assigned, meta.ended)
    };
    assert_eq!(said(renderer.note(7, false, 0).unwrap()), (3, 2, 7, false));
    assert!(renderer.note(7, false, 0).unwrap().is_none(), "it was said");
    assert_eq!(said(renderer.note(8, false, 0).unwrap()), (3, 2, 8, false));
    assert_eq!(said(renderer.note(1, true, 0).unwrap()), (3, 2, 2, true), "no less than came");
}

#[test]
fn a_drop_receipt_takes_its_numbers() {
    let mut renderer = renderer();
    let dropped =
        |sequence, count| event(sequence, Payload::Dropped(Dropped { count, reason: String::new() }));
    let rendered = render(&mut renderer, vec![record(1, "{}"), dropped(2, 10), record(12, "{}")]);
    let (meta, _) = open(&rendered.frames[0]);
    assert_eq!((meta.last_sequence, meta.records, meta.dropped), (12, 2, 10));
    for count in [0, u64::MAX] {
        assert!(renderer.render(&Batch { events: vec![dropped(13, count)] }.into(), 0).is_err());
    }
}

#[test]
fn large_batches_become_several_frames() {
    let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(200_000));
    let rendered = render(&mut renderer(), (1..=20).map(|sequence| record(sequence, &text)).collect());
    assert!(rendered.frames.len() >= 3, "{}", rendered.frames.len());
    let mut next = 1;
    for frame in &rendered.frames {
        let (meta, body) = open(frame);
        assert_eq!(meta.first_sequence, next);
        assert!(body.len() <= FRAME_BODY + limits::MAX_RECORD + 1);
        assert!(serde_json::from_str::<Vec<serde_json::Value>>(&format!("[{body}]")).is_ok());
        next = meta.last_sequence + 1;
    }
    assert_eq!(next, 21);
}

fn intent(sequence: u64, call: Call) -> Event {
    event(sequence, Payload::Intent(call))
}

fn completion(sequence: u64, completes: u64, call: Call) -> Event {
    Event { completes, ..event(sequence, Payload::Call(call)) }
}

fn call(name: &str) -> Call {
    Call {
        event_id: vec![0xaa; 16].into(),
        event_name: name.to_owned(),
        request_id: Some("request-1".to_owned()),
        request_parameters: Some(r#"{"orderId":"17"}"#.into()),
        ..Call::default()
    }
}

const CALL_ID: &str = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";

fn records(body: &str) -> Vec<serde_json::Value> {
    serde_json::from_str(&format!("[{body}]")).unwrap()
}

#[test]
fn an_intent_is_kept_and_no_record() {
    let outcome = Call {
        error_code: Some("NotYet".to_owned()),
        error_message: Some("how would it know".to_owned()),
        response_elements: Some(r#"{"a":1}"#.into()),
        ..call("RefundOrder")
    };
    let rendered = render(&mut renderer(), vec![record(1, "{}"), intent(2, outcome), intent(3, call("b"))]);
    let (meta, body) = open(&rendered.frames[0]);
    assert_eq!(body, "{}");
    assert_eq!((meta.last_sequence, meta.records, meta.intents, meta.dropped), (3, 1, 2, 0));
    let [first, second] = &meta.opened[..] else { panic!("{:?}", meta.opened) };
    assert_eq!((first.sequence, second.sequence), (2, 3));
    assert_eq!((first.event_id.as_str(), first.request_id.as_str()), (CALL_ID, "request-1"));
    let kept: serde_json::Value = serde_json::from_slice(&first.record).unwrap();
    assert_eq!(kept["eventName"], "RefundOrder");
    assert_eq!(kept["requestParameters"]["orderId"], "17");
    assert_eq!(kept["recipientAccountId"], "111122223333");
    assert!(kept["responseElements"].is_null());
    assert!(kept.get("errorCode").is_none() && kept.get("errorMessage").is_none(), "{kept}");
}

#[test]
fn a_call_completes_an_intent_of_its_source() {
    let mut renderer = renderer();
    let rendered = render(&mut renderer, vec![intent(1, call("a")), intent(2, call("b"))]);
    assert_eq!(open(&rendered.frames[0]).0.opened.len(), 2);
    assert!(renderer.leaves_open(2) && !renderer.leaves_open(3), "3 is missing");

    let batch = vec![
        completion(3, 2, call("b")),
        intent(4, call("c")),
        completion(5, 4, call("c")),
        // Nothing that is open: no intent, not one any more, not yet one, and one that is refused.
        completion(6, 3, call("d")),
        completion(7, 2, call("d")),
        completion(8, 8, call("d")),
        completion(9, 1, Call { request_parameters: Some("{".into()), ..call("a") }),
    ];
    let rendered = render(&mut renderer, batch);
    let (meta, body) = open(&rendered.frames[0]);
    assert_eq!((meta.completed, meta.completed_late, meta.opened.len()), (vec![2], vec![], 0));
    assert_eq!((meta.records, meta.intents, meta.dropped), (5, 1, 1));
    assert_eq!(rendered.refusals[0].sequence, 9);
    let marks: Vec<_> =
        records(&body).iter().map(|it| it["additionalEventData"]["sidetrail"]["intent"].clone()).collect();
    assert_eq!(marks, [2.into(), 4.into(), 3.into(), 2.into(), serde_json::Value::Null]);
    assert_eq!(records(&body)[0]["eventID"], CALL_ID, "in time it has the id of its intent");
    assert!(renderer.leaves_open(9), "a call that is refused completes nothing");
}

#[test]
fn an_intent_too_large_loses_its_parameters_first() {
    let json = |size: usize| Some(Bytes::from(format!(r#"{{"a":"{}"}}"#, "x".repeat(size))));
    let large = Call { request_parameters: json(20_000), ..call("a") };
    let larger = Call { additional_event_data: json(20_000), ..large.clone() };
    let other = Call { other: json(20_000), ..call("a") };
    let no_uuid = Call {
        event_id: Bytes::new(),
        other: Some(format!(r#"{{"eventID":"{}"}}"#, "x".repeat(200)).into()),
        ..call("a")
    };
    let batch = vec![intent(1, large), intent(2, larger), intent(3, other), intent(4, no_uuid)];
    let rendered = render(&mut renderer(), batch);
    let (meta, _) = open(&rendered.frames[0]);
    assert_eq!((meta.intents, meta.dropped), (2, 2));
    let kept: Vec<serde_json::Value> =
        meta.opened.iter().map(|intent| serde_json::from_slice(&intent.record).unwrap()).collect();
    assert_eq!(kept[0]["requestParameters"]["reason"], "requestParameters too large");
    assert_eq!(kept[0]["userAgent"], serde_json::Value::Null);
    assert_eq!(kept[1]["additionalEventData"]["originalSize"], 20_008);
    let refused: Vec<_> = rendered.refusals.iter().map(|it| (it.sequence, it.field.as_str())).collect();
    assert_eq!(refused, [(3, "intent"), (4, "eventID")]);
    let reason = &rendered.refusals[0].reason;
    assert!(reason.ends_with("after trimming, the limit is 16384"), "{reason}");
}

#[test]
fn too_many_intents_are_refused_by_name() {
    let ledger = SharedLedger::for_segments_of(4 << 10);
    let mut renderer = resumed(&ledger);
    let rendered = render(&mut renderer, (1..=9).map(|sequence| intent(sequence, call("a"))).collect());
    let (meta, _) = open(&rendered.frames[0]);
    assert!((1..9).contains(&meta.intents), "{}", meta.intents);
    assert_eq!((meta.intents + meta.dropped, rendered.refusals.len() as u64), (9, meta.dropped));
    let refusal = &rendered.refusals[0];
    assert_eq!(refusal.field, "intent");
    assert!(refusal.reason.ends_with("the limit is 1024"), "{}", refusal.reason);
    drop(rendered);
    assert!(render(&mut renderer, vec![intent(10, call("a"))]).refusals.is_empty(), "there is room again");
}

#[test]
fn the_meta_of_a_frame_has_room_for_its_intents() {
    let parameters = |size: usize| Some(Bytes::from(format!(r#"{{"a":"{}"}}"#, "x".repeat(size))));
    let large = Call { request_parameters: parameters(15_000), ..call("a") };
    let mut renderer = renderer();
    let rendered = render(&mut renderer, (1..=40).map(|sequence| intent(sequence, large.clone())).collect());
    let numbers = (41..=2041).map(|sequence| completion(sequence, (sequence - 40).min(40), call("a")));
    let more = render(&mut renderer, numbers.collect());
    for frame in rendered.frames.iter().chain(&more.frames) {
        assert!(frame.meta.len() <= sidetrail_spool::MAX_META, "{}", frame.meta.len());
    }
    let mut ledger = SharedLedger::default();
    for frame in rendered.frames.iter().chain(&more.frames) {
        assert_eq!(ledger.check(&frame.meta, 0), sidetrail_spool::Verdict::Accept);
        ledger.apply(&frame.meta, 0);
    }
    assert_eq!(ledger.totals().open, 0);
}

/// Trails that take reads and writes of management, and nobody who takes data.
fn selection() -> Arc<Selection> {
    let only = |kind: &str| {
        let selectors = format!(r#"{{"EventSelectors": [{{"ReadWriteType": "{kind}"}}]}}"#);
        Some(serde_json::from_str(&selectors).unwrap())
    };
    let selection = Selection::default();
    let trails =
        [("reads".parse().unwrap(), only("ReadOnly")), ("writes".parse().unwrap(), only("WriteOnly"))];
    selection.set(Choosers::new(trails));
    Arc::new(selection)
}

#[test]
fn trails_choose_calls_and_records_alike() {
    let selection = selection();
    let mut renderer = renderer().with_selection(Arc::clone(&selection));
    let call = |read_only| Call { read_only: Some(read_only), ..Call::default() };
    let data = Call { event_category: "Data".to_owned(), ..Call::default() };
    let events = vec![
        event(1, Payload::Call(call(true))),
        event(2, Payload::Call(data.clone())),
        record(3, r#"{"eventCategory":"Data","a":"nobody needs it"}"#),
        record(4, r#"{"readOnly":false,"eventTime":"2026-01-15T10:41:17Z"}"#),
        event(5, Payload::Call(call(false))),
    ];
    let rendered = render(&mut renderer, events);
    assert!(rendered.refusals.is_empty());
    let (meta, body) = open(&rendered.frames[0]);
    assert_eq!((meta.first_sequence, meta.last_sequence, meta.records, meta.dropped), (1, 5, 3, 0));
    assert!(!body.contains("nobody needs it"));
    for (trail, recorded, filtered, newest) in [("reads", 1, 4, 1000), ("writes", 2, 3, 1_768_473_677)] {
        let cut = Cut::of(&meta, trail).unwrap();
        assert_eq!((cut.recorded, cut.filtered, cut.times), (recorded, filtered, Some((1000, newest))));
        for (range, _) in cut.runs {
            let records: Vec<Value> = serde_json::from_str(&format!("[{}]", &body[range])).unwrap();
            assert!(
                records.iter().all(|record| (record["readOnly"] == true) == (trail == "reads")),
                "{trail}"
            );
        }
    }

    // What nobody takes completes its intent all the same, and leaves a frame without a body.
    let mut completing = event(7, Payload::Call(data.clone()));
    completing.completes = 6;
    let rendered = render(&mut renderer, vec![event(6, Payload::Intent(data)), completing]);
    let (meta, body) = open(&rendered.frames[0]);
    assert_eq!((meta.records, meta.intents, meta.opened.len(), body.as_str()), (0, 1, 0, ""));
    assert_eq!(meta.selection.unwrap().filtered, 1);

    // From the next batch on another configuration counts.
    selection.set(Choosers::default());
    let rendered = render(&mut renderer, vec![record(8, "{}")]);
    assert_eq!(open(&rendered.frames[0]).0.selection, None);
}

/// As many records as fit beside what is said of them: then the frame ends.
#[test]
fn a_frame_ends_before_its_selection_outgrows_the_meta() {
    let mut renderer = renderer().with_selection(selection());
    let events = (1..=5000).map(|sequence| record(sequence, "{}")).collect();
    let rendered = render(&mut renderer, events);
    let records: Vec<_> = rendered.frames.iter().map(|frame| open(frame).0.records).collect();
    assert_eq!(records, [2048, 2048, 904]);
}
