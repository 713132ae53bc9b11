//! The sender against a collector that answers by script.

mod delivery;

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use sidetrail::{AuditLayer, BuildError, Record, Sender, Sink};
use sidetrail_wire::ingest::v1::{
    Ack, DeliverRequest, DeliverResponse, Event, Refusal, Welcome,
    deliver_request::Message as Request,
    deliver_response::Message as Response,
    event::Payload,
    ingest_server::{Ingest, IngestServer},
};
use tempfile::TempDir;
use tokio::{net::UnixListener, sync::mpsc, task::JoinHandle};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, UnixListenerStream},
};
use tonic::{Status, Streaming, transport::Server};

pub(crate) const SOON: Duration = Duration::from_secs(10);

/// How a collector behaves. It outlives the servers that stand for it.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Log>>);

#[derive(Default)]
pub(crate) struct Log {
    /// First and last number of each event stored, with its payload.
    pub(crate) stored: Vec<(u64, u64, Payload)>,
    /// Numbers of calls, and the intents that they complete.
    pub(crate) completed: Vec<(u64, u64)>,
    sources: Vec<Vec<u8>>,
    /// Batches received, those already stored included.
    batches: usize,
    largest_batch: usize,
    pub(crate) goodbye: Option<u64>,
    /// Batches are stored, but not acked.
    silent: bool,
    /// The stream ends after as many batches, without an ack for the last.
    hang_up_after: Option<usize>,
    refuse: Option<u64>,
    max_batch_events: u32,
    max_batch_bytes: u32,
}

impl Log {
    fn last(&self) -> u64 {
        self.stored.last().map_or(0, |(_, last, _)| *last)
    }

    fn store(&mut self, event: Event) {
        let completes = (event.sequence, event.completes);
        let payload = event.payload.unwrap();
        let count = match &payload {
            Payload::Dropped(dropped) => dropped.count,
            _ => 1,
        };
        let (first, last) = (event.sequence, event.sequence + count - 1);
        if first > self.last() {
            assert_eq!(first, self.last() + 1, "no gap");
            self.stored.push((first, last, payload));
            self.completed.extend(Some(completes).filter(|(_, intent)| *intent > 0));
        } else {
            assert!(last <= self.last(), "an event once sent does not change");
        }
    }

    fn calls(&self) -> Vec<String> {
        let call = |(_, _, payload): &(u64, u64, Payload)| match payload {
            Payload::Call(call) => Some(call.event_name.clone()),
            _ => None,
        };
        self.stored.iter().filter_map(call).collect()
    }

    fn dropped(&self) -> u64 {
        let dropped = |(_, _, payload): &(u64, u64, Payload)| match payload {
            Payload::Dropped(dropped) => Some(dropped.count),
            _ => None,
        };
        self.stored.iter().filter_map(dropped).sum()
    }
}

impl Collector {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Log) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// Listens until the task is aborted.
    pub(crate) fn listen(&self, socket: &Path) -> JoinHandle<()> {
        let _ = std::fs::remove_file(socket);
        let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
        let server = Server::builder().add_service(IngestServer::new(self.clone()));
        tokio::spawn(async move { server.serve_with_incoming(incoming).await.unwrap() })
    }

    /// Answers one message; `false` ends the stream.
    async fn answer(
        &self,
        request: Request,
        answers: &mpsc::Sender<Result<DeliverResponse, Status>>,
    ) -> bool {
        let send = async |message| {
            let _ = answers.send(Ok(DeliverResponse { message: Some(message) })).await;
        };
        match request {
            Request::Hello(hello) => {
                assert_eq!((hello.protocol_version, hello.source.len()), (1, 16));
                let welcome = self.with(|log| {
                    log.sources.push(hello.source.to_vec());
                    Welcome {
                        account_id: "000000000000".to_owned(),
                        region: "local".to_owned(),
                        acked_sequence: log.last(),
                        max_event_bytes: 256 * 1024,
                        max_batch_events: log.max_batch_events,
                        max_batch_bytes: log.max_batch_bytes,
                    }
                });
                send(Response::Welcome(welcome)).await;
            }
            Request::Batch(batch) => {
                let (sequence, silent, refused, hang_up) = self.with(|log| {
                    log.batches += 1;
                    log.largest_batch = log.largest_batch.max(batch.events.len());
                    for event in batch.events {
                        log.store(event);
                    }
                    let hang_up = log.hang_up_after.take_if(|batches| log.batches >= *batches).is_some();
                    (log.last(), log.silent, log.refuse.take(), hang_up)
                });
                if hang_up {
                    return false;
                }
                if let Some(sequence) = refused {
                    let (field, reason) = ("requestParameters".to_owned(), "is odd".to_owned());
                    send(Response::Refusal(Refusal { sequence, field, reason })).await;
                }
                if !silent {
                    send(Response::Ack(Ack { sequence })).await;
                }
            }
            Request::Heartbeat(_) => {}
            Request::Goodbye(goodbye) => {
                self.with(|log| log.goodbye = Some(goodbye.last_sequence));
                return false;
            }
        }
        true
    }
}

