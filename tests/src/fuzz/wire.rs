//! Messages from senders and collectors: what decodes keeps its meaning, and both ways from a call to a record agree.

use std::fmt::Debug;

use prost::Message;
use sidetrail_record::Record;
use sidetrail_wire::ingest::v1::{
    Batch, Call, DeliverRequest, DeliverResponse, Event, Goodbye, Heartbeat, Hello,
};
use sidetrail_wire::ingest::v1::{deliver_request, event};
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
];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let records = super::real_records();
    let calls = records.iter().step_by(8).map(|text| {
        let record: Record = serde_json::from_str(text).expect("a record");
        Call::from(record)
    });
    let calls: Vec<_> = calls.collect();
    let events = calls.iter().take(2).zip(1..).map(|(call, sequence)| Event {
        sequence,
        payload: Some(event::Payload::Call(call.clone())),
        ..Event::default()
    });
    let messages = [
        deliver_request::Message::Hello(Hello { source: vec![7; 16].into(), ..Hello::default() }),
        deliver_request::Message::Batch(Batch { events: events.collect() }),
        deliver_request::Message::Heartbeat(Heartbeat::default()),
        deliver_request::Message::Goodbye(Goodbye::default()),
    ];
    let requests = messages.map(|message| DeliverRequest { message: Some(message) }.encode_to_vec());
    let meta = super::frame::meta(1, 2).encode_to_vec();
    let kind = |kind: u8| move |bytes: Vec<u8>| [&[kind], bytes.as_slice()].concat();
    let calls = calls.iter().map(Message::encode_to_vec).map(kind(0));
    calls.chain(requests.into_iter().map(kind(1))).chain([kind(6)(meta)]).collect()
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

fn call(bytes: &[u8]) {
    let Ok(call) = Call::decode(bytes) else { return };
    let owned = Record::try_from(call.clone());
    if let Some(borrowed) = call.as_record() {
        let mut text = Vec::new();
        borrowed.write(&mut text);
        let owned = owned.as_ref().expect("what can be borrowed is valid");
        assert_eq!(text, serde_json::to_vec(owned).expect("a record can be written"));
    }
    match owned {
        Err(invalid) => assert!(!invalid.field.is_empty() && !invalid.reason.is_empty()),
        Ok(record) => {
            let text = serde_json::to_string(&record).expect("a record can be written");
            let again = Record::try_from(Call::from(record)).expect("a call made from a record is valid");
            assert_eq!(serde_json::to_string(&again).expect("a record can be written"), text);
        }
    }
}
