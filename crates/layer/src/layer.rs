//! The layer.

use std::sync::Arc;

use tower_layer::Layer;

use crate::{AuditService, Builder, policy::Policy};
#[cfg(feature = "grpc")]
use crate::{Sender, ShutdownError, Stats};

/// Records each request: [`layer()`](crate::layer()) makes the usual one, [`AuditLayer::builder`] any other. Clones
/// share everything.
#[derive(Clone, Debug)]
pub struct AuditLayer {
    policy: Arc<Policy>,
    #[cfg(feature = "grpc")]
    sender: Option<Sender>,
}

impl AuditLayer {
    pub(crate) fn new(policy: Arc<Policy>, #[cfg(feature = "grpc")] sender: Option<Sender>) -> Self {
        Self {
            policy,
            #[cfg(feature = "grpc")]
            sender,
        }
    }

    /// A layer for the service of this name, the `eventSource` of its records: `orders.example.com`.
    pub fn builder(service: impl Into<String>) -> Builder {
        Builder::new(service.into())
    }
}

#[cfg(feature = "grpc")]
impl AuditLayer {
    /// The layer's own sender; `None` if records go to another [`Sink`](crate::Sink).
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
