//! The stream to the server, opened again whenever it ends.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sidetrail_wire::connect::{Address, ConnectError};
use sidetrail_wire::control::v1::control_client::ControlClient;
use sidetrail_wire::control::v1::{
    Applied, Assignment, AttendRequest, AttendResponse, Goodbye, Hello, Live, attend_request, attend_response,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status, Streaming};

use super::assignment::MAX_ASSIGNMENT;
use super::live::{Copier, Copies};
use super::{Orders, Reporter};
use crate::config::{ConfigError, Control};
use crate::environment::Environment;

/// After a stream that ended; doubled with each further failure, half of it by chance.
const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// How long opening a stream may take.
const OPEN: Duration = Duration::from_secs(10);
/// How often the server may ask to be told.
const INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(300);
/// Messages that wait to be sent.
const MAX_WAITING: usize = 8;
/// Bytes of a token's file.
const MAX_TOKEN: usize = 4096;

/// The link of a running collector.
#[derive(Debug)]
pub(crate) struct Link {
    address: Address,
    token: Option<PathBuf>,
    hello: Hello,
    /// Until it has started there is nothing to tell.
    reporter: Arc<OnceLock<Reporter>>,
    environment: Arc<dyn Environment>,
    come: watch::Sender<Option<Assignment>>,
    applied: watch::Receiver<Option<Applied>>,
    copies: Copies,
    end: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("cannot connect to the server")]
    Connect(#[from] ConnectError),
    #[error("the server says: {}", .0.message())]
    Status(#[from] Status),
    #[error("cannot read the token {}", path.display())]
    Token { path: PathBuf, source: std::io::Error },
    #[error("the token is not one: letters and digits in one line of at most {MAX_TOKEN} bytes")]
    TokenForm,
    #[error("the server did not answer in {} s", OPEN.as_secs())]
    Time,
    #[error("the server ended the stream")]
    Ended,
    #[error("the server wants to see a new token")]
    Rejoin,
}

impl Link {
    /// A link that is not open, and its other end.
    pub(crate) fn new(
        control: &Control,
        hello: Hello,
        environment: Arc<dyn Environment>,
        end: CancellationToken,
    ) -> Result<(Self, Orders, Copier), ConfigError> {
        let (send, come) = watch::channel(None);
        let (applied, told) = watch::channel(None);
        let reporter = Arc::new(OnceLock::new());
        let (copier, copies) = Copier::new(end.clone());
        let link = Self {
            address: control.address()?,
            token: control.token().cloned(),
            hello,
            reporter: Arc::clone(&reporter),
            environment,
            come: send,
            applied: told,
            copies,
            end,
        };
        Ok((link, Orders { come, applied, reporter }, copier))
    }

    /// Keeps it open until the end.
    pub(crate) async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let (error, welcomed) = self.attend().await;
            self.copies.wanted.store(false, Ordering::Relaxed);
            while self.copies.frames.try_recv().is_ok() {}
            if self.end.is_cancelled() {
                return;
            }
            failures = if welcomed { 1 } else { failures.saturating_add(1) };
            let wait = self.backoff(failures);
            let server = self.address.as_str();
            match error {
                LinkError::Rejoin => tracing::debug!(server, "to the server again, with a token that is new"),
                error => tracing::warn!(
                    server,
                    error = %crate::chain(&error),
                    again_in_ms = wait.as_millis(),
                    "no server; the collector goes by what it was told last"
                ),
            }
            if self.end.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    fn backoff(&self, failures: u32) -> Duration {
        let doubled = MIN_BACKOFF.saturating_mul(1 << (failures - 1).min(16)).min(MAX_BACKOFF);
        let mut byte = [0];
        // Without chance they all come back at once, which is no worse than before.
        let _ = self.environment.random(&mut byte);
        doubled / 2 + doubled.mul_f64(f64::from(byte[0]) / 510.0)
    }

    /// One stream, to its end, and whether the server ever welcomed it.
    async fn attend(&mut self) -> (LinkError, bool) {
        let end = self.end.clone();
        let opened = match end.run_until_cancelled(tokio::time::timeout(OPEN, self.open())).await {
            None => return (LinkError::Ended, false),
            Some(Err(_)) => return (LinkError::Time, false),
            Some(Ok(Err(error))) => return (error, false),
            Some(Ok(Ok(opened))) => opened,
        };
        let (requests, mut answers) = opened;
        let (mut interval, mut welcomed) = (None, false);
        loop {
            let tick = async {
                match &mut interval {
                    Some(interval) => tokio::time::Interval::tick(interval).await,
                    None => std::future::pending().await,
                }
            };
            let message = tokio::select! {
                () = end.cancelled() => {
                    if let Some(reporter) = self.reporter.get() {
                        send(&requests, attend_request::Message::Status(reporter.status()));
                    }
                    send(&requests, attend_request::Message::Goodbye(Goodbye {}));
                    drop(requests);
                    // It closes the stream when it has read that.
                    let _ = tokio::time::timeout(OPEN, answers.message()).await;
                    return (LinkError::Ended, welcomed);
                }
                answer = answers.message() => match answer {
                    Err(status) => return (status.into(), welcomed),
                    Ok(None) => return (LinkError::Ended, welcomed),
                    Ok(Some(answer)) => {
                        match answer.message {
                            Some(attend_response::Message::Welcome(welcome)) => {
                                let wanted = Duration::from_millis(welcome.interval_ms.into());
                                let every = wanted.clamp(*INTERVAL.start(), *INTERVAL.end());
                                tracing::info!(server = self.address.as_str(), version = welcome.version, "with the server");
                                let mut ticks = tokio::time::interval(every);
                                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                                interval = Some(ticks);
                                welcomed = true;
                                self.copies.wanted.store(true, Ordering::Relaxed);
                            }
                            Some(attend_response::Message::Assignment(assignment)) => {
                                self.come.send_replace(Some(assignment));
                            }
                            Some(attend_response::Message::Rejoin(_)) => return (LinkError::Rejoin, welcomed),
                            None => {}
                        }
                        continue;
                    }
                },
                changed = self.applied.changed() => {
                    let applied = self.applied.borrow_and_update().clone();
                    match (changed, applied) {
                        (Ok(()), Some(applied)) => {
                            if applied.problem.is_empty() {
                                self.hello.revision.clone_from(&applied.revision);
                            }
                            attend_request::Message::Applied(applied)
                        }
                        (Ok(()), None) => continue,
                        (Err(_), _) => return (LinkError::Ended, welcomed),
                    }
                }
                Some(records) = self.copies.frames.recv() => {
                    let live = attend_request::Message::Live(Live { records });
                    // Where there is no room there is no copy.
                    send(&requests, live);
                    continue;
                }
                _ = tick => match self.reporter.get() {
                    Some(reporter) => attend_request::Message::Status(reporter.status()),
                    None => continue,
                },
            };
            let sent = requests.send(AttendRequest { message: Some(message) });
            match tokio::time::timeout(OPEN, sent).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return (LinkError::Ended, welcomed),
                Err(_) => return (LinkError::Time, welcomed),
            }
        }
    }

    async fn open(&self) -> Result<(mpsc::Sender<AttendRequest>, Streaming<AttendResponse>), LinkError> {
        let channel = self.address.connect().await?;
        let (requests, stream) = mpsc::channel(MAX_WAITING);
        send(&requests, attend_request::Message::Hello(self.hello.clone()));
        let mut request = Request::new(ReceiverStream::new(stream));
        if let Some(token) = self.token()? {
            request.metadata_mut().insert("authorization", token);
        }
        let mut client = ControlClient::new(channel).max_decoding_message_size(MAX_ASSIGNMENT);
        Ok((requests, client.attend(request).await?.into_inner()))
    }

    /// Read anew for each stream: whoever changes it has nobody to tell.
    fn token(&self) -> Result<Option<MetadataValue<Ascii>>, LinkError> {
        let Some(path) = &self.token else { return Ok(None) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| LinkError::Token { path: path.clone(), source })?;
        let text = text.trim_end();
        if text.is_empty() || text.len() > MAX_TOKEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(LinkError::TokenForm);
        }
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {text}").parse().map_err(|_| LinkError::TokenForm)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// Sends a message if there is room for it.
fn send(requests: &mpsc::Sender<AttendRequest>, message: attend_request::Message) {
    // Where there is none, what it says is old by the time that there is.
    let _ = requests.try_send(AttendRequest { message: Some(message) });
}
