//! One connection: bytes, who is at the other end, and when it has to go.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::places::Place;
use crate::config::Names;
use crate::metrics::{OpenConnection, Refused};

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process of this machine, as the kernel says.
    Process { uid: u32, gid: u32, pid: Option<i32> },
    /// Somebody at an address.
    Address(SocketAddr),
    /// Whom the certificate names, by what it was let in.
    Certificate { name: String, names: Names, address: SocketAddr },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { uid, gid, pid: Some(pid) } => write!(f, "uid {uid} gid {gid} pid {pid}"),
            Self::Process { uid, gid, pid: None } => write!(f, "uid {uid} gid {gid}"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Certificate { name, address, .. } => write!(f, "{name} at {address}"),
        }
    }
}

/// What a connection's streams know of it, and the collector of both.
#[derive(Debug)]
pub(crate) struct Link {
    peer: Peer,
    closed: CancellationToken,
    /// Streams that are welcome now.
    streams: AtomicU64,
    /// All that ever were.
    welcomed: AtomicU64,
}

impl Link {
    pub(super) fn new(peer: Peer) -> Arc<Self> {
        let (streams, welcomed) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { peer, closed: CancellationToken::new(), streams, welcomed })
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Ends the connection with everything on it. What was not acked is sent again over another.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Notes a stream: while there is one, the connection is not idle.
    pub(crate) fn welcome(self: &Arc<Self>) -> Welcomed {
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.welcomed.fetch_add(1, Ordering::Relaxed);
        Welcomed(Arc::clone(self))
    }
}

/// A stream that said who it is.
#[derive(Debug)]
pub(crate) struct Welcomed(Arc<Link>);

impl Drop for Welcomed {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What bytes go through.
#[derive(Debug)]
pub(super) enum Io {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What a connection is bound by.
#[derive(Debug)]
pub(super) struct Terms {
    /// How long it may be without a stream.
    pub(super) idle: Duration,
    /// When the certificate of the peer ends, and with it what we know of the peer.
    pub(super) expires: Option<Instant>,
    pub(super) refused: Refused,
    pub(super) _open: OpenConnection,
    pub(super) place: Place,
}

/// A connection that is let in.
#[derive(Debug)]
pub(crate) struct Connection {
    io: Io,
    link: Arc<Link>,
    terms: Terms,
    timer: Pin<Box<Sleep>>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The streams there had been when the timer was last set.
    welcomed: u64,
}

impl Connection {
    pub(super) fn new(io: Io, link: Arc<Link>, terms: Terms) -> Self {
        terms.place.hold(Arc::clone(&link));
        let timer = Box::pin(tokio::time::sleep_until(next(&terms)));
        let closed = Box::pin(link.closed.clone().cancelled_owned());
        Self { io, link, terms, timer, closed, welcomed: 0 }
    }

    pub(super) fn peer(&self) -> &Peer {
        self.link.peer()
    }

    /// Why the connection has to end now. Wakes the task when that changes.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(io::Error::new(io::ErrorKind::PermissionDenied, "no longer allowed"));
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.terms.expires.is_some_and(|expires| expires <= Instant::now()) {
                tracing::info!(peer = %self.link.peer, "connection closed: the certificate of the peer has expired");
                self.terms.refused.expired();
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the certificate has expired"));
            }
            let welcomed = self.link.welcomed.load(Ordering::Relaxed);
            if self.link.streams.load(Ordering::Relaxed) == 0 && welcomed == self.welcomed {
                tracing::info!(peer = %self.link.peer, "connection closed: no stream for too long");
                self.terms.refused.idle();
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "idle"));
            }
            self.welcomed = welcomed;
            self.timer.as_mut().reset(next(&self.terms));
        }
        Poll::Pending
    }
}

/// When to look again.
fn next(terms: &Terms) -> Instant {
    let idle = Instant::now() + terms.idle;
    terms.expires.map_or(idle, |expires| expires.min(idle))
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = match &mut self.io {
            Io::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Io::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        // Looked at when there is nothing to read: that comes often enough, and costs a busy connection nothing. One that
        // sends without a pause must not get around being closed.
        match read {
            Poll::Ready(result) if !self.link.closed.is_cancelled() => Poll::Ready(result),
            _ => self.poll_end(cx).map(Err),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Io::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Io::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Unix(stream) => stream.is_write_vectored(),
            Io::Tcp(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Link>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.link)
    }
}
