//! Services on a real socket, and a client for them.

use std::net::SocketAddr;

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use sidetrail::MemorySink;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time};

use crate::support::collect;

/// How often it is looked for records that are on their way, and how long in between.
const LOOKS: usize = 2000;
const PAUSE: time::Duration = time::Duration::from_millis(5);

/// A router behind a listener.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move {
            let stopped = async { stopped.await.unwrap_or_default() };
            axum::serve(listener, service).with_graceful_shutdown(stopped).await.unwrap();
        });
        Self { address, client: Client::builder(TokioExecutor::new()).build_http(), stop, task }
    }

    /// Sends a request to a path.
    pub(crate) async fn call(&self, mut request: Request<Full<Bytes>>) -> Response<Incoming> {
        *request.uri_mut() = format!("http://{}{}", self.address, request.uri()).parse().unwrap();
        self.client.request(request).await.unwrap()
    }

    /// The status and the text of the answer.
    pub(crate) async fn text(&self, request: Request<Full<Bytes>>) -> (u16, String) {
        let (parts, body) = self.call(request).await.into_parts();
        (parts.status.as_u16(), collect(body).await.0)
    }

    /// Every request has been served.
    pub(crate) async fn stop(self) {
        let Self { client, stop, task, .. } = self;
        drop(client);
        stop.send(()).unwrap();
        task.await.unwrap();
    }
}

/// A request with a JSON body.
pub(crate) fn json(method: &str, path: &str, body: &Value) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    request.body(Full::from(body.to_string())).unwrap()
}

/// A request without one.
pub(crate) fn empty(method: &str, path: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(path).body(Full::default()).unwrap()
}

/// As many records, as JSON: the last bytes may be with the client before the server has written the record.
pub(crate) async fn records(sink: &MemorySink, count: usize) -> Vec<Value> {
    let mut records = Vec::new();
    for _ in 0..LOOKS {
        records.extend(sink.take().iter().map(|record| serde_json::to_value(record).unwrap()));
        if records.len() >= count {
            break;
        }
        time::sleep(PAUSE).await;
    }
    assert_eq!(records.len(), count, "{records:#?}");
    records
}

/// The one record.
pub(crate) async fn record(sink: &MemorySink) -> Value {
    records(sink, 1).await.remove(0)
}
