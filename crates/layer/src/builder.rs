//! How a layer is configured. What concerns one topic only is in a module of its own.

mod capture;
mod delivery;
mod identity;
mod routes;

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderName;

#[cfg(feature = "grpc-messages")]
use crate::capture::Descriptors;
use crate::{
    AuditLayer, DEFAULT_DEADLINE, Delivery, Level, Overflow, Sink,
    address::Proxies,
    identity::Chain,
    policy::{Action, Actions, Guesses, Policy},
    redact::Redactor,
    rule::Rules,
};
#[cfg(feature = "grpc")]
use crate::{Sender, SenderBuilder};

/// Bodies are copied up to here unless the application says otherwise: 16 KiB.
pub const DEFAULT_BODY_CAP: usize = 16 * 1024;

/// Bodies are never copied beyond this: CloudTrail's own limit for parameters.
pub const MAX_BODY_CAP: usize = sidetrail_record::limits::MAX_PARAMETERS;

/// Configures an [`AuditLayer`].
#[derive(Debug)]
#[must_use]
pub struct Builder {
    service: String,
    sink: Option<SinkBox>,
    level: Level,
    delivery: Option<Delivery>,
    overflow: Overflow,
    deadline: Duration,
    body_cap: usize,
    rules: Rules,
    redactor: Redactor,
    body_hash: bool,
    headers: Vec<HeaderName>,
    #[cfg(feature = "grpc-messages")]
    descriptors: Option<Descriptors>,
    chain: Chain,
    proxies: Proxies,
    /// The first setting that makes no sense.
    problem: Option<BuildError>,
    #[cfg(feature = "grpc")]
    sender: SenderBuilder,
}

/// A sink of any type.
struct SinkBox(Arc<dyn Sink>);

impl fmt::Debug for SinkBox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sink")
    }
}

impl Builder {
    pub(crate) fn new(service: String) -> Self {
        Self {
            #[cfg(feature = "grpc")]
            sender: Sender::builder(service.as_str()),
            service,
            sink: None,
            level: Level::default(),
            delivery: None,
            overflow: Overflow::default(),
            deadline: DEFAULT_DEADLINE,
            body_cap: DEFAULT_BODY_CAP,
            rules: Rules::default(),
            redactor: Redactor::default(),
            body_hash: true,
            headers: Vec::new(),
            #[cfg(feature = "grpc-messages")]
            descriptors: None,
            chain: Chain::default(),
            proxies: Proxies::default(),
            problem: None,
        }
    }

    /// Where records go, in the place of a sender of the layer's own.
    pub fn sink(mut self, sink: impl Sink) -> Self {
        self.sink = Some(SinkBox(Arc::new(sink)));
        self
    }

    fn finish(self, sink: Arc<dyn Sink>) -> Arc<Policy> {
        let redactor = Arc::new(self.redactor);
        Arc::new(Policy {
            service: self.service,
            level: self.level,
            delivery: self.delivery.unwrap_or_else(delivery::of_environment),
            overflow: self.overflow,
            deadline: self.deadline,
            body_cap: self.body_cap,
            rules: self.rules,
            unrouted: Arc::new(Action::unrouted(self.level, &redactor)),
            redactor,
            body_hash: self.body_hash,
            headers: self.headers,
            #[cfg(feature = "grpc-messages")]
            descriptors: self.descriptors,
            chain: self.chain,
            proxies: self.proxies,
            sink,
            actions: Actions::default(),
            guesses: Guesses::default(),
        })
    }
}

#[cfg(feature = "grpc")]
impl Builder {
    /// Where the collector listens: `unix:/run/sidetrail/collector.sock`, `http://127.0.0.1:4319` or, with the feature
    /// `tls`, `https://collector.example.com:4319`. By default what `SIDETRAIL_COLLECTOR` says, else
    /// [`DEFAULT_COLLECTOR`](crate::DEFAULT_COLLECTOR).
    pub fn collector(mut self, address: impl Into<String>) -> Self {
        self.sender = self.sender.collector(address);
        self
    }

    /// What an `https` collector is believed by: see [`SenderBuilder::tls`].
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::ClientTls) -> Self {
        self.sender = self.sender.tls(tls);
        self
    }

    /// Which instance of the service this is. By default what `HOSTNAME` says, else the host's name, else `unknown`.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.sender = self.sender.instance(name);
        self
    }

    /// How many records, and how many bytes of them, may wait for the collector: see [`SenderBuilder::queue`].
    pub fn queue(mut self, events: usize, bytes: usize) -> Self {
        self.sender = self.sender.queue(events, bytes);
        self
    }

    /// The layer. Without a [sink](Self::sink) its sender starts now and connects when it can.
    pub fn build(mut self) -> Result<AuditLayer, BuildError> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        if let Some(SinkBox(sink)) = self.sink.take() {
            return Ok(AuditLayer::new(self.finish(sink), None));
        }
        let sender = self.sender.clone().build()?;
        Ok(self.build_with(sender))
    }

    /// As [`build`](Self::build), but what is wrong with the sender is logged, and its records are counted as dropped.
    pub(crate) fn build_or_log(self) -> AuditLayer {
        let sender = self.sender.clone().build_or_log();
        self.build_with(sender)
    }

    fn build_with(self, sender: Sender) -> AuditLayer {
        AuditLayer::new(self.finish(Arc::new(sender.clone())), Some(sender))
    }
}

#[cfg(not(feature = "grpc"))]
impl Builder {
    /// The layer. Without the feature `grpc` it needs a [sink](Self::sink).
    pub fn build(mut self) -> Result<AuditLayer, BuildError> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let SinkBox(sink) = self.sink.take().ok_or(BuildError::NoSink)?;
        Ok(AuditLayer::new(self.finish(sink)))
    }
}

/// Why there is no layer.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The collector's address cannot be reached, whatever listens there; what is wrong with it.
    Address(String),
    /// The sender's thread did not start.
    Thread(std::io::Error),
    /// There is neither a sink nor the feature `grpc`.
    NoSink,
    /// A setting makes no sense.
    Setting {
        /// The builder's method.
        name: &'static str,
        /// What it was given, unless that is a secret.
        value: String,
        /// What it is not, or what is wrong with it.
        reason: &'static str,
    },
    /// A name given to [`Builder::record_headers`] is not one that a header can have.
    Header(String),
    /// The bytes given to [`Builder::grpc_descriptors`] are no `FileDescriptorSet`; what is wrong with them.
    #[cfg(feature = "grpc-messages")]
    Descriptors(String),
    /// The key given to [`Builder::redaction_key`] is too short to be one.
    RedactionKey,
}

impl fmt::Display for BuildError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => write!(formatter, "collector address {error}"),
            Self::Thread(_) => formatter.write_str("sender thread did not start"),
            Self::NoSink => formatter.write_str("no sink is set and feature grpc is off"),
            Self::Setting { name, value, reason } => write!(formatter, "{name}: {value:?} is {reason}"),
            Self::Header(name) => write!(formatter, "{name:?} is no name of a header"),
            Self::RedactionKey => formatter.write_str("redaction key is shorter than 16 bytes"),
            #[cfg(feature = "grpc-messages")]
            Self::Descriptors(error) => {
                write!(formatter, "gRPC descriptors are no file descriptor set: {error}")
            }
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}
