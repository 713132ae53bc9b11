//! A trail that forwards: frames go to a gateway as they are, as soon as they are on disk here, and the cursor follows
//! its acks.
//!
//! What was sent and not acked is sent again on the next stream, in the same order; the gateway knows by the ranges of
//! each source what it has. So the cursor may lag behind the acks, and is written once a second and not for each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use sidetrail_archive::key::{Account, Id, Region};
use sidetrail_spool::{Cursors, Item, Position, Reader};
use sidetrail_wire::connect::{Address, ConnectError};
use sidetrail_wire::gateway::v1::gateway_client::GatewayClient;
use sidetrail_wire::gateway::v1::{
    ForwardRequest, ForwardResponse, Frame, Open, PROTOCOL_VERSION, forward_request, forward_response,
};
use sidetrail_wire::spool::v1::FrameMeta;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::shipper::{BATCH, GATEWAY, SPOOL};
use super::state::{Counts, Progress};
use super::window::{MAX_FRAMES, Part, Window};
use super::worker::{Signal, State, Surroundings, backoff};
use crate::gateway::ForwardMetrics;
use crate::selection;

/// How long the gateway may take for its Welcome.
const WELCOME_WITHIN: Duration = Duration::from_secs(5);
/// How often the cursor follows the acks. What is repeated after a crash because of it, the gateway passes over.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// What stays the same over all streams of a forwarding trail.
pub(crate) struct Forwarding {
    pub(crate) trail: sidetrail_archive::key::Trail,
    pub(crate) account: Account,
    pub(crate) region: Region,
    pub(crate) collector: Id,
    pub(crate) endpoint: Address,
    pub(crate) metrics: ForwardMetrics,
    pub(crate) runtime: Handle,
}

/// Forwards the frames of one trail.
pub(crate) struct Forwarder {
    forwarding: Forwarding,
    cursors: Cursors,
    readers: Box<dyn Fn(Position) -> Reader + Send>,
    progress: Progress,
    surroundings: Surroundings,
    signal: Arc<Signal>,
    /// What is acked beyond the cursor.
    done: Option<Part>,
}

/// Why a stream ended before everything was forwarded.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("cannot connect")]
    Connect(#[from] ConnectError),
    #[error("the gateway says: {}", .0.message())]
    Status(#[from] tonic::Status),
    #[error("the gateway {0}")]
    Protocol(String),
    #[error("the gateway ended the stream")]
    Closed,
    #[error(transparent)]
    Spool(#[from] sidetrail_spool::Error),
    #[error("the frame at {0} is not valid: {1}")]
    Frame(Position, prost::DecodeError),
}

impl Lost {
    /// What kind of failure it is, in one word for metrics and logs.
    fn kind(&self) -> &'static str {
        match self {
            Self::Spool(_) => SPOOL,
            Self::Frame(..) => BATCH,
            Self::Connect(_) | Self::Status(_) | Self::Protocol(_) | Self::Closed => GATEWAY,
        }
    }
}

/// How a stream ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The gateway has everything.
    Drained,
    Stopped,
}

impl Forwarder {
    /// `readers` makes a reader of the spool that starts at a position.
    pub(super) fn new(
        forwarding: Forwarding,
        cursors: Cursors,
        readers: Box<dyn Fn(Position) -> Reader + Send>,
        progress: Progress,
        surroundings: Surroundings,
        signal: Arc<Signal>,
    ) -> Self {
        Self { forwarding, cursors, readers, progress, surroundings, signal, done: None }
    }

    /// Runs until it is stopped, or drained: then it gives where the trail stands.
    pub(super) fn run(mut self) -> Option<Progress> {
        let runtime = self.forwarding.runtime.clone();
        let mut failures = 0;
        loop {
            let State { drain, stop, .. } = self.signal.get();
            if stop {
                return None;
            }
            let before = self.progress.position;
            let ended = runtime.block_on(self.stream());
            if let Err(error) = self.keep() {
                tracing::warn!(trail = %self.forwarding.trail, error = %crate::chain(&error), "cannot keep the cursor");
            }
            let error = match ended {
                Ok(End::Stopped) => return None,
                Ok(End::Drained) => match self.progress.end_forwarding(&self.cursors) {
                    Ok(()) => return Some(self.progress),
                    Err(error) => error.into(),
                },
                Err(error) => error,
            };
            failures = if self.progress.position > before { 1 } else { failures + 1 };
            let wait = backoff(&*self.surroundings.environment, failures, drain);
            tracing::warn!(
                trail = %self.forwarding.trail,
                error = %crate::chain(&error),
                retry_ms = wait.as_millis(),
                "cannot forward; events stay in the spool"
            );
            self.surroundings.metrics.failed(error.kind());
            self.signal.wait(wait, |state| state.stop || state.drain && !drain);
        }
    }

    /// One stream, from its opening to its loss, or until all is done.
    async fn stream(&mut self) -> Result<End, Lost> {
        // With nothing to forward a shutdown needs no gateway.
        let mut reader = (self.readers)(self.progress.position);
        if self.signal.get().drain && reader.read()?.is_none() {
            return Ok(End::Drained);
        }
        let mut reader = (self.readers)(self.progress.position);
        let (outgoing, mut incoming, mut window) = self.open().await?;
        // From here on frames may be there that the cursor is not past.
        self.progress.begin_forwarding(&self.cursors)?;
        let mut keep_at = Instant::now() + KEEP_EVERY;
        loop {
            // Asked before looking for more: once it is draining, nothing more comes.
            let State { drain, stop, end, .. } = self.signal.get();
            if stop {
                return Ok(End::Stopped);
            }
            let at_end = match self.fill(&mut reader, end, &mut window, &outgoing) {
                Err(Lost::Closed) => {
                    // Why, is what it says last.
                    incoming.message().await?;
                    return Err(Lost::Closed);
                }
                filled => filled?,
            };
            if drain && at_end && window.is_empty() {
                return Ok(End::Drained);
            }
            tokio::select! {
                response = incoming.message() => {
                    let response = response?.ok_or(Lost::Closed)?;
                    self.answer(response, &mut window)?;
                }
                () = self.signal.changed() => {}
                () = tokio::time::sleep_until(keep_at) => {
                    keep_at = Instant::now() + KEEP_EVERY;
                    self.keep()?;
                    self.look(&window);
                }
            }
        }
    }

