//! A collector that keeps records in memory, and loses connections when told to.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use sidetrail_wire::ingest::v1::deliver_request::Message as Request;
use sidetrail_wire::ingest::v1::deliver_response::Message as Response;
use sidetrail_wire::ingest::v1::ingest_server::{Ingest, IngestServer};
use sidetrail_wire::ingest::v1::{
    Ack, DeliverRequest, DeliverResponse, Hello, PROTOCOL_VERSION, Refusal, Welcome, event,
};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request as Call, Response as Answer, Status, Streaming};

/// How a connection is lost, at the given event of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    /// The event is not kept.
    Before(u64),
    /// The event is kept, and its ack lost.
    After(u64),
    /// Every stream ends with this code and nothing is kept.
    Always(tonic::Code),
}

/// Everything that a test may look at.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) records: Vec<String>,
    pub(crate) hellos: Vec<Hello>,
    pub(crate) goodbyes: Vec<u64>,
    pub(crate) largest_batch: usize,
    /// The last number, refused ones included.
    last: u64,
    losses: VecDeque<Loss>,
}

pub(crate) struct Collector {
    pub(crate) kept: Arc<Mutex<Kept>>,
    directory: TempDir,
    _runtime: Runtime,
}

/// Limits of its Welcome.
pub(crate) const MAX_BATCH_EVENTS: usize = 10;

impl Collector {
    /// Listens on a Unix socket; the first connections are lost as given.
    pub(crate) fn start(losses: impl IntoIterator<Item = Loss>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let kept = Arc::new(Mutex::new(Kept { losses: losses.into_iter().collect(), ..Kept::default() }));
        let service = IngestServer::new(Service(kept.clone()));
        let socket = directory.path().join("socket");
        runtime.spawn(async move {
            let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self { kept, directory, _runtime: runtime }
    }

    pub(crate) fn address(&self) -> String {
        let socket: PathBuf = self.directory.path().join("socket");
        format!("unix:{}", socket.display())
    }
}

struct Service(Arc<Mutex<Kept>>);

#[tonic::async_trait]
impl Ingest for Service {
    type DeliverStream = ReceiverStream<Result<DeliverResponse, Status>>;

    async fn deliver(
        &self,
        call: Call<Streaming<DeliverRequest>>,
    ) -> Result<Answer<Self::DeliverStream>, Status> {
        let (answers, stream) = mpsc::channel(100);
        let kept = self.0.clone();
        tokio::spawn(async move {
            if let Err(status) = session(&kept, call.into_inner(), &answers).await {
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Answer::new(ReceiverStream::new(stream)))
    }
}

type Answers = mpsc::Sender<Result<DeliverResponse, Status>>;

async fn session(
    kept: &Mutex<Kept>,
    mut requests: Streaming<DeliverRequest>,
    answers: &Answers,
) -> Result<(), Status> {
    let answer = async |message| {
        let _ = answers.send(Ok(DeliverResponse { message: Some(message) })).await;
    };
    let Some(Request::Hello(hello)) = requests.message().await?.and_then(|request| request.message) else {
        return Err(Status::failed_precondition("no hello"));
    };
    assert_eq!(hello.protocol_version, PROTOCOL_VERSION);
    let (loss, acked_sequence) = {
        let mut kept = kept.lock().unwrap();
        kept.hellos.push(hello);
        (kept.losses.pop_front(), kept.last)
    };
    if let Some(Loss::Always(code)) = loss {
        kept.lock().unwrap().losses.push_front(Loss::Always(code));
        return Err(Status::new(code, "not today"));
    }
    let max_batch_events = u32::try_from(MAX_BATCH_EVENTS).unwrap();
    answer(Response::Welcome(Welcome { acked_sequence, max_batch_events, ..Welcome::default() })).await;
    let mut seen = 0;
    while let Some(request) = requests.message().await? {
        let batch = match request.message {
            Some(Request::Batch(batch)) => batch,
            Some(Request::Goodbye(goodbye)) => {
                kept.lock().unwrap().goodbyes.push(goodbye.last_sequence);
                return Ok(());
            }
            _ => continue,
        };
        let size = batch.events.len();
        for event in batch.events {
            seen += 1;
            if matches!(loss, Some(Loss::Before(at)) if at == seen) {
                return Err(Status::unavailable("lost before"));
            }
            let refusal = keep(kept, event.sequence, event.payload, size)?;
            if matches!(loss, Some(Loss::After(at)) if at == seen) {
                return Err(Status::unavailable("lost after"));
            }
            if let Some(refusal) = refusal {
                answer(Response::Refusal(refusal)).await;
            }
        }
        let sequence = kept.lock().unwrap().last;
        answer(Response::Ack(Ack { sequence })).await;
    }
    Ok(())
}

/// Keeps an event by the rules of the protocol; records with a `refuse` member are refused.
fn keep(
    kept: &Mutex<Kept>,
    sequence: u64,
    payload: Option<event::Payload>,
    batch: usize,
) -> Result<Option<Refusal>, Status> {
    let mut kept = kept.lock().unwrap();
    kept.largest_batch = kept.largest_batch.max(batch);
    if sequence <= kept.last {
        return Ok(None);
    }
    if sequence != kept.last + 1 {
        return Err(Status::invalid_argument(format!("event {sequence} after {}", kept.last)));
    }
    kept.last = sequence;
    let Some(event::Payload::Record(record)) = payload else {
        return Err(Status::invalid_argument("not a record"));
    };
    let record = String::from_utf8(record.to_vec()).unwrap();
    if record.contains("\"refuse\"") {
        return Ok(Some(Refusal { sequence, field: "record".to_owned(), reason: "is refused".to_owned() }));
    }
    kept.records.push(record);
    Ok(None)
}
