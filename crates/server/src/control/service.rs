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
    Assignment, AttendRequest, AttendResponse, Hello, PROTOCOL_VERSION, Welcome, attend_request,
    attend_response,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::Token;
use super::assign::assignment;
use super::register::Entry;
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
    tokens: Arc<Vec<Token>>,
    places: Arc<Semaphore>,
    streams: AtomicU64,
    closing: CancellationToken,
}

impl Service {
    pub(super) fn new(context: Arc<Context>, tokens: Vec<Token>, closing: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(MAX_STREAMS));
        Self { context, tokens: Arc::new(tokens), places, streams: AtomicU64::new(0), closing }
    }
}

/// Which of the tokens a stream came with.
fn joined(tokens: &[Token], metadata: &MetadataMap) -> Result<usize, Status> {
    let sent = metadata.get("authorization").and_then(|value| value.to_str().ok());
    let sent = sent.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    // All are looked at, whichever it is.
    let found = tokens.iter().enumerate().fold(
        None,
        |found, (at, token)| {
            if token.secret.is(sent) { Some(at) } else { found }
        },
    );
    found.ok_or_else(|| Status::unauthenticated("the join token is not one of this server's"))
}

#[tonic::async_trait]
impl Control for Service {
    type AttendStream = ReceiverStream<Result<AttendResponse, Status>>;

    async fn attend(
        &self,
        request: Request<Streaming<AttendRequest>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let token = joined(&self.tokens, request.metadata())?;
        let permit = Arc::clone(&self.places).try_acquire_owned();
        let permit = permit.map_err(|_| Status::resource_exhausted("too many collectors on this server"))?;
        let (answers, stream) = mpsc::channel(MAX_WAITING);
        let attending = Attending {
            context: Arc::clone(&self.context),
            tokens: Arc::clone(&self.tokens),
            token,
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
    tokens: Arc<Vec<Token>>,
    token: usize,
    number: u64,
    stream: Streaming<AttendRequest>,
    answers: mpsc::Sender<Result<AttendResponse, Status>>,
    closing: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Attending {
    async fn run(mut self) -> Result<(), Status> {
        let (hello, id) = self.hello().await?;
        let interval = self.context.config.control.as_ref().map(|control| control.interval.unsigned_abs());
        let interval_ms = u32::try_from(interval.unwrap_or_default().as_millis()).unwrap_or(u32::MAX);
        self.say(attend_response::Message::Welcome(Welcome {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            interval_ms,
        }))
        .await?;
        let (account, region, host) = (&hello.account_id, &hello.region, &hello.host);
        tracing::info!(collector = %id, account, region, host, version = hello.version, "a collector is in touch");
        let register = Arc::clone(&self.context.register);
        let mut entry = register.enter(&hello, id, self.number, Timestamp::now()).await;
        let mut said_goodbye = false;
        let ended = self.exchange(&hello, &mut entry, &mut said_goodbye).await;
        // A server that ends says nothing of its collectors: they go to another one.
        if said_goodbye || !self.closing.is_cancelled() {
            entry.leave(said_goodbye, Timestamp::now()).await;
        }
        if said_goodbye {
            tracing::info!(collector = %id, account, region, host, "a collector said goodbye");
        } else {
            tracing::warn!(collector = %id, account, region, host, "a collector went without a goodbye");
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
        let Some(token) = self.tokens.get(self.token) else {
            return Err(Status::internal("the token is not known"));
        };
        if token.account.as_str() != hello.account_id {
            return Err(Status::permission_denied("the join token is for another account"));
        }
        if token.region.as_ref().is_some_and(|region| region.as_str() != hello.region) {
            return Err(Status::permission_denied("the join token is for another region"));
        }
        if !self.context.config.regions.iter().any(|region| region.as_str() == hello.region) {
            return Err(Status::failed_precondition(format!(
                "hello.region {:?} is not served here",
                hello.region
            )));
        }
        Ok((hello, id))
    }

    async fn exchange(
        &mut self,
        hello: &Hello,
        entry: &mut Entry,
        said_goodbye: &mut bool,
    ) -> Result<(), Status> {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut told, mut in_force): (Option<Assignment>, String) = (None, hello.revision.clone());
        let up_to_date = |told: &Option<Assignment>, in_force: &str| {
            told.as_ref().is_some_and(|assignment| assignment.revision == in_force)
        };
        loop {
            tokio::select! {
                () = self.closing.cancelled() => return Err(Status::unavailable("the server is shutting down")),
                _ = looks.tick(), if hello.takes_trails => {
                    let (account, region) = (&hello.account_id, &hello.region);
                    match assignment(&self.context, account, region).await {
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
                    None => return Ok(()),
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
                        *said_goodbye = true;
                        return Ok(());
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
