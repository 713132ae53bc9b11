//! A sender that speaks the protocol by hand and remembers what was acked: the witness of the crash tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use sidetrail_wire::ingest::v1::ingest_client::IngestClient;
use sidetrail_wire::ingest::v1::{
    Batch, DeliverRequest, DeliverResponse, Event, Goodbye, Hello, PROTOCOL_VERSION, deliver_request,
    deliver_response, event,
};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// Messages on their way into a stream.
const IN_FLIGHT: usize = 8;

/// A connection over the Unix socket of a collector.
///
/// # Errors
///
/// When nobody listens.
pub async fn connect(socket: &Path) -> Result<Channel> {
    let socket: Arc<Path> = socket.into();
    let connector = service_fn(move |_: Uri| {
        let socket = Arc::clone(&socket);
        async move { UnixStream::connect(&*socket).await.map(TokioIo::new) }
    });
    // The address is not looked at.
    Ok(Endpoint::from_static("http://collector").connect_with_connector(connector).await?)
}

/// An open stream.
#[derive(Debug)]
pub struct Stream {
    /// What goes to the collector.
    pub requests: mpsc::Sender<DeliverRequest>,
    /// What comes back.
    pub responses: Streaming<DeliverResponse>,
}

impl Stream {
    /// Opens a stream and sends `first`.
    ///
    /// # Errors
    ///
    /// When the collector does not answer.
    pub async fn open(socket: &Path, first: deliver_request::Message) -> Result<Self> {
        Self::over(connect(socket).await?, first).await
    }

    /// Opens a stream over a connection and sends `first`.
    ///
    /// # Errors
    ///
    /// When the collector does not answer.
    pub async fn over(channel: Channel, first: deliver_request::Message) -> Result<Self> {
        let (requests, stream) = mpsc::channel(IN_FLIGHT);
        requests.send(DeliverRequest { message: Some(first) }).await?;
        let responses = IngestClient::new(channel).deliver(ReceiverStream::new(stream)).await?.into_inner();
        Ok(Self { requests, responses })
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// When the stream has ended.
    pub async fn send(&self, message: deliver_request::Message) -> Result<()> {
        self.requests.send(DeliverRequest { message: Some(message) }).await.context("the stream has ended")
    }

    /// The next message from the collector.
    ///
    /// # Errors
    ///
    /// When the stream ends, with the collector's words.
    pub async fn receive(&mut self) -> Result<deliver_response::Message> {
        let response = self.responses.message().await?.context("the collector ended the stream")?;
        response.message.context("a message of no kind")
    }
}

/// A hello of `source`.
#[must_use]
pub fn hello(source: [u8; 16]) -> deliver_request::Message {
    deliver_request::Message::Hello(Hello {
        protocol_version: PROTOCOL_VERSION,
        source: Bytes::copy_from_slice(&source),
        service: "tests.example.com".to_owned(),
        instance: "e2e".to_owned(),
        agent: "sidetrail-tests".to_owned(),
    })
}

/// A batch of complete records, numbered from `first`.
#[must_use]
pub fn batch(first: u64, records: impl IntoIterator<Item = Bytes>) -> deliver_request::Message {
    let events = (first..)
        .zip(records)
        .map(|(sequence, text)| Event {
            sequence,
            payload: Some(event::Payload::Record(text)),
            ..Event::default()
        })
        .collect();
    deliver_request::Message::Batch(Batch { events })
}

/// Sends records 1 to `total` of one source, over any number of connections, until all are acked.
#[derive(Clone, Debug)]
pub struct Sender {
    socket: PathBuf,
    source: [u8; 16],
    total: u64,
    batch: u64,
    pause: Duration,
    overlap: u64,
    acked: Arc<AtomicU64>,
    record: fn([u8; 16], u64) -> Bytes,
}

impl Sender {
    /// A sender of `total` records in batches of `batch`, with a pause between two batches.
    #[must_use]
    pub fn new(socket: &Path, source: [u8; 16], total: u64, batch: u64, pause: Duration) -> Self {
        let (socket, acked) = (socket.to_owned(), Arc::default());
        Self { socket, source, total, batch, pause, overlap: 0, acked, record: load }
    }

    /// The same, but each connection begins with so many records that the collector says it has.
    #[must_use]
    pub fn resending(mut self, overlap: u64) -> Self {
        self.overlap = overlap;
        self
    }

    /// The source of its records.
    #[must_use]
    pub fn source(&self) -> [u8; 16] {
        self.source
    }

    /// Sends other records: `record` makes that of a source with a sequence.
    #[must_use]
    pub fn with_records(self, record: fn([u8; 16], u64) -> Bytes) -> Self {
        Self { record, ..self }
    }

    /// Up to where everything is acked.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    /// The record with a sequence: its eventID says which it is.
    #[must_use]
    pub fn record(&self, sequence: u64) -> Bytes {
        (self.record)(self.source, sequence)
    }

    /// Runs until everything is acked. Connections that fail are made again.
    ///
    /// # Errors
    ///
    /// When the collector acks what was not sent.
    pub async fn run(&self) -> Result<()> {
        while self.acked() < self.total {
            if let Err(error) = self.session().await {
                if error.is::<Lie>() {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    async fn session(&self) -> Result<()> {
        let mut stream = Stream::open(&self.socket, hello(self.source)).await?;
        let deliver_response::Message::Welcome(welcome) = stream.receive().await? else {
            bail!(Lie("the first answer is no welcome"));
        };
        if welcome.acked_sequence < self.acked() {
            bail!(Lie("a welcome takes back an ack"));
        }
        self.acked.fetch_max(welcome.acked_sequence, Ordering::SeqCst);
        let mut next = welcome.acked_sequence.saturating_sub(self.overlap) + 1;
        let mut tick = tokio::time::interval(self.pause.max(Duration::from_micros(1)));
        while self.acked() < self.total {
            tokio::select! {
                message = stream.receive() => match message? {
                    deliver_response::Message::Ack(ack) if ack.sequence < next => {
                        self.acked.fetch_max(ack.sequence, Ordering::SeqCst);
                    }
                    _ => bail!(Lie("an answer to what was not sent")),
                },
                _ = tick.tick(), if next <= self.total && stream.requests.capacity() > 0 => {
                    let last = (next + self.batch - 1).min(self.total);
                    let records = (next..=last).map(|sequence| self.record(sequence));
                    stream.send(batch(next, records)).await?;
                    next = last + 1;
                }
            }
        }
        stream.send(deliver_request::Message::Goodbye(Goodbye { last_sequence: self.total })).await
    }
}

/// The collector said what cannot be true.
#[derive(Debug)]
struct Lie(&'static str);

impl std::fmt::Display for Lie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Lie {}

/// What is sent where nothing else is asked for.
fn load(source: [u8; 16], sequence: u64) -> Bytes {
    let id = event_id(source, sequence);
    let padding = "x".repeat(usize::try_from(sequence % 700).unwrap_or(0));
    Bytes::from(format!(
        r#"{{"eventVersion":"1.11","eventTime":"2026-01-15T10:41:17Z","eventName":"Load","eventID":"{id}","requestParameters":{{"padding":"{padding}"}}}}"#
    ))
}

/// The eventID of a record: source and sequence, in the form of a UUID.
#[must_use]
pub fn event_id(source: [u8; 16], sequence: u64) -> String {
    let mut bytes = source;
    bytes[8..].copy_from_slice(&sequence.to_be_bytes());
    sidetrail_archive::key::Id(bytes).to_string()
}
