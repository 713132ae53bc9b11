//! One connection to a collector, from Hello to Goodbye or to its loss.

use std::{fmt, sync::Arc, time::Duration};

use http::uri::PathAndQuery;
use prost::Message;
use sidetrail_wire::connect::Address;
use sidetrail_wire::ingest::v1::{
    DeliverRequest, DeliverResponse, Goodbye, Heartbeat, Hello, PROTOCOL_VERSION, Welcome,
    deliver_request::Message as Request, deliver_response::Message as Response,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, client::Grpc};

use super::{
    backlog::{Backlog, BatchLimits},
    codec::Encoded,
    inbox::Inbox,
};

const METHOD: PathAndQuery = PathAndQuery::from_static("/sidetrail.ingest.v1.Ingest/Deliver");

/// Batches on the way at the same time. While one is, the next fills up.
const MAX_IN_FLIGHT: usize = 4;

/// Our own bounds for a batch; the collector's may be lower.
const MAX_BATCH: BatchLimits = BatchLimits { events: 1024, bytes: 1024 * 1024 };

/// How long the collector may take for its Welcome.
const WELCOME_WITHIN: Duration = Duration::from_secs(5);

/// How often an idle sender says that it is there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// Who sends.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) source: [u8; 16],
    pub(super) service: String,
    pub(super) instance: String,
}

/// The connection is gone, or never was.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) was_connected: bool,
    pub(super) reason: String,
}

impl Lost {
    fn new(reason: impl fmt::Display) -> Self {
        Self { was_connected: false, reason: reason.to_string() }
    }
}

/// Connects and delivers. Ends well only if the inbox was closed and everything in it is acked.
pub(super) async fn run(
    address: &Address,
    origin: &Origin,
    inbox: &Arc<Inbox>,
    backlog: &mut Backlog,
) -> Result<(), Lost> {
    let (mut session, welcome) = Session::open(address, origin).await?;
    tracing::debug!(account = welcome.account_id, region = welcome.region, "connected to the collector");
    inbox.set_connected(true);
    free(inbox, backlog, welcome.acked_sequence);
    backlog.rewind();
    let result = session.deliver(inbox, backlog, limits(&welcome)).await;
    inbox.set_connected(false);
    result.map_err(|lost| Lost { was_connected: true, ..lost })
}

struct Session {
    outgoing: mpsc::Sender<Vec<u8>>,
    incoming: Streaming<DeliverResponse>,
    /// The last number of each batch on the way.
    in_flight: Vec<u64>,
}

