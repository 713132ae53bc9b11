//! Delivery to a collector: one source for a run of the server, numbered and sent again until it is on disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sidetrail_wire::connect::{Address, ConnectError};
use sidetrail_wire::ingest::v1::ingest_client::IngestClient;
use sidetrail_wire::ingest::v1::{
    Batch, DeliverRequest, Event, Goodbye, Hello, PROTOCOL_VERSION, deliver_request, deliver_response,
    event::Payload,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Events that wait to be on the collector's disk; beyond it callers are told to come back.
const MAX_WAITING: usize = 4096;
/// How long a caller waits.
const WITHIN: Duration = Duration::from_secs(10);
/// After a connection that failed.
const RETRY: Duration = Duration::from_millis(500);
/// How long opening a stream may take.
const OPEN: Duration = Duration::from_secs(10);
/// Messages on the way.
const MAX_MESSAGES: usize = 16;
/// What the events are of, as manifests name it.
const SERVICE: &str = "cloudtrail-data";

/// What became of an event.
type Told = oneshot::Sender<Result<(), Undelivered>>;

/// An event is not known to be on disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undelivered {
    #[error("the collector refuses it: {0}")]
    Refused(String),
    #[error("the collector does not take it at the moment")]
    Away,
    #[error("too many events wait for the collector")]
    Full,
}

#[derive(Debug)]
struct Waiting {
    record: Bytes,
    told: Option<Told>,
}

/// The way to a collector.
#[derive(Debug)]
pub(crate) struct Delivery {
    send: mpsc::Sender<Waiting>,
    places: Arc<Semaphore>,
}

