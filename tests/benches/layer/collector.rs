//! A collector of the same protocol on a thread of its own: without a disk, and the cheapest reader there is. It finds
//! the number of a batch's last event and acks it at once, and looks at nothing else of it. What is measured beside it is
//! the service.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::thread;

use anyhow::Result;
use bytes::Buf;
use http::{Request, Response};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use sidetrail_wire::ingest::v1::deliver_response::Message as Answer;
use sidetrail_wire::ingest::v1::{Ack, DeliverRequest, DeliverResponse, Welcome};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Status, Streaming};
use tonic_prost::ProstEncoder;

/// As the collector has it.
const WINDOW: u32 = 1 << 20;
const MAX_FRAME: u32 = 1 << 16;
const MAX_MESSAGE: usize = 16 << 20;

/// Answers on their way back.
const ANSWERS: usize = 64;

/// `DeliverRequest.batch`, `Batch.events`, `Event.sequence`.
const BATCH: u32 = 2;
const EVENTS: u32 = 1;
const SEQUENCE: u32 = 1;

/// It ends when it is dropped.
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
            let server = tonic::transport::Server::builder()
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .max_frame_size(MAX_FRAME)
                .add_service(Ingest);
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

/// The service of the protocol, of one method.
#[derive(Clone, Copy, Debug)]
struct Ingest;

impl NamedService for Ingest {
    const NAME: &'static str = "sidetrail.ingest.v1.Ingest";
}

impl Service<Request<Body>> for Ingest {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async {
            let mut grpc = Grpc::new(Reader).apply_max_message_size_config(Some(MAX_MESSAGE), None);
            Ok(grpc.streaming(Self, request).await)
        })
    }
}

impl StreamingService<Received> for Ingest {
    type Response = DeliverResponse;
    type ResponseStream = ReceiverStream<Result<DeliverResponse, Status>>;
    type Future = BoxFuture<tonic::Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: tonic::Request<Streaming<Received>>) -> Self::Future {
        let mut stream = request.into_inner();
        let (answers, responses) = mpsc::channel(ANSWERS);
        tokio::spawn(async move {
            while let Ok(Some(received)) = stream.message().await {
                let message = match received {
                    Received::Hello => Answer::Welcome(Welcome::default()),
                    Received::Batch(sequence) => Answer::Ack(Ack { sequence }),
                    Received::Heartbeat => continue,
                    Received::Goodbye => break,
                };
                if answers.send(Ok(DeliverResponse { message: Some(message) })).await.is_err() {
                    break;
                }
            }
        });
        Box::pin(async { Ok(tonic::Response::new(ReceiverStream::new(responses))) })
    }
}

/// A request, as far as it is looked at.
#[derive(Debug)]
enum Received {
    Hello,
    /// The number of its last event.
    Batch(u64),
    Heartbeat,
    Goodbye,
}

/// Does not decode events.
#[derive(Debug)]
struct Reader;

impl Codec for Reader {
    type Encode = DeliverResponse;
    type Decode = Received;
    type Encoder = ProstEncoder<DeliverResponse>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Decoder for Reader {
    type Item = Received;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Received>, Status> {
        let received = read(from.chunk());
        from.advance(from.remaining());
        received.map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

fn read(request: &[u8]) -> Result<Received> {
    use sidetrail_wire::ingest::v1::deliver_request::Message as Request;
    if let Some(mut batch) = field(&mut &*request, BATCH)? {
        let mut last = [].as_slice();
        while let Some(event) = field(&mut batch, EVENTS)? {
            last = event;
        }
        let (SEQUENCE, WireType::Varint) = decode_key(&mut last)? else { anyhow::bail!("no number") };
        return Ok(Received::Batch(decode_varint(&mut last)?));
    }
    Ok(match DeliverRequest::decode(request)?.message {
        Some(Request::Hello(_)) => Received::Hello,
        Some(Request::Goodbye(_)) => Received::Goodbye,
        Some(Request::Heartbeat(_) | Request::Batch(_)) | None => Received::Heartbeat,
    })
}

/// The next field's bytes, if it is this one.
fn field<'a>(bytes: &mut &'a [u8], tag: u32) -> Result<Option<&'a [u8]>> {
    if bytes.is_empty() || decode_key(bytes)? != (tag, WireType::LengthDelimited) {
        return Ok(None);
    }
    let size = usize::try_from(decode_varint(bytes)?)?;
    let (value, rest) = bytes.split_at_checked(size).ok_or_else(|| anyhow::anyhow!("an event is cut off"))?;
    *bytes = rest;
    Ok(Some(value))
}
