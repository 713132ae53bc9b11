//! The layer, and how it is configured.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, RwLock},
};

use http::{Method, request::Parts};
use tower_layer::Layer;

use crate::{
    AuditService, Identity, Level, Rule, Sink,
    identity::{self, Chain},
    policy::Policy,
    redact::Redactor,
};
#[cfg(feature = "grpc")]
use crate::{Sender, SenderBuilder, ShutdownError, Stats};

/// Bodies are copied up to here unless the application says otherwise: 16 KiB.
pub const DEFAULT_BODY_CAP: usize = 16 * 1024;

/// Bodies are never copied beyond this: CloudTrail's own limit for parameters.
pub const MAX_BODY_CAP: usize = sidetrail_record::limits::MAX_PARAMETERS;

/// Records each request: [`layer()`](crate::layer()) makes the usual one, [`AuditLayer::builder`] any other. Clones
/// share everything.
#[derive(Clone, Debug)]
pub struct AuditLayer {
    policy: Arc<Policy>,
    #[cfg(feature = "grpc")]
    sender: Option<Sender>,
}

impl AuditLayer {
    /// A layer for the service of this name, the `eventSource` of its records: `orders.example.com`.
    pub fn builder(service: impl Into<String>) -> Builder {
        let service = service.into();
        Builder {
            #[cfg(feature = "grpc")]
            sender: Sender::builder(service.as_str()),
            service,
            sink: None,
            level: Level::default(),
            body_cap: DEFAULT_BODY_CAP,
            rules: HashMap::new(),
            redactor: Redactor::default(),
            chain: Chain::default(),
        }
    }
}

#[cfg(feature = "grpc")]
impl AuditLayer {
    /// The layer's own sender; `None` if records go to another [`Sink`].
    #[must_use]
    pub fn sender(&self) -> Option<&Sender> {
        self.sender.as_ref()
    }

    /// What became of the records so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.sender.as_ref().map(Sender::stats).unwrap_or_default()
    }

    /// Delivers what is queued and says goodbye to the collector: see [`Sender::shutdown`].
    pub fn shutdown(
        &self,
        deadline: std::time::Duration,
    ) -> impl Future<Output = Result<(), ShutdownError>> + Send + 'static {
        let shutdown = self.sender.as_ref().map(|sender| sender.shutdown(deadline));
        async move {
            match shutdown {
                Some(shutdown) => shutdown.await,
                None => Ok(()),
            }
        }
    }

    /// As [`shutdown`](Self::shutdown), from a thread that may block.
    pub fn shutdown_blocking(&self, deadline: std::time::Duration) -> Result<(), ShutdownError> {
        self.sender.as_ref().map_or(Ok(()), |sender| sender.shutdown_blocking(deadline))
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = AuditService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AuditService::new(inner, Arc::clone(&self.policy))
    }
}

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
    /// Where records go, in the place of a sender of the layer's own.
    pub fn sink(mut self, sink: impl Sink) -> Self {
        self.sink = Some(SinkBox(Arc::new(sink)));
        self
    }

    /// How much is recorded where no [rule](Self::route) says otherwise. [`Level::Request`] by default.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Up to how many bytes of a JSON body are copied. [`DEFAULT_BODY_CAP`] by default, [`MAX_BODY_CAP`] at most. Of a
    /// longer body the record has the size.
    pub fn body_cap(mut self, bytes: usize) -> Self {
        self.body_cap = bytes.min(MAX_BODY_CAP);
        self
    }

    /// What one route does differently. The template is the router's: `/orders/{id}/refund`; for gRPC it is the path.
    pub fn route(mut self, method: Method, template: impl Into<String>, rule: Rule) -> Self {
        self.rules.insert((method, template.into()), rule);
        self
    }

    /// Hides values under one more name, at any depth of bodies and in queries and paths. Case and separators do not
    /// count: `tax_number` is `taxNumber`.
    pub fn redact(mut self, name: &str) -> Self {
        self.redactor.deny(name);
        self
    }

    /// One more place to look for the caller; `name` is what records give as `identitySource`.
    ///
    /// Places are asked in this order: what a handler set, the extension [`Identity`], the ones added here in their
    /// order, the extension [`JwtClaims`](crate::JwtClaims). The first that answers wins.
    pub fn identity(
        mut self,
        name: impl Into<Arc<str>>,
        look: impl Fn(&Parts) -> Option<Identity> + Send + Sync + 'static,
    ) -> Self {
        self.chain.add((name.into(), Box::new(look)));
        self
    }

    /// As [`identity`](Self::identity), from an extension of the application's own type, which gives the name too.
    ///
    /// ```
    /// use sidetrail::{AuditLayer, Identity, MemorySink};
    ///
    /// struct User {
    ///     id: u64,
    ///     name: String,
    /// }
    ///
    /// let layer = AuditLayer::builder("orders.example.com")
    ///     .sink(MemorySink::default())
    ///     .identity_from(|user: &User| Identity::user(user.id.to_string(), &user.name))
    ///     .build()?;
    /// # drop(layer);
    /// # Ok::<(), sidetrail::BuildError>(())
    /// ```
    pub fn identity_from<T, I>(mut self, map: impl Fn(&T) -> I + Send + Sync + 'static) -> Self
    where
        T: Send + Sync + 'static,
        I: Into<Option<Identity>>,
    {
        self.chain.add(identity::from_extension(map));
        self
    }

    fn finish(self, sink: Arc<dyn Sink>) -> Arc<Policy> {
        Arc::new(Policy {
            service: self.service,
            level: self.level,
            body_cap: self.body_cap,
            rules: self.rules,
            redactor: self.redactor,
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
        if let Some(SinkBox(sink)) = self.sink.take() {
            return Ok(AuditLayer { policy: self.finish(sink), sender: None });
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
        AuditLayer { policy: self.finish(Arc::new(sender.clone())), sender: Some(sender) }
    }
}

#[cfg(not(feature = "grpc"))]
impl Builder {
    /// The layer. Without the feature `grpc` it needs a [sink](Self::sink).
    pub fn build(mut self) -> Result<AuditLayer, BuildError> {
        let SinkBox(sink) = self.sink.take().ok_or(BuildError::NoSink)?;
        Ok(AuditLayer { policy: self.finish(sink) })
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
}

impl fmt::Display for BuildError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => {
                write!(formatter, "collector address {address:?} is neither unix:/path nor http://host:port")
            }
            Self::Thread(_) => formatter.write_str("sender thread did not start"),
            Self::NoSink => formatter.write_str("no sink is set and feature grpc is off"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Thread(error) => Some(error),
            Self::Address(_) | Self::NoSink => None,
        }
    }
}
