//! Accepting: a place, then who it is, then a connection for the server.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sidetrail_wire::listen::{self, Clients, Terms as TlsTerms, Tls, TlsError};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Io, Link, Peer, Terms};
use super::places::{Full, Origin, Place, Places};
use super::quiet;
use crate::config::{self, Listen, Names};
use crate::metrics::{ConnectionMetrics, Transport};

/// Connections that wait for the server to look at them.
const MAX_WAITING: usize = 16;
/// What `accept` fails with, such as too many open files, does not go away at once.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// What is decided about connections, and can be changed while there are some.
#[derive(Debug)]
pub(crate) struct Gate {
    rules: Mutex<Arc<Rules>>,
    places: Arc<Places>,
    metrics: ConnectionMetrics,
}

#[derive(Debug)]
struct Rules {
    listen: Listen,
    tls: Option<Tls>,
}

/// Rules that were read and checked, and are not in force yet.
#[derive(Debug)]
pub(crate) struct Checked(Rules);

type Incoming = ReceiverStream<io::Result<Connection>>;

impl Gate {
    pub(crate) fn new(checked: Checked, metrics: ConnectionMetrics) -> Arc<Self> {
        let Checked(rules) = checked;
        metrics.certificate(rules.tls.as_ref().map(|tls| tls.expires_unix_s));
        Arc::new(Self { rules: Mutex::new(Arc::new(rules)), places: Arc::default(), metrics })
    }

    /// Reads the files of a configuration.
    pub(crate) fn check(listen: &Listen) -> Result<Checked, TlsError> {
        let tls = listen.tls.as_ref().map(|tls| Tls::load(&terms(tls), unix_s())).transpose()?;
        Ok(Checked(Rules { listen: listen.clone(), tls }))
    }

