//! Connections of collectors, in plaintext or over TLS whose files may change.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use sidetrail_wire::listen::{self, Clients, Terms, Tls, TlsError};
use sidetrail_wire::peer::Names;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::config::ControlConfig;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 8192;
/// Connections that wait for the server to look at them.
const MAX_WAITING: usize = 16;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How often the files are read again.
const READ_EVERY: Duration = Duration::from_secs(5);
/// What `accept` fails with, such as too many open files, does not go away at once.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// What collectors are shown, as of the last look at the files.
#[derive(Debug)]
pub(crate) struct Shown {
    terms: Terms,
    tls: RwLock<Tls>,
}

impl Shown {
    /// Reads the files; nothing where there is no TLS.
    pub(crate) fn read(config: &ControlConfig) -> Result<Option<Arc<Self>>, TlsError> {
        let Some(tls) = &config.tls else { return Ok(None) };
        let allowed = config.join_certificates.iter().flat_map(|entry| entry.peers.iter().cloned());
        let clients = tls.client_ca.clone().map(|ca| Clients {
            ca,
            allowed: allowed.collect(),
            anonymous: !config.join_tokens.is_empty() || config.kubernetes.is_some(),
            refused: |names: &Names| {
                tracing::debug!(?names, "no entry of control.join_certificates admits it");
            },
        });
        let terms =
            Terms { certificate: tls.certificate.clone(), key: tls.key.clone(), clients, http1: true };
        let tls = RwLock::new(Tls::load(&terms, Timestamp::now().as_second())?);
        Ok(Some(Arc::new(Self { terms, tls })))
    }

    fn current(&self) -> Tls {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes what is in the files, whenever that is valid.
    async fn follow(&self, end: CancellationToken) {
        let mut said = String::new();
        while end.run_until_cancelled(tokio::time::sleep(READ_EVERY)).await.is_some() {
            match Tls::load(&self.terms, Timestamp::now().as_second()) {
                Ok(tls) => {
                    said.clear();
                    if tls.certificate != self.current().certificate {
                        tracing::info!(
                            expires_unix_s = tls.expires_unix_s,
                            "collectors are shown a new certificate"
                        );
                    }
                    *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
                }
                Err(error) => {
                    let error = crate::chain(&error);
                    if error != said {
                        tracing::warn!(
                            error,
                            "the files of control.tls cannot be used; those from before are"
                        );
                        said = error;
                    }
                }
            }
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// The names in the certificate that it showed, and when that is over, seconds since the Unix epoch.
    pub(super) certificate: Option<Arc<(Names, i64)>>,
}

/// A connection that was accepted.
#[derive(Debug)]
pub(super) struct Connection {
    io: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    peer: Peer,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

/// Lets connections in until `end`.
pub(super) fn connections(
    listener: TcpListener,
    shown: Option<Arc<Shown>>,
    end: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (server, incoming) = mpsc::channel(MAX_WAITING);
    if let Some(shown) = &shown {
        let (shown, end) = (Arc::clone(shown), end.clone());
        tokio::spawn(async move { shown.follow(end).await });
    }
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // It is never closed.
            let next = async {
                let permit = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
                listener.accept().await.map(|(stream, address)| (permit, stream, address))
            };
            let (permit, stream, address) = match end.run_until_cancelled(next).await {
                None => return,
                Some(Ok(accepted)) => accepted,
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot accept a collector's connection");
                    tokio::time::sleep(AFTER_ERROR).await;
                    continue;
                }
            };
            let (shown, server) = (shown.clone(), server.clone());
            // Each has a permit, and is as long as a handshake.
            tokio::spawn(async move {
                match tokio::time::timeout(HANDSHAKE, admit(stream, address, shown.as_deref(), permit)).await
                {
                    // A server that has ended takes nothing more.
                    Ok(Ok(connection)) => drop(server.send(Ok(connection)).await),
                    Ok(Err(error)) => tracing::debug!(%address, %error, "no handshake with a collector"),
                    Err(_) => tracing::debug!(%address, "a handshake with a collector took too long"),
                }
            });
        }
    });
    ReceiverStream::new(incoming)
}

async fn admit(
    stream: TcpStream,
    address: SocketAddr,
    shown: Option<&Shown>,
    permit: OwnedSemaphorePermit,
) -> io::Result<Connection> {
    // Where it fails the connection is gone.
    let _ = stream.set_nodelay(true);
    let Some(shown) = shown else {
        let peer = Peer { address, certificate: None };
        return Ok(Connection { io: Either::Left(stream), peer, _permit: permit });
    };
    let stream = shown.current().acceptor.accept(stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.and_then(listen::identity).map(Arc::new);
    let peer = Peer { address, certificate };
    Ok(Connection { io: Either::Right(Box::new(stream)), peer, _permit: permit })
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
