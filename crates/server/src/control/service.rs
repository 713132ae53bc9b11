//! A stream of a collector's: who it is, what it tells, what it is told.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sidetrail_archive::content::each_record;
use sidetrail_archive::key::Id;
use sidetrail_wire::control::v1::control_server::Control;
use sidetrail_wire::control::v1::{
    Assignment, AttendRequest, AttendResponse, Hello, PROTOCOL_VERSION, Rejoin, Welcome, attend_request,
    attend_response,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::Joins;
use super::accept::Peer;
use super::assign::assignment;
use super::join::Joined;
use super::register::{Entry, Gone};
use crate::Context;

/// How often a connection is asked whether it is there, and how long that may take.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(20);
pub(super) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Collectors that are in touch with one server.
const MAX_STREAMS: usize = 8192;
/// A stream that does not say whose it is ends.
const HELLO: Duration = Duration::from_secs(10);
/// How often it is looked whether trails have changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Answers that wait for a collector.
const MAX_WAITING: usize = 4;
/// Names of hosts and builds, bytes.
const MAX_NAME: usize = 256;
/// Problems, bytes.
const MAX_PROBLEM: usize = 2048;
/// Live copies in one message.
const MAX_LIVE: usize = 4096;
/// What makes a log file of records.
const LOG_START: &[u8] = br#"{"Records":["#;
const LOG_END: &[u8] = b"]}";

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    context: Arc<Context>,
    joins: Arc<Joins>,
    places: Arc<Semaphore>,
    streams: AtomicU64,
    closing: CancellationToken,
}

impl Service {
    pub(super) fn new(context: Arc<Context>, joins: Arc<Joins>, closing: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(MAX_STREAMS));
        Self { context, joins, places, streams: AtomicU64::new(0), closing }
    }
}

#[tonic::async_trait]
impl Control for Service {
    type AttendStream = ReceiverStream<Result<AttendResponse, Status>>;

