//! One stream of one source: hello and welcome, batches and acks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use sidetrail_archive::key::Id;
use sidetrail_record::limits::MAX_RECORD;
use sidetrail_spool::{Appended, Entry, Error, Kind, TryAppend};
use sidetrail_wire::ingest::unread::{Batch, DeliverRequest, deliver_request};
use sidetrail_wire::ingest::v1::{Ack, DeliverResponse, Hello, PROTOCOL_VERSION, Welcome, deliver_response};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::Shared;
use super::frame::{Frame, Sender};
use super::render::Renderer;
use super::sessions::{Gone, Place};
use crate::ledger::{Known, SharedLedger, source_id};
use crate::listen::Link;
use crate::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS};

/// A stream that does not say who it is ends.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Service, instance and agent names, bytes.
const MAX_NAME: usize = 256;
/// Frames of one stream that wait for the disk; beyond it nothing more is read from it.
const MAX_PENDING_FRAMES: usize = 32;

type Answers = mpsc::Sender<Result<DeliverResponse, Status>>;
/// What became of a frame, and the ack that it earns.
type Pending = FuturesOrdered<oneshot::Receiver<(u64, Result<Appended, Error>)>>;

pub(super) struct Session {
    shared: Arc<Shared>,
    link: Arc<Link>,
    stream: Streaming<DeliverRequest>,
    answers: Answers,
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        link: Arc<Link>,
        stream: Streaming<DeliverRequest>,
        answers: Answers,
    ) -> Self {
        Self { shared, link, stream, answers }
    }

    pub(super) async fn run(mut self) -> Result<(), Status> {
        let shared = Arc::clone(&self.shared);
        let sender = self.hello().await?;
        let source = sender.source;
        let mut place = shared.sessions.enter(source).ok_or_else(|| {
            Status::resource_exhausted(format!("{} streams are open", super::sessions::MAX_SESSIONS))
        })?;
        let (service, instance) = (sender.service.clone(), sender.instance.clone());
        let mut said_goodbye = false;
        let ended = self.exchange(sender, &mut place, &mut said_goodbye).await;
        if !said_goodbye {
            place.silent(Gone { service, instance, since_unix_ms: shared.environment.unix_ms() });
        }
        ended
    }

    /// The stream from the welcome on.
    async fn exchange(
        &mut self,
        sender: Sender,
        place: &mut Place<'_>,
        said_goodbye: &mut bool,
    ) -> Result<(), Status> {
        let (shared, source) = (Arc::clone(&self.shared), sender.source);
        let (acked, known) = self.durable_state(source).await?;
        self.welcome(acked).await?;
        let _welcomed = self.link.welcome();
        let peer = self.link.peer();
        tracing::info!(%source, service = sender.service, instance = sender.instance, acked, %peer, "stream opened");
        let _gauge = shared.metrics.stream_opened();

        let mut renderer =
            Renderer::new(shared.completion.clone(), sender, shared.ledger.clone(), acked, known)
                .with_selection(Arc::clone(&shared.selection));
        let mut pending = Pending::new();
        loop {
            tokio::select! {
                biased;
                Some(answer) = pending.next() => self.answer(answer).await?,
                () = place.superseded().cancelled() => {
                    return Err(Status::aborted("the same source came again on another stream"));
                }
                () = shared.closing.cancelled() => {
                    return self.finish(pending, Status::unavailable("the collector is shutting down")).await;
                }
                message = next(&mut self.stream, &shared), if pending.len() < MAX_PENDING_FRAMES => {
                    match message? {
                        Some(deliver_request::Message::Batch(batch)) => {
                            self.batch(batch, &mut renderer, &mut pending).await?;
                        }
                        Some(deliver_request::Message::Heartbeat(heartbeat)) => {
                            self.note(heartbeat.last_sequence, false, &mut renderer, &mut pending).await?;
                        }
                        Some(deliver_request::Message::Goodbye(goodbye)) => {
                            self.note(goodbye.last_sequence, true, &mut renderer, &mut pending).await?;
                            self.finish(pending, Status::ok("")).await?;
                            *said_goodbye = true;
                            // Only now: had a frame not been written, the sender would come back with it.
                            if renderer.leaves_open(goodbye.last_sequence) {
                                place.goodbye();
                            }
                            return Ok(());
                        }
                        None => return self.finish(pending, Status::ok("")).await,
                        Some(deliver_request::Message::Hello(_)) => {
                            return Err(Status::failed_precondition("hello comes once, at the start"));
                        }
                    }
                }
            }
        }
    }

    async fn hello(&mut self) -> Result<Sender, Status> {
        let first = tokio::time::timeout(HELLO_TIMEOUT, self.stream.message());
        let message = first.await.map_err(|_| Status::deadline_exceeded("no hello came in 10 s"))??;
        let Some(DeliverRequest { message: Some(deliver_request::Message::Hello(hello)) }) = message else {
            return Err(Status::failed_precondition("the first message must be hello"));
        };
        let sender = check_hello(hello)?;
        if sender.source == self.shared.completion.collector {
            return Err(Status::invalid_argument("hello.source is the collector's own"));
        }
        Ok(sender)
    }

    /// Up to where this source's events are on disk, and its intents as of there: what is in the log and synced, not
    /// merely queued. The source has its place by now, so whatever others queue for it is queued already, and this
    /// comes after it.
    async fn durable_state(&self, source: Id) -> Result<(u64, Known), Status> {
        let (tell, told) = oneshot::channel();
        let look = move |ledger: Result<&SharedLedger, Error>| {
            // The stream may have ended meanwhile.
            let _ = tell.send(ledger.map(|ledger| (ledger.last_sequence(source), ledger.known(source))));
        };
        self.shared.committer.inspect(look).map_err(|error| self.status(&error))?;
        let state = told.await.map_err(|_| Status::unavailable("the spool is closed"))?;
        state.map_err(|error| self.status(&error))
    }

    async fn welcome(&self, acked_sequence: u64) -> Result<(), Status> {
        let completion = &self.shared.completion;
        self.send(deliver_response::Message::Welcome(Welcome {
            account_id: completion.account.as_str().to_owned(),
            region: completion.region.as_str().to_owned(),
            acked_sequence,
            max_event_bytes: u32::try_from(MAX_RECORD).unwrap_or(u32::MAX),
            max_batch_events: u32::try_from(MAX_BATCH_EVENTS).unwrap_or(u32::MAX),
            max_batch_bytes: u32::try_from(MAX_BATCH_BYTES).unwrap_or(u32::MAX),
        }))
        .await
    }

    async fn batch(
        &mut self,
        batch: Batch,
        renderer: &mut Renderer,
        pending: &mut Pending,
    ) -> Result<(), Status> {
        if batch.events.len() > MAX_BATCH_EVENTS {
            return Err(Status::invalid_argument(format!(
                "batch.events has {} entries, allowed are {MAX_BATCH_EVENTS}",
                batch.events.len()
            )));
        }
        self.shared.metrics.batch(batch.events.len());
        let rendered = renderer
            .render(&batch, self.shared.environment.unix_ms())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        for refusal in rendered.refusals {
            tracing::warn!(
                sequence = refusal.sequence,
                field = refusal.field,
                reason = refusal.reason,
                "event refused"
            );
            self.shared.metrics.refused();
            self.send(deliver_response::Message::Refusal(refusal)).await?;
        }
        for frame in rendered.frames {
            pending.push_back(self.append(frame).await?);
        }
        Ok(())
    }

    /// Keeps what the source says of itself, if it is new: a gap at the end of its events shows by nothing else.
    async fn note(
        &self,
        assigned: u64,
        ended: bool,
        renderer: &mut Renderer,
        pending: &mut Pending,
    ) -> Result<(), Status> {
        let note = renderer.note(assigned, ended, self.shared.environment.unix_ms());
        if let Some(frame) = note.map_err(|error| Status::internal(error.to_string()))? {
            pending.push_back(self.append(frame).await?);
        }
        Ok(())
    }

    async fn append(
        &self,
        frame: Frame,
    ) -> Result<oneshot::Receiver<(u64, Result<Appended, Error>)>, Status> {
        let (tell, told) = oneshot::channel();
        let Frame { meta, body, last_sequence, room } = frame;
        let (ack, began) = (self.shared.metrics.ack(), Instant::now());
        let done = move |result| {
            drop(room);
            ack.observe(began.elapsed().as_secs_f64());
            // The stream may have ended meanwhile; the sender learns from the next welcome.
            let _ = tell.send((last_sequence, result));
        };
        let mut entry = Entry { meta, body };
        let mut done = done;
        loop {
            let room = self.shared.pressure.queue().notified();
            match self.shared.committer.append(entry, done) {
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
        &self,
        answer: Result<(u64, Result<Appended, Error>), oneshot::error::RecvError>,
    ) -> Result<(), Status> {
        let (sequence, result) = answer.map_err(|_| Status::unavailable("the spool is closed"))?;
        match result {
            Ok(_) => {
                self.shared.pressure.set_free();
                if sequence == 0 {
                    return Ok(());
                }
                self.send(deliver_response::Message::Ack(Ack { sequence })).await
            }
            Err(error) => Err(self.status(&error)),
        }
    }

    /// Answers what was read, then ends the stream.
    async fn finish(&self, mut pending: Pending, status: Status) -> Result<(), Status> {
        while let Some(answer) = pending.next().await {
            self.answer(answer).await?;
        }
        if status.code() == tonic::Code::Ok { Ok(()) } else { Err(status) }
    }

    /// What the sender is told when the spool does not take its events: it keeps them and comes back.
    fn status(&self, error: &Error) -> Status {
        self.shared.not_taken(error);
        match error.kind() {
            Kind::Wait => Status::resource_exhausted(error.to_string()),
            // A frame overlaps one that an older stream of the source had on its way: the next welcome sorts it out.
            Kind::Reject => Status::aborted(error.to_string()),
            Kind::Stop => Status::unavailable(error.to_string()),
        }
    }

    async fn send(&self, message: deliver_response::Message) -> Result<(), Status> {
        let response = DeliverResponse { message: Some(message) };
        self.answers.send(Ok(response)).await.map_err(|_| Status::cancelled("the sender is gone"))
    }
}

/// The next message, once the spool has room: what is not read holds back the sender.
async fn next(
    stream: &mut Streaming<DeliverRequest>,
    shared: &Shared,
) -> Result<Option<deliver_request::Message>, Status> {
    shared.pressure.wait_while_full().await;
    match stream.message().await? {
        Some(DeliverRequest { message: Some(message) }) => Ok(Some(message)),
        Some(DeliverRequest { message: None }) => {
            Err(Status::invalid_argument("a message of no kind that this collector knows"))
        }
        None => Ok(None),
    }
}

fn check_hello(hello: Hello) -> Result<Sender, Status> {
    let Hello { protocol_version, source, service, instance, agent } = hello;
    if protocol_version != PROTOCOL_VERSION {
        return Err(Status::failed_precondition(format!(
            "hello.protocol_version is {protocol_version}, this collector speaks {PROTOCOL_VERSION}"
        )));
    }
    let source = source_id(&source)
        .ok_or_else(|| Status::invalid_argument(format!("hello.source is {} bytes, not 16", source.len())))?;
    for (field, name) in [("service", &service), ("instance", &instance), ("agent", &agent)] {
        if name.len() > MAX_NAME {
            return Err(Status::invalid_argument(format!(
                "hello.{field} is {} bytes, the limit is {MAX_NAME}",
                name.len()
            )));
        }
    }
    Ok(Sender { source, service, instance })
}
