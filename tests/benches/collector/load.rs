//! Senders that cost little: what goes out is encoded already.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes};
use prost::Message as _;
use sidetrail_tests::sender::{connect, hello};
use sidetrail_wire::ingest::v1::deliver_response::Message;
use sidetrail_wire::ingest::v1::{DeliverRequest, DeliverResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Status, Streaming};

use crate::events::Pool;

const METHOD: &str = "/sidetrail.ingest.v1.Ingest/Deliver";

/// One source and how it sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) source: u8,
    pub(crate) batch: u64,
    /// Batches that may wait for their ack.
    pub(crate) window: usize,
    /// As fast as acks come, where there is none.
    pub(crate) pace: Option<Pace>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) batch_every: Duration,
}

/// Sends `total` events, each load its share, at the same time. How long the ack of each batch took, sorted.
pub(crate) fn send(socket: &Path, pool: &Pool, loads: &[Load], total: u64) -> Result<Vec<Duration>> {
    let share = total / loads.len() as u64;
    std::thread::scope(|scope| {
        let senders: Vec<_> = loads
            .iter()
            .map(|load| {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                    runtime.block_on(run(socket, pool, *load, share))
                })
            })
            .collect();
        let mut acks = Vec::new();
        for sender in senders {
            acks.extend(sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??);
        }
        acks.sort_unstable();
        Ok(acks)
    })
}

async fn run(socket: &Path, pool: &Pool, load: Load, total: u64) -> Result<Vec<Duration>> {
    let (requests, mut responses) = open(socket, load).await?;
    let Message::Welcome(_) = receive(&mut responses).await? else { bail!("no welcome") };
    let (mut sent, mut acked) = (0, 0);
    // The last sequence of each batch on its way, and when it left.
    let mut waiting: VecDeque<(u64, Instant)> = VecDeque::new();
    let mut times = Vec::new();
    let mut due = Instant::now();
    while acked < total {
        let room = sent < total && waiting.len() < load.window;
        if room && load.pace.is_none_or(|_| due <= Instant::now()) {
            let count = load.batch.min(total - sent);
            let batch = pool.batch(load.source, sent + 1, count)?;
            sent += count;
            waiting.push_back((sent, Instant::now()));
            requests.send(batch).await.context("the stream has ended")?;
            due += load.pace.map_or(Duration::ZERO, |pace| pace.batch_every);
            continue;
        }
        let message = tokio::select! {
            message = receive(&mut responses) => message?,
            () = tokio::time::sleep_until(due.into()), if room => continue,
        };
        let Message::Ack(ack) = message else { bail!("not an ack: {message:?}") };
        ensure!(ack.sequence <= sent, "an ack of what was not sent");
        acked = ack.sequence;
        while waiting.front().is_some_and(|(last, _)| *last <= acked) {
            times.extend(waiting.pop_front().map(|(_, left)| left.elapsed()));
        }
    }
    Ok(times)
}

async fn open(socket: &Path, load: Load) -> Result<(mpsc::Sender<Bytes>, Streaming<DeliverResponse>)> {
    let mut client = tonic::client::Grpc::new(connect(socket).await?);
    client.ready().await?;
    let (requests, stream) = mpsc::channel(load.window);
    let hello = DeliverRequest { message: Some(hello([load.source; 16])) };
    requests.send(hello.encode_to_vec().into()).await?;
    let request = tonic::Request::new(ReceiverStream::new(stream));
    let responses = client.streaming(request, PathAndQuery::from_static(METHOD), Encoded).await?;
    Ok((requests, responses.into_inner()))
}

async fn receive(responses: &mut Streaming<DeliverResponse>) -> Result<Message> {
    let response = responses.message().await?.context("the collector ended the stream")?;
    response.message.context("a message of no kind")
}

/// Requests as they are, responses as ever.
#[derive(Debug)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = DeliverResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = DeliverResponse;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DeliverResponse>, Status> {
        let message = from.copy_to_bytes(from.remaining());
        DeliverResponse::decode(message).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
