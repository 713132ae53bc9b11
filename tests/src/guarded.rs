//! A sender that announces its calls before it makes them, one step at a time: the witness of the tests of intents.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use sidetrail_wire::ingest::v1::{
    Batch, Call, Event, Goodbye, deliver_request, deliver_response, event::Payload,
};

use crate::sender::{Stream, event_id, hello};

/// When the calls of the tests begin, seconds since the Unix epoch: 2026-01-15T10:41:17Z.
const BEGAN: i64 = 1_768_473_677;

/// A stream of one source. Dropping it cuts the connection, without a goodbye.
#[derive(Debug)]
pub struct Guarded {
    stream: Stream,
    source: [u8; 16],
    last: u64,
}

impl Guarded {
    /// Opens a stream and goes on after what the collector has.
    ///
    /// # Errors
    ///
    /// When the collector does not welcome the source.
    pub async fn open(socket: &Path, source: [u8; 16]) -> Result<Self> {
        let mut stream = Stream::open(socket, hello(source)).await?;
        match stream.receive().await? {
            deliver_response::Message::Welcome(welcome) => {
                Ok(Self { stream, source, last: welcome.acked_sequence })
            }
            other => bail!("no welcome but {other:?}"),
        }
    }

    /// Announces a call and waits until that is on disk. Gives its number.
    ///
    /// # Errors
    ///
    /// When it is not acked.
    pub async fn intend(&mut self) -> Result<u64> {
        let intent = self.last + 1;
        self.deliver(Payload::Intent(call(self.source, intent)), 0).await
    }

    /// Tells what came of an announced call, and waits until that is on disk. Gives the number of that.
    ///
    /// # Errors
    ///
    /// When it is not acked.
    pub async fn complete(&mut self, intent: u64) -> Result<u64> {
        let outcome = Call {
            response_elements: Some(Bytes::from_static(br#"{"refunded":true}"#)),
            ..call(self.source, intent)
        };
        self.deliver(Payload::Call(outcome), intent).await
    }

    /// Ends for good. Waits until the collector has ended the stream as well.
    ///
    /// # Errors
    ///
    /// When it ends in another way.
    pub async fn goodbye(mut self) -> Result<()> {
        let goodbye = Goodbye { last_sequence: self.last };
        self.stream.send(deliver_request::Message::Goodbye(goodbye)).await?;
        let more = self.stream.responses.message().await?;
        ensure!(more.is_none(), "after a goodbye came {more:?}");
        Ok(())
    }

    async fn deliver(&mut self, payload: Payload, completes: u64) -> Result<u64> {
        let sequence = self.last + 1;
        let event = Event { sequence, payload: Some(payload), completes };
        self.stream.send(deliver_request::Message::Batch(Batch { events: vec![event] })).await?;
        match self.stream.receive().await? {
            deliver_response::Message::Ack(ack) if ack.sequence == sequence => {
                self.last = sequence;
                Ok(sequence)
            }
            other => bail!("no ack of {sequence} but {other:?}"),
        }
    }
}

/// A call as its intent and its completion have it: the eventID says which intent it is.
fn call(source: [u8; 16], intent: u64) -> Call {
    let id: String = event_id(source, intent).chars().filter(|char| *char != '-').collect();
    let bytes = (0..16).filter_map(|at| u8::from_str_radix(id.get(2 * at..2 * at + 2)?, 16).ok());
    Call {
        event_id: bytes.collect::<Vec<_>>().into(),
        time_unix_nano: Some(BEGAN * 1_000_000_000),
        event_source: "orders.example.com".to_owned(),
        event_name: "RefundOrder".to_owned(),
        request_id: Some(format!("request-{intent}")),
        request_parameters: Some(Bytes::from(format!(r#"{{"orderId":"{intent}"}}"#))),
        ..Call::default()
    }
}