    async fn attend(
        &self,
        request: Request<Streaming<AttendRequest>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        let permit = permit.map_err(|_| Status::resource_exhausted("too many collectors on this server"))?;
        let peer = request.extensions().get::<Peer>();
        let peer = peer.ok_or_else(|| Status::internal("the connection is not known"))?;
        let joined = self.joins.join(request.metadata(), peer).await.inspect_err(|status| {
            let (code, reason) = (status.code(), status.message());
            tracing::info!(address = %peer.address, ?code, reason, "a collector may not join");
        })?;
        let (answers, stream) = mpsc::channel(MAX_WAITING);
        let attending = Attending {
            context: Arc::clone(&self.context),
            joined,
            ids_are_bound: self.joins.knows_pods(),
            number: self.streams.fetch_add(1, Ordering::Relaxed),
            stream: request.into_inner(),
            answers: answers.clone(),
            closing: self.closing.clone(),
            _permit: permit,
        };
        tokio::spawn(async move {
            if let Err(status) = attending.run().await {
                tracing::info!(code = ?status.code(), reason = status.message(), "a collector's stream ended");
                // A collector that is gone does not need to know.
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

struct Attending {
    context: Arc<Context>,
    joined: Joined,
    /// Whether an id is nobody else's.
    ids_are_bound: bool,
    number: u64,
    stream: Streaming<AttendRequest>,
    answers: mpsc::Sender<Result<AttendResponse, Status>>,
    closing: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Attending {
    async fn run(mut self) -> Result<(), Status> {
        let (hello, id) = self.hello().await?;
        let (account, region, host) = (&hello.account_id, &hello.region, &hello.host);
        let register = Arc::clone(&self.context.register);
        let workload = self.joined.workload.clone();
        let entered = register.enter(&hello, id, self.number, Timestamp::now(), workload, self.ids_are_bound);
        let mut entry = entered.await.map_err(|error| {
            tracing::warn!(collector = %id, error = %crate::chain(&error), "a collector may not join");
            error.status()
        })?;
        let (version, pod) = (&hello.version, self.joined.workload.as_ref().map(|pod| &pod.pod));
        tracing::info!(collector = %id, account, region, host, pod, version, "a collector is in touch");
        let (ended, gone) = match self.exchange(&hello, &mut entry).await {
            Ok(gone) => (Ok(()), gone),
            Err(status) => (Err(status), Gone::Silent),
        };
        // A server that ends says nothing of its collectors: they go to another one.
        if gone != Gone::Silent || !self.closing.is_cancelled() {
            entry.leave(gone, Timestamp::now()).await;
        }
        match gone {
            Gone::Ended => tracing::info!(collector = %id, account, region, host, "a collector said goodbye"),
            Gone::Silent => {
                tracing::warn!(collector = %id, account, region, host, "a collector went without a goodbye");
            }
            Gone::Rejoins => tracing::debug!(collector = %id, "a collector has to join again"),
        }
        ended
    }

    async fn hello(&mut self) -> Result<(Hello, Id), Status> {
        let first = tokio::time::timeout(HELLO, self.stream.message());
        let message = first.await.map_err(|_| Status::deadline_exceeded("no hello came in 10 s"))??;
        let Some(AttendRequest { message: Some(attend_request::Message::Hello(hello)) }) = message else {
            return Err(Status::failed_precondition("the first message must be hello"));
        };
        if hello.protocol_version != PROTOCOL_VERSION {
            return Err(Status::failed_precondition(format!(
                "hello.protocol_version is {}, this server speaks {PROTOCOL_VERSION}",
                hello.protocol_version
            )));
        }
        let id = <[u8; 16]>::try_from(&hello.collector[..]).map(Id).map_err(|_| {
            Status::invalid_argument(format!("hello.collector is {} bytes, not 16", hello.collector.len()))
        })?;
        for (field, name) in [("version", &hello.version), ("host", &hello.host)] {
            if name.len() > MAX_NAME {
                return Err(Status::invalid_argument(format!(
                    "hello.{field} is longer than {MAX_NAME} bytes"
                )));
            }
        }
        self.joined.check(&hello)?;
        if !self.context.config.regions.iter().any(|region| region.as_str() == hello.region) {
            return Err(Status::failed_precondition(format!(
                "hello.region {:?} is not served here",
                hello.region
            )));
        }
        Ok((hello, id))
    }

    async fn exchange(&mut self, hello: &Hello, entry: &mut Entry) -> Result<Gone, Status> {
        let interval = self.context.config.control.as_ref().map(|control| control.interval.unsigned_abs());
        let interval_ms = u32::try_from(interval.unwrap_or_default().as_millis()).unwrap_or(u32::MAX);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.say(attend_response::Message::Welcome(Welcome { version, interval_ms })).await?;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut told, mut in_force): (Option<Assignment>, String) = (None, hello.revision.clone());
        let up_to_date = |told: &Option<Assignment>, in_force: &str| {
            told.as_ref().is_some_and(|assignment| assignment.revision == in_force)
        };
        let until = self.joined.until;
        loop {
            let over = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => {
                    self.say(attend_response::Message::Rejoin(Rejoin {})).await?;
                    return Ok(Gone::Rejoins);
                }
                () = self.closing.cancelled() => return Err(Status::unavailable("the server is shutting down")),
                _ = looks.tick(), if hello.takes_trails => {
                    let (account, region) = (&hello.account_id, &hello.region);
                    match assignment(&self.context, account, region, self.joined.trails.as_deref()).await {
                        Ok(now) if told.as_ref() != Some(&now) => {
                            self.say(attend_response::Message::Assignment(now.clone())).await?;
                            told = Some(now);
                            entry.obeys(up_to_date(&told, &in_force), String::new());
                        }
                        Ok(_) => {}
                        Err(refusal) => {
                            tracing::warn!(account, region, error = %refusal.error, cause = refusal.cause, "cannot see which trails there are");
                        }
                    }
                }
                message = self.stream.message() => match message?.map(|message| message.message) {
                    None => return Ok(Gone::Silent),
                    Some(Some(attend_request::Message::Status(status))) => entry.status(status, Timestamp::now()).await,
                    Some(Some(attend_request::Message::Applied(mut applied))) => {
                        if applied.problem.is_empty() {
                            in_force = applied.revision;
                        }
                        applied.problem.truncate(applied.problem.floor_char_boundary(MAX_PROBLEM));
                        entry.obeys(up_to_date(&told, &in_force), applied.problem);
                    }
                    Some(Some(attend_request::Message::Live(live))) => self.live(hello, &live.records),
                    Some(Some(attend_request::Message::Goodbye(_))) => {
                        return Ok(Gone::Ended);
                    }
                    Some(Some(attend_request::Message::Hello(_))) => {
                        return Err(Status::failed_precondition("hello comes once, at the start"));
                    }
                    // Of a later version.
                    Some(None) => {}
                },
            }
        }
    }

    /// Shows records until they are sealed.
    fn live(&self, hello: &Hello, records: &[u8]) {
        let content = [LOG_START, records, LOG_END].concat();
        let (history, mut count) = (&self.context.kept.history, 0);
        let told = each_record(&content, |record| {
            history.tell(&hello.account_id, &hello.region, record);
            count += 1;
            if count < MAX_LIVE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if let Err(error) = told {
            tracing::debug!(host = hello.host, error = %crate::chain(&error), "live copies that are none");
        }
    }

    async fn say(&self, message: attend_response::Message) -> Result<(), Status> {
        let message = Ok(AttendResponse { message: Some(message) });
        self.answers.send(message).await.map_err(|_| Status::cancelled("the collector is gone"))
    }
}
