//! One stream of one collector that forwards: open and welcome, frames and acks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use sidetrail_archive::key::{Id, Trail};
use sidetrail_spool::{Appended, Error, Kind, TryAppend};
use sidetrail_wire::gateway::v1::{
    Ack, ForwardRequest, ForwardResponse, Frame, Open, PROTOCOL_VERSION, Welcome, forward_request,
    forward_response,
};
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

use super::Inner;
use super::frame::{self, Accepted, MAX_FRAME};
use crate::ledger::source_id;
use crate::listen::Link;

/// A stream that does not say who it is ends.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Frames of one stream that wait for the disk; beyond it nothing more is read from it.
const MAX_PENDING_FRAMES: usize = 64;
/// What all forwarders together are told to keep under way, and each of them at least and at most. What is under way
/// may be in our memory.
const ALL_WINDOWS: u32 = 32 << 20;
const MIN_WINDOW: u32 = 64 << 10;
const MAX_WINDOW: u32 = 1 << 20;

type Answers = mpsc::Sender<Result<ForwardResponse, Status>>;
/// What became of the parts of a frame.
type Pending = FuturesOrdered<oneshot::Receiver<Result<Appended, Error>>>;

pub(super) struct Session {
    gateway: Arc<Inner>,
    link: Arc<Link>,
    stream: Streaming<ForwardRequest>,
    answers: Answers,
    /// Parts of frames that are queued, and of each whether it is the last of its frame.
    pending: Pending,
    ends: std::collections::VecDeque<bool>,
    acked: u64,
}

impl Session {
    pub(super) fn new(
        gateway: Arc<Inner>,
        link: Arc<Link>,
        stream: Streaming<ForwardRequest>,
        answers: Answers,
    ) -> Self {
        let (pending, ends) = Default::default();
        Self { gateway, link, stream, answers, pending, ends, acked: 0 }
    }

    pub(super) async fn run(mut self) -> Result<(), Status> {
        let (forwarder, trail) = self.open().await?;
        let gateway = Arc::clone(&self.gateway);
        let max = gateway.forwarders.max;
        let _place = gateway
            .places
            .try_acquire()
            .map_err(|_| Status::resource_exhausted(format!("{max} collectors forward already")))?;
        let _welcomed = self.link.welcome();
        let _gauge = gateway.shared.metrics.gateway.forwarder_opened();
        let window_bytes = (ALL_WINDOWS / max).clamp(MIN_WINDOW, MAX_WINDOW);
        let max_frame_bytes = u32::try_from(MAX_FRAME).unwrap_or(u32::MAX);
        self.send(forward_response::Message::Welcome(Welcome { max_frame_bytes, window_bytes })).await?;
        tracing::info!(%forwarder, %trail, peer = %self.link.peer(), "a collector forwards");
        loop {
            let may_read = self.pending.len() < MAX_PENDING_FRAMES;
            tokio::select! {
                biased;
                Some(result) = self.pending.next() => self.answer(result).await?,
                () = gateway.shared.closing.cancelled() => {
                    self.finish().await?;
                    return Err(Status::unavailable("the gateway is shutting down"));
                }
                message = next(&mut self.stream, &gateway), if may_read => match message? {
                    Some(forward_request::Message::Frame(frame)) => self.frame(frame, forwarder).await?,
                    Some(forward_request::Message::Open(_)) => {
                        return Err(Status::failed_precondition("open comes once, at the start"));
                    }
                    None => return self.finish().await,
                }
            }
        }
    }

    async fn open(&mut self) -> Result<(Id, Trail), Status> {
        let first = tokio::time::timeout(OPEN_TIMEOUT, self.stream.message());
        let message = first.await.map_err(|_| Status::deadline_exceeded("no open came in 10 s"))??;
        let Some(ForwardRequest { message: Some(forward_request::Message::Open(open)) }) = message else {
            return Err(Status::failed_precondition("the first message must be open"));
        };
        let Open { protocol_version, collector, trail, account_id, region, agent: _ } = open;
        if protocol_version != PROTOCOL_VERSION {
            return Err(Status::failed_precondition(format!(
                "open.protocol_version is {protocol_version}, this gateway speaks {PROTOCOL_VERSION}"
            )));
        }
        let collector = source_id(&collector).ok_or_else(|| {
            Status::invalid_argument(format!("open.collector is {} bytes, not 16", collector.len()))
        })?;
        let own = &self.gateway.shared.completion;
        if collector == own.collector {
            return Err(Status::invalid_argument(
                "open.collector is the gateway's own: it forwards to itself",
            ));
        }
        let trail =
            Trail::new(trail).map_err(|error| Status::invalid_argument(format!("open.trail: {error}")))?;
        for (field, theirs, ours) in
            [("account_id", &account_id, own.account.as_str()), ("region", &region, own.region.as_str())]
        {
            if theirs != ours {
                let theirs: String = theirs.chars().take(100).collect();
                return Err(Status::failed_precondition(format!(
                    "open.{field} is {theirs:?}, the gateway ships for {ours:?}"
                )));
            }
        }
        Ok((collector, trail))
    }

