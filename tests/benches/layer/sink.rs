//! Where records go: a queue that somebody empties, or a collector that acks at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Result;
use prost::Message;
use sidetrail::{Record, Sink};
use sidetrail_wire::ingest::v1::ingest_server::{Ingest, IngestServer};
use sidetrail_wire::ingest::v1::{
    Ack, Call, DeliverRequest, DeliverResponse, Welcome, deliver_request, deliver_response,
};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// As the collector has it.
const WINDOW: u32 = 1 << 20;
const MAX_FRAME: u32 = 1 << 16;

/// Answers on their way back.
const ANSWERS: usize = 64;

/// Does what the sender does where the request ends. Another thread takes the records and throws them away.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    taken: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    bytes: usize,
    stopped: bool,
}

impl Queue {
    pub(crate) fn start() -> Arc<Self> {
        let queue = Arc::new(Self::default());
        let taker = Arc::clone(&queue);
        thread::spawn(move || {
            while let Some(calls) = taker.take() {
                let count = calls.len() as u64;
                drop(calls);
                taker.taken.fetch_add(count, Ordering::Release);
            }
        });
        queue
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_one();
    }

    fn take(&self) -> Option<Vec<Call>> {
        let state = self.wake.wait_while(self.lock(), |state| state.calls.is_empty() && !state.stopped);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.bytes = 0;
        (!state.stopped).then(|| std::mem::take(&mut state.calls))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Queue {
    fn record(&self, record: Record) {
        let call = Call::from(record);
        let weight = call.encoded_len();
        let mut state = self.lock();
        let was_empty = state.calls.is_empty();
        state.bytes += weight;
        state.calls.push(call);
        drop(state);
        if was_empty {
            self.wake.notify_one();
        }
    }
}

/// A collector of the same protocol on a thread of its own, without a disk.
#[derive(Debug)]
pub(crate) struct Server {
    directory: TempDir,
    _stop: oneshot::Sender<()>,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _guard = runtime.enter();
            UnixListener::bind(directory.path().join("socket"))?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        thread::spawn(move || {
            let service = IngestServer::new(Acks).max_decoding_message_size(16 << 20);
            let server = tonic::transport::Server::builder()
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .max_frame_size(MAX_FRAME)
                .add_service(service);
            let served = server.serve_with_incoming_shutdown(UnixListenerStream::new(listener), async {
                let _ = stopped.await;
            });
            if let Err(error) = runtime.block_on(served) {
                eprintln!("the collector of the bench: {error}");
            }
        });
        Ok(Self { directory, _stop: stop })
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.directory.path().join("socket").display())
    }
}

#[derive(Debug)]
struct Acks;

#[tonic::async_trait]
impl Ingest for Acks {
    type DeliverStream = ReceiverStream<Result<DeliverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let mut stream = request.into_inner();
        let (answers, responses) = mpsc::channel(ANSWERS);
        tokio::spawn(async move {
            while let Ok(Some(DeliverRequest { message: Some(message) })) = stream.message().await {
                let answer = match message {
                    deliver_request::Message::Hello(_) => {
                        deliver_response::Message::Welcome(Welcome::default())
                    }
                    deliver_request::Message::Batch(batch) => {
                        let sequence = batch.events.last().map_or(0, |event| event.sequence);
                        deliver_response::Message::Ack(Ack { sequence })
                    }
                    deliver_request::Message::Heartbeat(_) => continue,
                    deliver_request::Message::Goodbye(_) => break,
                };
                if answers.send(Ok(DeliverResponse { message: Some(answer) })).await.is_err() {
                    break;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}
