//! Messages as they go over the wire. An event is encoded once, when it gets its number: what is sent, and sent again,
//! are the same bytes.

mod call;

use bytes::{BufMut, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len, uint64},
};
use sidetrail_wire::ingest::v1::Dropped;

pub(super) use self::call::{call, write_call};

/// Events are written into pieces of memory of this size.
const CHUNK: usize = 32 * 1024;

/// A larger event has memory of its own, so that little of a piece is left empty.
const LARGE: usize = CHUNK / 8;

/// `DeliverRequest.batch` and `Batch.events`.
const BATCH: u32 = 2;
const EVENTS: u32 = 1;

/// `Event.sequence` and `Event.completes`.
const SEQUENCE: u32 = 1;
const COMPLETES: u32 = 6;

/// Which of the payloads an event has, by its field in `Event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    Call = 2,
    Dropped = 4,
    Intent = 5,
}

/// An element of `Batch.events` with this payload, itself encoded. `completes` is 0 where there is no intent. `out` is
/// empty before and after: events share its memory, which goes when the last of them does.
pub(super) fn event(sequence: u64, kind: Kind, payload: &[u8], completes: u64, out: &mut BytesMut) -> Bytes {
    let tag = kind as u32;
    let mut size = uint64::encoded_len(SEQUENCE, &sequence);
    size += key_len(tag) + encoded_len_varint(payload.len() as u64) + payload.len();
    if completes > 0 {
        size += uint64::encoded_len(COMPLETES, &completes);
    }
    let whole = key_len(EVENTS) + encoded_len_varint(size as u64) + size;
    let mut own = BytesMut::new();
    let (out, size_of_piece) = if whole > LARGE { (&mut own, whole) } else { (out, CHUNK) };
    if out.capacity() < whole {
        *out = BytesMut::with_capacity(size_of_piece);
    }
    begin(EVENTS, size, out);
    uint64::encode(SEQUENCE, &sequence, out);
    begin(tag, payload.len(), out);
    out.extend_from_slice(payload);
    if completes > 0 {
        uint64::encode(COMPLETES, &completes, out);
    }
    out.split().freeze()
}

/// An event that says that so many, from its own number on, had to be given up.
pub(super) fn dropped(sequence: u64, count: u64, reason: &str, out: &mut BytesMut) -> Bytes {
    let dropped = Dropped { count, reason: reason.to_owned() };
    event(sequence, Kind::Dropped, &dropped.encode_to_vec(), 0, out)
}

/// A request with a batch of events, which are `size` bytes in all.
pub(super) fn batch<'a>(events: impl Iterator<Item = &'a [u8]>, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(key_len(BATCH) + encoded_len_varint(size as u64) + size);
    begin(BATCH, size, &mut out);
    events.for_each(|event| out.extend_from_slice(event));
    out
}

/// A field whose value is so many bytes, up to where they begin.
fn begin(tag: u32, size: usize, out: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(size as u64, out);
}

#[cfg(test)]
mod tests {
    use sidetrail_wire::ingest::v1::{
        Batch, Call, DeliverRequest, Event, deliver_request::Message as Request, event::Payload,
    };

    use super::*;

    #[test]
    fn a_batch_is_what_the_generated_code_writes() {
        let call = |size| Call { event_name: "x".repeat(size), ..Call::default() };
        let payloads = [
            (Payload::Call(Call::default()), 0),
            (Payload::Call(call(200)), u64::MAX),
            (Payload::Intent(call(20_000)), 0),
            (Payload::Dropped(Dropped { count: 300, reason: "overflow".to_owned() }), 0),
        ];
        let events: Vec<Event> = (1..=u64::MAX)
            .step_by(1 << 40)
            .zip(payloads)
            .map(|(sequence, (payload, completes))| Event { sequence, completes, payload: Some(payload) })
            .collect();
        let mut out = BytesMut::new();
        let encoded: Vec<_> = events
            .iter()
            .map(|it| match it.payload.as_ref().unwrap() {
                Payload::Call(call) => {
                    event(it.sequence, Kind::Call, &call.encode_to_vec(), it.completes, &mut out)
                }
                Payload::Intent(call) => event(it.sequence, Kind::Intent, &call.encode_to_vec(), 0, &mut out),
                Payload::Dropped(lost) => dropped(it.sequence, lost.count, &lost.reason, &mut out),
                Payload::Record(_) => unreachable!(),
            })
            .collect();
        let size = encoded.iter().map(Bytes::len).sum();
        let bytes = batch(encoded.iter().map(|event| &**event), size);
        let request = DeliverRequest { message: Some(Request::Batch(Batch { events })) };
        assert_eq!(DeliverRequest::decode(&*bytes).unwrap(), request);
        assert_eq!(bytes.len(), request.encoded_len());
    }
}