    async fn open(&self) -> Result<(mpsc::Sender<ForwardRequest>, Streaming<ForwardResponse>, Window), Lost> {
        let Forwarding { trail, account, region, collector, endpoint, .. } = &self.forwarding;
        let channel = endpoint.connect().await?;
        // Room for what may be under way, so that sending never waits.
        let (outgoing, requests) = mpsc::channel(MAX_FRAMES + 1);
        let open = Open {
            protocol_version: PROTOCOL_VERSION,
            collector: collector.0.to_vec().into(),
            trail: trail.to_string(),
            account_id: account.to_string(),
            region: region.to_string(),
            agent: concat!("sidetrail-collector/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        send(&outgoing, forward_request::Message::Open(open))?;
        let welcome = async {
            let stream = GatewayClient::new(channel).forward(ReceiverStream::new(requests)).await?;
            let mut incoming = stream.into_inner();
            match incoming.message().await?.and_then(|response| response.message) {
                Some(forward_response::Message::Welcome(welcome)) => Ok((incoming, welcome)),
                _ => Err(protocol("did not answer with a welcome")),
            }
        };
        let welcome = tokio::time::timeout(WELCOME_WITHIN, welcome).await;
        let (incoming, welcome) = welcome.map_err(|_| protocol("gave no welcome in time"))??;
        tracing::info!(%trail, window = welcome.window_bytes, "forwarding");
        Ok((outgoing, incoming, Window::new(welcome.window_bytes)))
    }

    /// Sends what there is and what there is room for. Whether that is all there is.
    fn fill(
        &mut self,
        reader: &mut Reader,
        end: Option<Position>,
        window: &mut Window,
        outgoing: &mpsc::Sender<ForwardRequest>,
    ) -> Result<bool, Lost> {
        while window.has_room() {
            if end.is_some_and(|end| reader.position() >= end) {
                return Ok(true);
            }
            match reader.read()? {
                None => return Ok(true),
                Some(Item::Damage(damage)) => {
                    tracing::error!(%damage, "events are lost: a part of the spool cannot be read");
                    if let Some(part) = window.pass(damage.to) {
                        self.advance(part);
                    }
                }
                Some(Item::Frame(frame)) => {
                    let meta =
                        FrameMeta::decode(frame.meta).map_err(|error| Lost::Frame(frame.position, error))?;
                    let counts = Counts {
                        shipped: meta.records.into(),
                        filtered: selection::unwanted(&meta),
                        dropped: meta.dropped,
                        intents: meta.intents,
                    };
                    let bytes = frame.meta.len() + frame.body.len();
                    let message = Frame {
                        meta: Bytes::copy_from_slice(frame.meta),
                        body: Bytes::copy_from_slice(frame.body),
                    };
                    send(outgoing, forward_request::Message::Frame(message))?;
                    window.sent(frame.next, counts, bytes, meta.received_unix_ms);
                }
            }
        }
        Ok(false)
    }

    fn answer(&mut self, response: ForwardResponse, window: &mut Window) -> Result<(), Lost> {
        match response.message {
            Some(forward_response::Message::Ack(ack)) => {
                if let Some(part) = window.acked(ack.frames).map_err(|lie| Lost::Protocol(lie.to_string()))? {
                    self.forwarding.metrics.acked(part.frames, part.counts.total());
                    self.advance(part);
                }
                Ok(())
            }
            Some(forward_response::Message::Welcome(_)) => Err(protocol("welcomes twice")),
            // A newer gateway may say more than this version knows.
            None => Ok(()),
        }
    }

    fn advance(&mut self, part: Part) {
        match &mut self.done {
            Some(done) => done.add(part),
            None => self.done = Some(part),
        }
    }

    /// Writes the cursor. What it is past may be released.
    fn keep(&mut self) -> Result<(), sidetrail_spool::Error> {
        if let Some(done) = self.done {
            self.progress.forwarded(&self.cursors, done.end, done.counts)?;
            self.done = None;
            (self.surroundings.shipped)();
            self.surroundings.metrics.succeeded(self.surroundings.environment.unix_ms());
        }
        let queued = self.progress.queued((self.surroundings.accepted)());
        self.surroundings.metrics.counts(self.progress.counts(), queued);
        Ok(())
    }

    fn look(&self, window: &Window) {
        let now = self.surroundings.environment.unix_ms();
        let lag_ms = window.oldest_unix_ms().map_or(0, |oldest| now.saturating_sub(oldest).max(0));
        self.forwarding.metrics.lag(Duration::from_millis(lag_ms.unsigned_abs()).as_secs_f64());
    }
}

fn send(outgoing: &mpsc::Sender<ForwardRequest>, message: forward_request::Message) -> Result<(), Lost> {
    let request = ForwardRequest { message: Some(message) };
    outgoing.try_send(request).map_err(|_| Lost::Closed)
}

fn protocol(problem: &str) -> Lost {
    Lost::Protocol(problem.to_owned())
}