impl Delivery {
    /// Starts delivering, until `end`.
    pub(crate) fn start(
        address: Address,
        source: [u8; 16],
        instance: String,
        end: CancellationToken,
    ) -> Self {
        let (send, receive) = mpsc::channel(MAX_WAITING);
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            source: Bytes::copy_from_slice(&source),
            service: SERVICE.to_owned(),
            instance,
            agent: concat!("sidetrail-server/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let sender = Sender { address, hello, receive, unacked: VecDeque::new(), acked: 0, end };
        tokio::spawn(sender.run());
        Self { send, places: Arc::new(Semaphore::new(MAX_WAITING)) }
    }

    /// Delivers records, and says of each what became of it.
    pub(crate) async fn deliver(&self, records: Vec<String>) -> Vec<Result<(), Undelivered>> {
        let count = records.len();
        let Ok(_places) = self.places.try_acquire_many(u32::try_from(count).unwrap_or(u32::MAX)) else {
            return vec![Err(Undelivered::Full); count];
        };
        let mut asked = Vec::with_capacity(count);
        for record in records {
            let (told, tell) = oneshot::channel();
            let waiting = Waiting { record: record.into(), told: Some(told) };
            asked.push(self.send.try_send(waiting).map_err(|_| Undelivered::Full).map(|()| tell));
        }
        let deadline = tokio::time::Instant::now() + WITHIN;
        let mut results = Vec::with_capacity(count);
        for asked in asked {
            results.push(match asked {
                Err(error) => Err(error),
                Ok(tell) => match tokio::time::timeout_at(deadline, tell).await {
                    Ok(Ok(result)) => result,
                    _ => Err(Undelivered::Away),
                },
            });
        }
        results
    }
}

struct Sender {
    address: Address,
    hello: Hello,
    receive: mpsc::Receiver<Waiting>,
    /// What was numbered and is not on disk, from `acked + 1` on.
    unacked: VecDeque<Waiting>,
    acked: u64,
    end: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("cannot connect")]
    Connect(#[from] ConnectError),
    #[error("the collector says: {}", .0.message())]
    Status(#[from] Status),
    #[error("the collector did not answer in {} s", OPEN.as_secs())]
    Time,
    #[error("the stream ended")]
    Ended,
}

impl Sender {
    async fn run(mut self) {
        while !self.end.is_cancelled() {
            // Nobody connects for nothing.
            if self.unacked.is_empty() {
                let next = tokio::select! {
                    () = self.end.cancelled() => return,
                    next = self.receive.recv() => next,
                };
                let Some(next) = next else { return };
                self.unacked.push_back(next);
            }
            let lost = self.stream().await;
            if self.end.is_cancelled() {
                return;
            }
            tracing::warn!(collector = self.address.as_str(), error = %crate::chain(&lost), "brought events wait for the collector");
            // A caller that has given up does not want to have been heard: what was never sent is forgotten.
            tokio::select! {
                () = self.end.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// One stream, to its end.
    async fn stream(&mut self) -> Lost {
        let opened = tokio::time::timeout(OPEN, async {
            let channel = self.address.connect().await?;
            let (requests, outgoing) = mpsc::channel(MAX_MESSAGES);
            let hello = deliver_request::Message::Hello(self.hello.clone());
            let _ = requests.try_send(DeliverRequest { message: Some(hello) });
            let mut answers =
                IngestClient::new(channel).deliver(ReceiverStream::new(outgoing)).await?.into_inner();
            match answers.message().await?.and_then(|answer| answer.message) {
                Some(deliver_response::Message::Welcome(welcome)) => {
                    Ok((requests, answers, welcome.acked_sequence))
                }
                _ => Err(Lost::Ended),
            }
        });
        let (requests, mut answers, acked) = match opened.await {
            Ok(Ok(opened)) => opened,
            Ok(Err(lost)) => return lost,
            Err(_) => return Lost::Time,
        };
        self.ack(acked);
        let mut sent = self.acked;
        loop {
            // One at a time: events are few, and small beside what a message may have.
            while let Some(waiting) =
                self.unacked.get(usize::try_from(sent - self.acked).unwrap_or(usize::MAX))
            {
                let payload = Some(Payload::Record(waiting.record.clone()));
                let event = Event { sequence: sent + 1, payload, completes: 0 };
                let batch = deliver_request::Message::Batch(Batch { events: vec![event] });
                if requests.try_send(DeliverRequest { message: Some(batch) }).is_err() {
                    break;
                }
                sent += 1;
            }
            tokio::select! {
                () = self.end.cancelled() => {
                    let last_sequence = self.acked + self.unacked.len() as u64;
                    let goodbye = deliver_request::Message::Goodbye(Goodbye { last_sequence });
                    let _ = requests.try_send(DeliverRequest { message: Some(goodbye) });
                    drop(requests);
                    // It ends the stream when that is on disk.
                    let _ = tokio::time::timeout(OPEN, async { while let Ok(Some(_)) = answers.message().await {} }).await;
                    return Lost::Ended;
                }
                next = self.receive.recv(), if self.unacked.len() < MAX_WAITING => match next {
                    Some(next) => self.unacked.push_back(next),
                    None => return Lost::Ended,
                },
                answer = answers.message() => match answer {
                    Err(status) => return status.into(),
                    Ok(None) => return Lost::Ended,
                    Ok(Some(answer)) => match answer.message {
                        Some(deliver_response::Message::Ack(ack)) => self.ack(ack.sequence),
                        Some(deliver_response::Message::Refusal(refusal)) => {
                            let at = refusal.sequence.checked_sub(self.acked + 1);
                            let waiting = at.and_then(|at| self.unacked.get_mut(usize::try_from(at).ok()?));
                            if let Some(told) = waiting.and_then(|waiting| waiting.told.take()) {
                                let _ = told.send(Err(Undelivered::Refused(refusal.reason)));
                            }
                        }
                        _ => {}
                    },
                },
            }
        }
    }

    /// All up to there is on disk.
    fn ack(&mut self, sequence: u64) {
        while self.acked < sequence {
            let Some(waiting) = self.unacked.pop_front() else { break };
            self.acked += 1;
            if let Some(told) = waiting.told {
                let _ = told.send(Ok(()));
            }
        }
    }
}
