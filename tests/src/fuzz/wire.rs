//! Messages from senders and collectors: what decodes keeps its meaning, and both ways from a call to a record agree.

use std::fmt::Debug;

use prost::Message;
use sidetrail_record::Record;
use sidetrail_wire::ingest::v1::deliver_request;
use sidetrail_wire::ingest::v1::event::Payload;
use sidetrail_wire::ingest::v1::{
    Batch, Call, DeliverRequest, DeliverResponse, Event, Goodbye, Heartbeat, Hello,
};
use sidetrail_wire::{EventRef, PayloadRef};
use sidetrail_wire::{gateway, spool};

/// What the first byte of an input chooses between: decodes, and if that succeeds, encodes and decodes again.
const KINDS: &[fn(&[u8])] = &[
    call,
    same::<DeliverRequest>,
    same::<DeliverResponse>,
    same::<gateway::v1::ForwardRequest>,
    same::<gateway::v1::ForwardResponse>,
    same::<gateway::v1::HandOverRequest>,
    same::<spool::v1::FrameMeta>,
    same::<spool::v1::LedgerSnapshot>,
    same::<spool::v1::TrailState>,
    event,
];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let records = super::real_records();
    let calls = records.iter().map(|text| {
        let record: Record = serde_json::from_str(text).expect("a record");
        Call::from(record)
    });
    let calls: Vec<_> = calls.collect();
    let events = calls.iter().take(2).zip(1..).map(|(call, sequence)| Event {
        sequence,
        payload: Some(Payload::Call(call.clone())),
        ..Event::default()
    });
    let events = events.collect::<Vec<_>>();
    let encoded: Vec<_> = events.iter().map(Message::encode_to_vec).collect();
    let messages = [
        deliver_request::Message::Hello(Hello { source: vec![7; 16].into(), ..Hello::default() }),
        deliver_request::Message::Batch(Batch { events }),
        deliver_request::Message::Heartbeat(Heartbeat::default()),
        deliver_request::Message::Goodbye(Goodbye::default()),
    ];
    let requests = messages.map(|message| DeliverRequest { message: Some(message) }.encode_to_vec());
    let meta = super::frame::meta(1, 2).encode_to_vec();
    let kind = |kind: u8| move |bytes: Vec<u8>| [&[kind], bytes.as_slice()].concat();
    let calls = calls.iter().map(Message::encode_to_vec).map(kind(0));
    calls
        .chain(requests.into_iter().map(kind(1)))
        .chain([kind(6)(meta)])
        .chain(encoded.into_iter().map(kind(9)))
        .collect()
}

pub(super) fn check(input: &[u8]) {
    let Some((kind, message)) = input.split_first() else { return };
    KINDS[usize::from(*kind) % KINDS.len()](message);
}

fn same<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        assert_eq!(M::decode(message.encode_to_vec().as_slice()).expect("our own bytes"), message);
    }
}

/// What is read where it lies is what the generated code reads.
fn call(bytes: &[u8]) {
    let owned = Call::decode(bytes).ok().map(Record::try_from);
    if let Some(borrowed) = Call::read_record(bytes) {
        let mut text = Vec::new();
        borrowed.write(&mut text);
        let owned = owned.as_ref().expect("it is a call").as_ref().expect("what can be borrowed is valid");
        assert_eq!(text, serde_json::to_vec(owned).expect("a record can be written"));
    }
    match owned {
        None => {}
        Some(Err(invalid)) => assert!(!invalid.field.is_empty() && !invalid.reason.is_empty()),
        Some(Ok(record)) => {
            let text = serde_json::to_string(&record).expect("a record can be written");
            let again = Record::try_from(Call::from(record)).expect("a call made from a record is valid");
            assert_eq!(serde_json::to_string(&again).expect("a record can be written"), text);
        }
    }
}

/// The same of events. Calls in them are not looked at, so more is read than the generated code takes.
fn event(bytes: &[u8]) {
    let (read, Ok(event)) = (EventRef::read(bytes), Event::decode(bytes)) else { return };
    let read = read.expect("the generated code reads it");
    assert_eq!((read.sequence, read.completes), (event.sequence, event.completes));
    let same = |bytes: &[u8], call: &Call| Call::decode(bytes).as_ref() == Ok(call);
    let agree = match (&read.payload, &event.payload) {
        (None, None) => true,
        (Some(PayloadRef::Call(bytes)), Some(Payload::Call(call)))
        | (Some(PayloadRef::Intent(bytes)), Some(Payload::Intent(call))) => same(bytes, call),
        (Some(PayloadRef::Record(text)), Some(Payload::Record(record))) => text[..] == record[..],
        (Some(PayloadRef::Dropped(read)), Some(Payload::Dropped(dropped))) => read == dropped,
        _ => false,
    };
    assert!(agree, "{read:?} is not {event:?}");
}