#[tonic::async_trait]
impl Ingest for Collector {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<DeliverResponse, Status>> + Send>>;

    async fn deliver(
        &self,
        request: tonic::Request<Streaming<DeliverRequest>>,
    ) -> Result<tonic::Response<Self::DeliverStream>, Status> {
        let (answers, stream) = mpsc::channel(64);
        let collector = self.clone();
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            while let Ok(Some(request)) = requests.message().await {
                if !collector.answer(request.message.unwrap(), &answers).await {
                    break;
                }
            }
        });
        Ok(tonic::Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

pub(crate) fn socket() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("collector.sock");
    (directory, socket)
}

fn sender(socket: &Path, events: usize) -> Sender {
    let builder = Sender::builder("orders.example.com").collector(format!("unix:{}", socket.display()));
    builder.queue(events, 16 * 1024 * 1024).build().unwrap()
}

fn record<T: ToString + ?Sized>(name: &T) -> Record {
    Record { event_name: Some(name.to_string()), ..Record::default() }
}

pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap();
}

#[tokio::test]
async fn delivers_and_says_goodbye() {
    let (_directory, socket) = socket();
    let collector = Collector::default();
    let _server = collector.listen(&socket);
    let sender = sender(&socket, 1000);
    for number in 0..100 {
        sender.record(record(&number));
    }
    sender.shutdown(SOON).await.unwrap();
    let names: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    collector.with(|log| assert_eq!((log.calls(), log.goodbye), (names, Some(100))));
    let stats = sender.stats();
    assert_eq!((stats.accepted, stats.acked, stats.dropped, stats.queued), (100, 100, 0, 0));
    sender.record(record("late"));
    assert_eq!(sender.stats().dropped, 1);
}