    async fn frame(&mut self, frame: Frame, forwarder: Id) -> Result<(), Status> {
        let shared = &self.gateway.shared;
        let (own, now) = (shared.completion.collector, shared.environment.unix_ms());
        let unfit = |unfit: frame::Unfit| Status::invalid_argument(unfit.to_string());
        let accepted = frame::accept(frame, forwarder, own, now).map_err(unfit)?;
        // By the time it is queued another forwarder may have brought the same: the ledger looks again.
        let (first, last) = accepted.range();
        let missing = shared.ledger.missing(accepted.source, first, last);
        shared.metrics.gateway.frame(accepted.events(), missing.is_empty());
        let parts = match missing.as_slice() {
            [] => vec![accepted],
            [all] if *all == (first, last) => vec![accepted],
            some => accepted.part(some).map_err(unfit)?,
        };
        let count = parts.len();
        for (at, part) in (1..).zip(parts) {
            let told = self.queue(&part).await?;
            self.pending.push_back(told);
            self.ends.push_back(at == count);
        }
        Ok(())
    }

    /// Queues a frame for the spool, waiting for room. What the log has already is queued too: only the spool knows when
    /// that is on disk.
    async fn queue(&self, part: &Accepted) -> Result<oneshot::Receiver<Result<Appended, Error>>, Status> {
        let (tell, told) = oneshot::channel();
        let done = move |result| {
            // The stream may have ended meanwhile; the collector sends the frame again.
            let _ = tell.send(result);
        };
        let shared = &self.gateway.shared;
        let entry = part
            .entry(&shared.selection.now())
            .map_err(|unfit| Status::invalid_argument(unfit.to_string()))?;
        let (mut entry, mut done) = (entry, done);
        loop {
            let room = shared.pressure.queue().notified();
            match shared.committer.append(entry, done) {
                TryAppend::Queued => return Ok(told),
                TryAppend::Closed(..) => return Err(Status::unavailable("the spool is closed")),
                TryAppend::Full(entry_back, done_back) => {
                    (entry, done) = (entry_back, done_back);
                    room.await;
                }
            }
        }
    }

    async fn answer(
        &mut self,
        result: Result<Result<Appended, Error>, oneshot::error::RecvError>,
    ) -> Result<(), Status> {
        let shared = &self.gateway.shared;
        match result.map_err(|_| Status::unavailable("the spool is closed"))? {
            Ok(_) => shared.pressure.set_free(),
            Err(error) => {
                shared.not_taken(&error);
                return Err(match error.kind() {
                    Kind::Wait => Status::resource_exhausted(error.to_string()),
                    // Another forwarder brought a part of it meanwhile: when it comes again, that is known.
                    Kind::Reject => Status::aborted(error.to_string()),
                    Kind::Stop => Status::unavailable(error.to_string()),
                });
            }
        }
        if self.ends.pop_front() == Some(true) {
            self.acked += 1;
            return self.send(forward_response::Message::Ack(Ack { frames: self.acked })).await;
        }
        Ok(())
    }

    /// Answers what was read.
    async fn finish(&mut self) -> Result<(), Status> {
        while let Some(result) = self.pending.next().await {
            self.answer(result).await?;
        }
        Ok(())
    }

    async fn send(&self, message: forward_response::Message) -> Result<(), Status> {
        let response = ForwardResponse { message: Some(message) };
        self.answers.send(Ok(response)).await.map_err(|_| Status::cancelled("the collector is gone"))
    }
}

/// The next message, once the spool has room: what is not read holds back the collector.
async fn next(
    stream: &mut Streaming<ForwardRequest>,
    gateway: &Inner,
) -> Result<Option<forward_request::Message>, Status> {
    gateway.shared.pressure.wait_while_full().await;
    match stream.message().await? {
        Some(ForwardRequest { message: Some(message) }) => Ok(Some(message)),
        Some(ForwardRequest { message: None }) => {
            Err(Status::invalid_argument("a message of no kind that this gateway knows"))
        }
        None => Ok(None),
    }
}
