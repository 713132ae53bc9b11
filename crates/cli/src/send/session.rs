//! One connection to a collector, from Hello to Goodbye or to its loss.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use sidetrail_wire::ingest::v1::deliver_request::Message as Request;
use sidetrail_wire::ingest::v1::deliver_response::Message as Response;
use sidetrail_wire::ingest::v1::ingest_client::IngestClient;
use sidetrail_wire::ingest::v1::{DeliverRequest, DeliverResponse, Goodbye, Heartbeat, Hello, Welcome};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::window::{EVENT_OVERHEAD, Impossible, Limits};
use sidetrail_wire::connect::Address;

/// Batches on the way at the same time. While one is, the next fills up.
const MAX_IN_FLIGHT: usize = 4;
/// Our own bounds for a batch; the collector's may be lower.
const MAX_BATCH: Limits = Limits { events: 1024, bytes: 1 << 20 };
/// How long the collector may take to hang up after Goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);

/// A connection is gone, or never was.
#[derive(Debug)]
pub(super) enum Lost {
    /// It may work the next time.
    Retry(anyhow::Error),
    /// It will not.
    Refused(anyhow::Error),
}

impl From<Impossible> for Lost {
    fn from(error: Impossible) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Status> for Lost {
    fn from(status: Status) -> Self {
        let retry = !matches!(
            status.code(),
            Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::Unimplemented
                | Code::PermissionDenied
                | Code::Unauthenticated
        );
        let error = anyhow::Error::new(Said(status));
        if retry { Self::Retry(error) } else { Self::Refused(error) }
    }
}

/// A status without what is for machines.
#[derive(Debug)]
struct Said(Status);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.message() {
            "" => f.write_str(self.0.code().description()),
            message => f.write_str(message),
        }
    }
}

impl Error for Said {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

pub(super) struct Session {
    outgoing: mpsc::Sender<DeliverRequest>,
    incoming: Streaming<DeliverResponse>,
    /// The last number of each batch on the way.
    in_flight: Vec<u64>,
    pub(super) limits: Limits,
    /// The largest record that the collector takes.
    pub(super) max_record: usize,
}

impl Session {
    pub(super) async fn open(address: &Address, hello: Hello) -> Result<(Self, Welcome), Lost> {
        let channel = address.connect().await.map_err(|error| Lost::Retry(error.into()))?;
        // Room for Hello, every batch in flight, a heartbeat and Goodbye: sending never waits.
        let (outgoing, requests) = mpsc::channel(MAX_IN_FLIGHT + 3);
        let hello = DeliverRequest { message: Some(Request::Hello(hello)) };
        let _ = outgoing.try_send(hello);
        let mut incoming =
            IngestClient::new(channel).deliver(ReceiverStream::new(requests)).await?.into_inner();
        match incoming.message().await?.and_then(|response| response.message) {
            Some(Response::Welcome(welcome)) => {
                let limits = limits(&welcome);
                let max_record = lower(limits.bytes.saturating_sub(EVENT_OVERHEAD), welcome.max_event_bytes);
                Ok((Self { outgoing, incoming, in_flight: Vec::new(), limits, max_record }, welcome))
            }
            _ => Err(Lost::Retry(anyhow::anyhow!("the collector did not answer with a welcome"))),
        }
    }

    /// Whether another batch may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len() < MAX_IN_FLIGHT
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(super) fn send(&mut self, batch: sidetrail_wire::ingest::v1::Batch, last: u64) -> Result<(), Lost> {
        self.in_flight.push(last);
        self.request(Request::Batch(batch))
    }

    pub(super) fn heartbeat(&mut self, last_sequence: u64) -> Result<(), Lost> {
        self.request(Request::Heartbeat(Heartbeat { last_sequence }))
    }

    /// The next answer. It may be dropped while it waits.
    pub(super) async fn answer(&mut self) -> Result<Response, Lost> {
        match self.incoming.message().await? {
            Some(DeliverResponse { message: Some(response) }) => {
                if let Response::Ack(ack) = &response {
                    self.in_flight.retain(|last| *last > ack.sequence);
                }
                Ok(response)
            }
            Some(DeliverResponse { message: None }) => {
                Err(Lost::Refused(anyhow::anyhow!("the collector gave an answer of no known kind")))
            }
            None => Err(Lost::Retry(anyhow::anyhow!("the collector closed the stream"))),
        }
    }

    /// Says that nothing more will come. Everything is acked, so it does not matter if that gets lost.
    pub(super) async fn goodbye(self, last_sequence: u64) {
        if self.request(Request::Goodbye(Goodbye { last_sequence })).is_err() {
            return;
        }
        let Self { outgoing, mut incoming, .. } = self;
        drop(outgoing);
        let _ = timeout(GOODBYE_WITHIN, async { while let Ok(Some(_)) = incoming.message().await {} }).await;
    }

    fn request(&self, message: Request) -> Result<(), Lost> {
        let request = DeliverRequest { message: Some(message) };
        self.outgoing
            .try_send(request)
            .map_err(|_| Lost::Retry(anyhow::anyhow!("the stream to the collector is stuck or closed")))
    }
}

/// The lower of our limits and the collector's.
fn limits(welcome: &Welcome) -> Limits {
    Limits {
        events: lower(MAX_BATCH.events, welcome.max_batch_events),
        bytes: lower(MAX_BATCH.bytes, welcome.max_batch_bytes),
    }
}

/// 0 is no limit.
fn lower(ours: usize, theirs: u32) -> usize {
    match usize::try_from(theirs) {
        Ok(0) | Err(_) => ours,
        Ok(theirs) => ours.min(theirs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_limit_holds() {
        let welcome = |max_batch_events, max_batch_bytes| Welcome {
            max_batch_events,
            max_batch_bytes,
            ..Welcome::default()
        };
        assert_eq!(limits(&welcome(0, 0)), MAX_BATCH);
        assert_eq!(limits(&welcome(10, 4 << 20)), Limits { events: 10, bytes: MAX_BATCH.bytes });
    }

    #[test]
    fn a_collector_that_refuses_is_not_asked_again() {
        assert!(matches!(Lost::from(Status::failed_precondition("no")), Lost::Refused(_)));
        assert!(matches!(Lost::from(Status::unavailable("later")), Lost::Retry(_)));
        assert_eq!(Said(Status::unavailable("later")).to_string(), "later");
        assert_eq!(Said(Status::aborted("")).to_string(), Code::Aborted.description());
    }
}