impl Session {
    async fn open(address: &Address, origin: &Origin) -> Result<(Self, Welcome), Lost> {
        let channel = address.connect().await.map_err(|error| Lost::new(chain(&error)))?;
        // Room for Hello, every batch in flight, a heartbeat and Goodbye: sending never waits.
        let (outgoing, requests) = mpsc::channel(MAX_IN_FLIGHT + 3);
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            source: origin.source.to_vec().into(),
            service: origin.service.clone(),
            instance: origin.instance.clone(),
            agent: concat!("sidetrail/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let _ = outgoing.try_send(encoded(Request::Hello(hello)));
        let welcome = async {
            let mut client = Grpc::new(channel);
            client.ready().await.map_err(Lost::new)?;
            let requests = tonic::Request::new(ReceiverStream::new(requests));
            let stream = client.streaming(requests, METHOD, Encoded).await.map_err(Lost::new)?;
            let mut incoming = stream.into_inner();
            match incoming.message().await.map_err(Lost::new)?.and_then(|response| response.message) {
                Some(Response::Welcome(welcome)) => Ok((incoming, welcome)),
                Some(Response::Refusal(refusal)) => {
                    Err(Lost::new(format_args!("collector refused {}: {}", refusal.field, refusal.reason)))
                }
                _ => Err(Lost::new("collector did not answer with a welcome")),
            }
        };
        let (incoming, welcome) =
            timeout(WELCOME_WITHIN, welcome).await.map_err(|_| Lost::new("no welcome in time"))??;
        Ok((Self { outgoing, incoming, in_flight: Vec::new() }, welcome))
    }

    async fn deliver(
        &mut self,
        inbox: &Arc<Inbox>,
        backlog: &mut Backlog,
        limits: BatchLimits,
    ) -> Result<(), Lost> {
        let mut heartbeat = Instant::now() + HEARTBEAT_EVERY;
        let mut taken = Vec::new();
        loop {
            while self.in_flight.len() < MAX_IN_FLIGHT {
                taken = inbox.take(taken);
                backlog.extend(&mut taken, inbox);
                let Some((batch, last)) = backlog.next_batch(limits, !self.in_flight.is_empty()) else {
                    break;
                };
                self.send(batch)?;
                self.in_flight.push(last);
                heartbeat = Instant::now() + HEARTBEAT_EVERY;
            }
            if inbox.is_closed() && inbox.is_empty() && backlog.is_empty() {
                return self.goodbye(backlog.last()).await;
            }
            tokio::select! {
                response = self.incoming.message() => match response {
                    Ok(Some(response)) => self.answer(response, inbox, backlog),
                    Ok(None) => return Err(Lost::new("collector closed the stream")),
                    Err(status) => return Err(Lost::new(status)),
                },
                () = inbox.filled(), if self.in_flight.len() < MAX_IN_FLIGHT => {}
                () = sleep_until(heartbeat) => {
                    heartbeat = Instant::now() + HEARTBEAT_EVERY;
                    if self.in_flight.is_empty() {
                        let heartbeat = Heartbeat { last_sequence: backlog.last() };
                        self.send(encoded(Request::Heartbeat(heartbeat)))?;
                    }
                }
            }
        }
    }

    fn send(&self, request: Vec<u8>) -> Result<(), Lost> {
        self.outgoing.try_send(request).map_err(|_| Lost::new("stream to the collector is stuck or closed"))
    }

    fn answer(&mut self, response: DeliverResponse, inbox: &Arc<Inbox>, backlog: &mut Backlog) {
        match response.message {
            Some(Response::Ack(ack)) => {
                free(inbox, backlog, ack.sequence);
                self.in_flight.retain(|last| *last > ack.sequence);
            }
            Some(Response::Refusal(refusal)) => {
                let (sequence, field, reason) = (refusal.sequence, refusal.field, refusal.reason);
                tracing::error!(sequence, field, reason, "collector refused an audit record");
                backlog.refuse(sequence);
            }
            Some(Response::Welcome(_)) | None => tracing::warn!("collector sent an unexpected message"),
        }
    }

    /// Says that nothing more will come, and waits until the collector hangs up.
    async fn goodbye(&mut self, last_sequence: u64) -> Result<(), Lost> {
        self.send(encoded(Request::Goodbye(Goodbye { last_sequence })))?;
        let (closed, _) = mpsc::channel(1);
        self.outgoing = closed;
        while let Ok(Some(_)) = self.incoming.message().await {}
        Ok(())
    }
}

fn encoded(message: Request) -> Vec<u8> {
    DeliverRequest { message: Some(message) }.encode_to_vec()
}

fn free(inbox: &Arc<Inbox>, backlog: &mut Backlog, sequence: u64) {
    let freed = backlog.ack(sequence);
    inbox.free(freed.events, freed.bytes, freed.given_up);
}

/// The lower of our limits and the collector's; 0 is no limit.
fn limits(welcome: &Welcome) -> BatchLimits {
    let lower = |ours: usize, theirs: u32| match usize::try_from(theirs) {
        Ok(0) | Err(_) => ours,
        Ok(theirs) => ours.min(theirs),
    };
    BatchLimits {
        events: lower(MAX_BATCH.events, welcome.max_batch_events),
        bytes: lower(MAX_BATCH.bytes, welcome.max_batch_bytes),
    }
}

/// An error with its causes: a transport error's own text says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        // Some errors repeat what they wrap.
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}