    /// Goes by other rules from now on. Connections go on, but for those of peers that may not connect any more.
    pub(crate) fn change(&self, checked: Checked) {
        let Checked(rules) = checked;
        self.metrics.certificate(rules.tls.as_ref().map(|tls| tls.expires_unix_s));
        let rules = Arc::new(rules);
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&rules);
        let closed = self.places.close_unless(|link| rules.admit(link.peer()));
        if closed > 0 {
            tracing::info!(closed, "connections closed: their peers are no longer allowed");
        }
    }

    /// Who connects to a Unix socket, until `end`.
    pub(crate) fn unix(self: &Arc<Self>, listener: UnixListener, end: CancellationToken) -> Incoming {
        let (server, incoming) = mpsc::channel(MAX_WAITING);
        let gate = Arc::clone(self);
        tokio::spawn(async move {
            while let Some((stream, _)) = next(&end, || listener.accept()).await {
                if let Some(connection) = gate.admit_process(stream)
                    && server.send(Ok(connection)).await.is_err()
                {
                    return;
                }
            }
        });
        ReceiverStream::new(incoming)
    }

    /// Who connects to a TCP port, until `end`.
    pub(crate) fn tcp(self: &Arc<Self>, listener: TcpListener, end: CancellationToken) -> Incoming {
        let (server, incoming) = mpsc::channel(MAX_WAITING);
        let gate = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(accepted) = next(&end, || listener.accept()).await {
                let (stream, address) = accepted;
                let Some(place) = gate.place(Origin::of(address.ip())) else { continue };
                let (gate, server) = (Arc::clone(&gate), server.clone());
                // A place is taken, so there are no more of these than connections, each as long as a handshake.
                tokio::spawn(async move {
                    if let Some(connection) = gate.admit_address(stream, address, place).await {
                        // A server that has ended takes nothing more.
                        let _ = server.send(Ok(connection)).await;
                    }
                });
            }
        });
        ReceiverStream::new(incoming)
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn place(&self, origin: Origin) -> Option<Place> {
        let limits = &self.rules().listen.limits;
        let full = match self.places.enter(origin, limits.connections, limits.connections_per_peer) {
            Ok(place) => return Some(place),
            Err(full) => full,
        };
        let (key, limit) = match full {
            Full::Total => ("listen.limits.connections", limits.connections),
            Full::PerPeer => ("listen.limits.connections_per_peer", limits.connections_per_peer),
        };
        if quiet::allows() {
            tracing::warn!(key, limit, ?origin, "connection refused: the limit is reached");
        }
        match full {
            Full::Total => self.metrics.refused().total(),
            Full::PerPeer => self.metrics.refused().per_peer(),
        }
        None
    }

    fn admit_process(&self, stream: UnixStream) -> Option<Connection> {
        let credentials = match stream.peer_cred() {
            Ok(credentials) => credentials,
            Err(error) => {
                tracing::warn!(%error, "connection refused: the system does not tell who it is");
                self.metrics.refused().not_allowed();
                return None;
            }
        };
        let (uid, gid, pid) = (credentials.uid(), credentials.gid(), credentials.pid());
        let place = self.place(Origin::User(uid))?;
        self.connection(Io::Unix(stream), Peer::Process { uid, gid, pid }, place, None, Transport::Unix)
    }

    async fn admit_address(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        place: Place,
    ) -> Option<Connection> {
        // Acks are small and waited for. Where it fails the connection is gone.
        let _ = stream.set_nodelay(true);
        let rules = self.rules();
        let Some(tls) = &rules.tls else {
            return self.connection(Io::Tcp(stream), Peer::Address(address), place, None, Transport::Tcp);
        };
        let within = rules.listen.limits.handshake();
        let accepted = timeout(within, tls.acceptor.accept(stream)).await;
        let accepted =
            accepted.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long")));
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                if quiet::allows() {
                    tracing::info!(%address, %error, "connection refused: the handshake failed");
                }
                if listen::is_refusal(&error) {
                    self.metrics.refused().not_allowed();
                } else {
                    self.metrics.refused().handshake();
                }
                return None;
            }
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        // The verifier has seen both, or there would be no connection.
        let (names, expires_unix_s) = listen::identity(certificate?)?;
        let name = rules.admitted(&names)?.to_owned();
        let left = Duration::from_secs(u64::try_from(expires_unix_s.saturating_sub(unix_s())).unwrap_or(0));
        let peer = Peer::Certificate { name, names, address };
        // Beyond what a clock can hold there is no end.
        let expires = Instant::now().checked_add(left);
        self.connection(Io::Tls(Box::new(stream)), peer, place, expires, Transport::Tls)
    }

    /// A connection, if its peer may have one.
    fn connection(
        &self,
        io: Io,
        peer: Peer,
        place: Place,
        expires: Option<Instant>,
        transport: Transport,
    ) -> Option<Connection> {
        let terms = Terms {
            idle: self.rules().listen.limits.idle(),
            expires,
            refused: self.metrics.refused(),
            _open: self.metrics.opened(transport),
            place,
        };
        let connection = Connection::new(io, Link::new(peer), terms);
        // Only now: it is among those that are looked at when the rules change.
        if self.rules().admit(connection.peer()) {
            return Some(connection);
        }
        if quiet::allows() {
            tracing::warn!(peer = %connection.peer(), "connection refused: the peer is not allowed");
        }
        self.metrics.refused().not_allowed();
        None
    }
}

impl Rules {
    fn admitted<'a>(&self, names: &'a Names) -> Option<&'a str> {
        listen::admitted(&self.listen.tls.as_ref()?.allowed_peers, names)
    }

    fn admit(&self, peer: &Peer) -> bool {
        match peer {
            Peer::Process { uid, gid, .. } => self.listen.socket_peers.admit(*uid, *gid),
            Peer::Address(_) => true,
            Peer::Certificate { names, .. } => self.admitted(names).is_some(),
        }
    }
}

/// Both sides show certificates.
fn terms(tls: &config::Tls) -> TlsTerms {
    let config::Tls { certificate, key, client_ca, allowed_peers } = tls.clone();
    let refused = |names: &Names| {
        if quiet::allows() {
            let Names { spiffe, dns } = names;
            tracing::warn!(spiffe, ?dns, "peer is not in listen.tls.allowed_peers");
        }
    };
    let clients = Clients { ca: client_ca, allowed: allowed_peers, anonymous: false, refused };
    TlsTerms { certificate, key, clients: Some(clients), http1: false }
}

/// The next connection, `None` at the end.
async fn next<T, F>(end: &CancellationToken, accept: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = io::Result<T>>,
{
    loop {
        let accepted = tokio::select! {
            () = end.cancelled() => return None,
            accepted = accept() => accepted,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(AFTER_ERROR).await;
            }
        }
    }
}

/// Certificates speak of the system's time, and so does the check of them.
fn unix_s() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