#[tokio::test]
async fn nothing_is_lost_while_the_collector_is_away() {
    let (_directory, socket) = socket();
    let sender = sender(&socket, 1000);
    for number in 0..10 {
        sender.record(record(&number));
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!((sender.stats().queued, sender.stats().connected), (10, false));
    let collector = Collector::default();
    let _server = collector.listen(&socket);
    sender.shutdown(SOON).await.unwrap();
    collector.with(|log| assert_eq!(log.calls().len(), 10));
}

#[tokio::test]
async fn what_was_not_acked_is_sent_again_and_stored_once() {
    let (_directory, socket) = socket();
    let collector = Collector::default();
    let _server = collector.listen(&socket);
    let sender = sender(&socket, 10_000);
    collector.with(|log| log.max_batch_events = 7);
    for round in 0..5 {
        collector.with(|log| log.hang_up_after = Some(log.batches + 3));
        for number in 0..100 {
            sender.record(record(&(round * 100 + number)));
        }
        eventually(|| collector.with(|log| log.hang_up_after.is_none())).await;
    }
    sender.shutdown(SOON).await.unwrap();
    let names: Vec<_> = (0..500).map(|number| number.to_string()).collect();
    collector.with(|log| {
        assert_eq!(log.calls(), names);
        assert!(log.sources.len() > 5 && log.sources.iter().all(|source| *source == log.sources[0]));
        assert_eq!(log.largest_batch, 7);
    });
    assert_eq!(sender.stats().acked, 500);
}

#[tokio::test]
async fn a_full_queue_drops_the_newest_and_says_so() {
    let (_directory, socket) = socket();
    let sender = sender(&socket, 3);
    for number in 0..5 {
        sender.record(record(&number));
    }
    let stats = sender.stats();
    assert_eq!((stats.accepted, stats.queued, stats.dropped), (5, 3, 2));
    let collector = Collector::default();
    let _server = collector.listen(&socket);
    eventually(|| sender.stats().queued == 0).await;
    sender.record(record("after"));
    sender.shutdown(SOON).await.unwrap();
    collector.with(|log| {
        assert_eq!(log.calls(), ["0", "1", "2", "after"]);
        assert_eq!((log.dropped(), log.goodbye), (2, Some(6)));
    });
}

#[tokio::test]
async fn receipts_and_records_keep_their_order_under_load() {
    let (_directory, socket) = socket();
    let collector = Collector::default();
    let _server = collector.listen(&socket);
    let sender = sender(&socket, 50);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let sender = sender.clone();
            std::thread::spawn(move || (0..5000).for_each(|number| sender.record(record(&number))))
        })
        .collect();
    collector.with(|log| log.hang_up_after = Some(log.batches + 2));
    for thread in threads {
        tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
    }
    sender.shutdown(SOON).await.unwrap();
    let stats = sender.stats();
    assert_eq!((stats.accepted, stats.acked + stats.dropped, stats.queued), (20_000, 20_000, 0));
    // `store` checks that the numbers have no gap.
    collector.with(|log| {
        assert_eq!((log.last(), log.dropped()), (20_000, stats.dropped));
        assert_eq!(log.calls().len() as u64, stats.acked);
    });
}

#[tokio::test]
async fn refused_and_too_large_records_count_as_dropped() {
    let (_directory, socket) = socket();
    let collector = Collector::default();
    collector.with(|log| (log.refuse, log.max_batch_bytes) = (Some(1), 4096));
    let _server = collector.listen(&socket);
    let sender = sender(&socket, 100);
    sender.record(record("refused"));
    sender.record(record(&"x".repeat(5000)));
    sender.record(record("fine"));
    sender.shutdown(SOON).await.unwrap();
    assert_eq!((sender.stats().acked, sender.stats().dropped), (1, 2));
    collector.with(|log| assert_eq!((log.dropped(), log.goodbye), (1, Some(3))));
}

#[tokio::test]
async fn shutdown_ends_by_its_deadline() {
    let (_directory, socket) = socket();
    let collector = Collector::default();
    collector.with(|log| log.silent = true);
    let _server = collector.listen(&socket);
    let sender = sender(&socket, 100);
    sender.record(record("lost"));
    let error = sender.shutdown(Duration::from_millis(200)).await.unwrap_err();
    assert_eq!((error.undelivered, sender.stats().dropped), (1, 1));
    // Nothing to deliver, nobody to deliver to.
    let idle = self::sender(Path::new("/nonexistent/collector.sock"), 100);
    tokio::time::timeout(Duration::from_secs(2), idle.shutdown(SOON)).await.unwrap().unwrap();
}

#[test]
fn a_sender_works_without_a_runtime_and_finishes_when_dropped() {
    let (_directory, socket) = socket();
    let sender = sender(&socket, 100);
    sender.record(record("early"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let collector = Collector::default();
    let _inside = runtime.enter();
    let _server = collector.listen(&socket);
    let blocking = self::sender(&socket, 100);
    blocking.shutdown_blocking(SOON).unwrap();
    drop(sender);
    runtime.block_on(eventually(|| collector.with(|log| log.calls() == ["early"] && log.goodbye == Some(1))));
}

#[test]
fn an_impossible_address_is_an_error_or_a_layer_that_drops() {
    let build = || AuditLayer::builder("orders.example.com").collector("https://collector").build();
    assert!(matches!(build(), Err(BuildError::Address(_))));
    assert_eq!(
        build().unwrap_err().to_string(),
        "collector address \"https://collector\" is none of unix:/path, http://host:port and https://host:port"
    );
}
