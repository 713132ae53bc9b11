//! How a layer is configured. What concerns one topic only is in a module of its own.

mod capture;
mod identity;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, RwLock},
};

use http::{HeaderName, Method};

#[cfg(feature = "grpc-messages")]
use crate::capture::Descriptors;
use crate::{AuditLayer, Level, Rule, Sink, identity::Chain, policy::Policy, redact::Redactor};
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
    body_cap: usize,
    rules: HashMap<(Method, String), Rule>,
    redactor: Redactor,
    body_hash: bool,
    headers: Vec<HeaderName>,
    #[cfg(feature = "grpc-messages")]
    descriptors: Option<Descriptors>,
    /// The first thing that is wrong with it.
    error: Option<BuildError>,
    chain: Chain,
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
            body_cap: DEFAULT_BODY_CAP,
            rules: HashMap::new(),
            redactor: Redactor::default(),
            body_hash: true,
            headers: Vec::new(),
            #[cfg(feature = "grpc-messages")]
            descriptors: None,
            error: None,
            chain: Chain::default(),
        }
    }

    /// Where records go, in the place of a sender of the layer's own.
    pub fn sink(mut self, sink: impl Sink) -> Self {
        self.sink = Some(SinkBox(Arc::new(sink)));
        self
    }

    /// What one route does differently. The template is the router's: `/orders/{id}/refund`; for gRPC it is the path.
    pub fn route(mut self, method: Method, template: impl Into<String>, rule: Rule) -> Self {
        self.rules.insert((method, template.into()), rule);
        self
    }

    fn finish(mut self, sink: Arc<dyn Sink>) -> Arc<Policy> {
        for rule in self.rules.values_mut() {
            rule.capture.compile(&self.redactor);
        }
        Arc::new(Policy {
            service: self.service,
            level: self.level,
            body_cap: self.body_cap,
            rules: self.rules,
            redactor: Arc::new(self.redactor),
            body_hash: self.body_hash,
            headers: self.headers,
            #[cfg(feature = "grpc-messages")]
            descriptors: self.descriptors,
            chain: self.chain,
            sink,
            actions: RwLock::default(),
        })
    }
}

#[cfg(feature = "grpc")]
impl Builder {
    /// Where the collector listens: `unix:/run/sidetrail/collector.sock` or `http://127.0.0.1:4319`. By default what
    /// `SIDETRAIL_COLLECTOR` says, else [`DEFAULT_COLLECTOR`](crate::DEFAULT_COLLECTOR).
    pub fn collector(mut self, address: impl Into<String>) -> Self {
        self.sender = self.sender.collector(address);
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
        self.error.take().map_or(Ok(()), Err)?;
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
        self.error.take().map_or(Ok(()), Err)?;
        let SinkBox(sink) = self.sink.take().ok_or(BuildError::NoSink)?;
        Ok(AuditLayer::new(self.finish(sink)))
    }
}

/// Why there is no layer.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The collector's address is neither `unix:/path` nor `http://host:port`.
    Address(String),
    /// The sender's thread did not start.
    Thread(std::io::Error),
    /// There is neither a sink nor the feature `grpc`.
    NoSink,
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
            Self::Address(address) => {
                write!(formatter, "collector address {address:?} is neither unix:/path nor http://host:port")
            }
            Self::Thread(_) => formatter.write_str("sender thread did not start"),
            Self::NoSink => formatter.write_str("no sink is set and feature grpc is off"),
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
