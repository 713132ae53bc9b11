use sidetrail_wire::ingest::v1::Call;

use super::*;

fn renderer() -> Renderer {
    let completion =
        Completion { account: "111122223333".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
    let sender = Sender { source: Id([1; 16]), service: "orders".to_owned(), instance: "a".to_owned() };
    Renderer::new(completion, sender, 0)
}

fn event(sequence: u64, payload: Payload) -> Event {
    Event { sequence, payload: Some(payload), ..Event::default() }
}

fn record(sequence: u64, text: &str) -> Event {
    event(sequence, Payload::Record(Bytes::copy_from_slice(text.as_bytes())))
}

fn render(renderer: &mut Renderer, events: Vec<Event>) -> Rendered {
    renderer.render(Batch { events }, 1_000_500).unwrap()
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
    let error = renderer.render(Batch { events: vec![record(5, "{}")] }, 0).unwrap_err();
    assert_eq!(error, BatchError::Sequence { expected: 4, got: 5 });
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
        assert!(renderer.render(Batch { events: vec![dropped(13, count)] }, 0).is_err());
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
