//! A proxy in front of the S3 server that does to requests what networks and services do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// A log file is far below.
const MAX_BODY: usize = 64 << 20;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It reaches the store after this time, and is answered.
    Delay(Duration),
    /// This status is the answer, and the store hears nothing.
    Status(u16),
    /// The connection is cut, and the store hears nothing.
    Cut,
    /// The store carries it out, and the connection is cut instead of its answer.
    DropAnswer,
    /// The connection is cut, and so much later the store carries it out.
    Late(Duration),
    /// Nothing comes back for so long, then the connection is cut: it was half-open.
    Hold(Duration),
}

/// Which requests are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aim {
    /// Those with this method; all where it is left out.
    pub method: Option<&'static str>,
    /// Those for a path that ends so.
    pub suffix: &'static str,
}

impl Aim {
    fn is_at(&self, request: &Request<Incoming>) -> bool {
        self.method.is_none_or(|method| request.method() == method)
            && request.uri().path().ends_with(self.suffix)
    }
}

/// An HTTP proxy on this machine, on a thread of its own, for as long as the value lives.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    end: CancellationToken,
    _runtime: Runtime,
}

#[derive(Debug)]
struct State {
    upstream: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    /// What becomes of one request in so many of those; the others are forwarded.
    weather: Mutex<Option<(Fate, Aim, u64)>>,
    requests: AtomicU64,
    struck: AtomicU64,
}

/// Makes the server close the connection without an answer.
#[derive(Debug)]
struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl std::error::Error for Gone {}

impl Proxy {
    /// Starts one that forwards everything to `upstream`.
    ///
    /// # Errors
    ///
    /// When there is no free port or no thread.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("proxy")
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            upstream,
            client: Client::builder(TokioExecutor::new()).build_http(),
            weather: Mutex::new(None),
            requests: AtomicU64::new(0),
            struck: AtomicU64::new(0),
        });
        let end = CancellationToken::new();
        runtime.spawn(end.clone().run_until_cancelled_owned(serve(listener, Arc::clone(&state))));
        Ok(Self { address, state, end, _runtime: runtime })
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this becomes of one request in `one_in` of those that are meant.
    pub fn strike(&self, fate: Fate, aim: Aim, one_in: u64) {
        *self.state.weather() = Some((fate, aim, one_in.max(1)));
    }

    /// From now on every request is forwarded.
    pub fn clear(&self) {
        *self.state.weather() = None;
    }

    /// How many requests were not just forwarded.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.state.struck.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl State {
    fn weather(&self) -> std::sync::MutexGuard<'_, Option<(Fate, Aim, u64)>> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, request: &Request<Incoming>) -> Option<Fate> {
        let (fate, _, one_in) = (*self.weather()).filter(|(_, aim, _)| aim.is_at(request))?;
        let struck = self.requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in);
        struck.then(|| {
            self.struck.fetch_add(1, Ordering::Relaxed);
            fate
        })
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Gone> {
        let fate = self.fate(&request);
        if let Some(Fate::Status(status)) = fate {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::from_u16(status).map_err(|_| Gone)?;
            return Ok(response);
        }
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| Gone)?.to_bytes();
        let request = Request::from_parts(head, Full::new(body));
        match fate {
            None => self.forward(request).await,
            Some(Fate::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                self.forward(request).await
            }
            Some(Fate::DropAnswer) => {
                self.forward(request).await?;
                Err(Gone)
            }
            Some(Fate::Late(delay)) => {
                // By itself: a connection that ends takes its requests with it.
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    self.forward(request).await
                });
                Err(Gone)
            }
            Some(Fate::Hold(time)) => {
                tokio::time::sleep(time).await;
                Err(Gone)
            }
            Some(Fate::Cut | Fate::Status(_)) => Err(Gone),
        }
    }

    /// The request as it is, with the `Host` that its signature covers.
    async fn forward(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Gone> {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(http::uri::Scheme::HTTP);
        uri.authority = Some(self.upstream.to_string().parse().map_err(|_| Gone)?);
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Gone)?;
        let response = self.client.request(request).await.map_err(|_| Gone)?;
        let (mut head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| Gone)?.to_bytes();
        head.headers.remove(header::TRANSFER_ENCODING);
        head.headers.remove(header::CONNECTION);
        Ok(Response::from_parts(head, Full::new(body)))
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) -> Result<Infallible, std::io::Error> {
    loop {
        let (stream, _) = listener.accept().await?;
        let state = Arc::clone(&state);
        let service = service_fn(move |request| Arc::clone(&state).answer(request));
        // A cut connection ends with an error, which is what was asked for.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};

    use super::*;
    use crate::http::get;

    /// A server that tells of each request and answers it.
    fn upstream() -> (SocketAddr, Receiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = sync_channel(16);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).unwrap();
                if tell.send(()).is_err() {
                    return;
                }
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhere")
                    .unwrap();
            }
        });
        (address, told)
    }

    #[test]
    fn each_fate_is_what_it_says() {
        let (address, told) = upstream();
        let proxy = Proxy::start(address).unwrap();
        // What the store has heard when the caller has its answer, or none.
        let (all, heard) = (Aim::default(), || told.try_recv().is_ok());

        let answer = get(proxy.address, "/").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "here"));
        assert!(heard());

        proxy.strike(Fate::Status(503), all, 1);
        assert_eq!(get(proxy.address, "/").unwrap().status, 503);
        assert!(!heard());

        proxy.strike(Fate::Cut, all, 1);
        get(proxy.address, "/").unwrap_err();
        assert!(!heard());

        proxy.strike(Fate::Hold(Duration::from_millis(1)), all, 1);
        get(proxy.address, "/").unwrap_err();
        assert!(!heard());

        proxy.strike(Fate::DropAnswer, all, 1);
        get(proxy.address, "/").unwrap_err();
        assert!(heard());

        proxy.strike(Fate::Late(Duration::from_millis(1)), all, 1);
        get(proxy.address, "/").unwrap_err();
        assert_ne!(told.recv_timeout(crate::START), Err(RecvTimeoutError::Timeout));

        proxy.strike(Fate::Cut, all, 3);
        let answered: Vec<_> = (0..6).map(|_| get(proxy.address, "/").is_ok()).collect();
        assert_eq!(answered.iter().filter(|answered| !**answered).count(), 2, "{answered:?}");
        assert_eq!(proxy.struck(), 7);

        for (aim, struck) in [
            (Aim { method: Some("PUT"), suffix: "" }, false),
            (Aim { method: Some("GET"), suffix: ".gz" }, true),
        ] {
            proxy.strike(Fate::Cut, aim, 1);
            assert_eq!(get(proxy.address, "/a.gz").is_err(), struck);
        }
        proxy.strike(Fate::Cut, Aim { method: None, suffix: ".json" }, 1);
        get(proxy.address, "/a.gz").unwrap();

        proxy.clear();
        get(proxy.address, "/").unwrap();
    }
}
