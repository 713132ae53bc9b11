//! Connections: how many there are, and why others are not.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// How a peer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Unix,
    Tcp,
    Tls,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TransportLabel {
    transport: &'static str,
}

impl From<Transport> for TransportLabel {
    fn from(transport: Transport) -> Self {
        let transport = match transport {
            Transport::Unix => "unix",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        };
        Self { transport }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// The metrics of connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionMetrics {
    open: Family<TransportLabel, Gauge>,
    accepted: Family<TransportLabel, Counter>,
    refused: Refused,
    certificate: Gauge<i64, AtomicI64>,
}

/// Connections that were refused or closed, by reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refused(Family<ReasonLabel, Counter>);

/// Counts a connection as open while it lives.
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

impl ConnectionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let it = Self::default();
        for transport in [Transport::Unix, Transport::Tcp, Transport::Tls] {
            let label = transport.into();
            drop(it.open.get_or_create(&label));
            drop(it.accepted.get_or_create(&label));
        }
        for reason in ["limit", "peer_limit", "not_allowed", "handshake", "idle", "expired"] {
            drop(it.refused.0.get_or_create(&ReasonLabel { reason }));
        }
        registry.register("connections_open", "Connections that are open", it.open.clone());
        registry.register("connections", "Connections that were let in", it.accepted.clone());
        registry.register(
            "connections_refused",
            "Connections that were refused or closed, by reason",
            it.refused.0.clone(),
        );
        registry.register_with_unit(
            "tls_certificate_expiry_timestamp",
            "When the collector's certificate ends, since the Unix epoch; 0 without TLS",
            Unit::Seconds,
            it.certificate.clone(),
        );
        it
    }

    pub(crate) fn refused(&self) -> Refused {
        self.refused.clone()
    }

    pub(crate) fn opened(&self, transport: Transport) -> OpenConnection {
        let label = transport.into();
        self.accepted.get_or_create(&label).inc();
        let open = self.open.get_or_create(&label).clone();
        open.inc();
        OpenConnection(open)
    }

    /// When the collector's certificate ends.
    pub(crate) fn certificate(&self, expires_unix_s: Option<i64>) {
        self.certificate.set(expires_unix_s.unwrap_or(0));
    }
}

impl Refused {
    pub(crate) fn total(&self) {
        self.count("limit");
    }

    pub(crate) fn per_peer(&self) {
        self.count("peer_limit");
    }

    pub(crate) fn not_allowed(&self) {
        self.count("not_allowed");
    }

    pub(crate) fn handshake(&self) {
        self.count("handshake");
    }

    pub(crate) fn idle(&self) {
        self.count("idle");
    }

    pub(crate) fn expired(&self) {
        self.count("expired");
    }

    fn count(&self, reason: &'static str) {
        self.0.get_or_create(&ReasonLabel { reason }).inc();
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
