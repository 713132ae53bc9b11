//! hyper without a framework, and what goes on beneath requests: versions, upgrades, tunnels, `Expect`.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::json;
use sidetrail::{AuditLayer, MemorySink, PeerAddr, RequestBody, Rule};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::ServiceBuilder;

use super::{status, told};
use crate::{
    loopback::record,
    support::{collect, layer},
};

/// Echoes whatever comes over a connection that is HTTP no longer, until `end`.
async fn echo(request: Request<RequestBody<Incoming>>) {
    let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
    let mut buffer = [0; 64];
    loop {
        let length = io.read(&mut buffer).await.unwrap();
        if length == 0 || &buffer[..length] == b"end" {
            break;
        }
        io.write_all(&buffer[..length]).await.unwrap();
    }
}

async fn handle(request: Request<RequestBody<Incoming>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::default());
    if request.headers().contains_key(header::UPGRADE) {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        for (name, value) in [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket")] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        tokio::spawn(echo(request));
    } else if request.method() == Method::CONNECT {
        tokio::spawn(echo(request));
    } else if request.uri().path() == "/orders/none" {
        *response.status_mut() = StatusCode::NOT_FOUND;
    } else if request.method() != Method::HEAD {
        let (text, _) = collect(request.into_body()).await;
        *response.body_mut() = Full::from(text);
    }
    Ok(response)
}

/// hyper's own server, for both versions of HTTP.
async fn serve(layer: AuditLayer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let service = ServiceBuilder::new()
                .map_request(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(PeerAddr(peer));
                    request
                })
                .layer(layer.clone())
                .service_fn(handle);
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let service = TowerToHyperService::new(service);
                server.serve_connection_with_upgrades(TokioIo::new(stream), service).await
            });
        }
    });
    address
}

fn routed() -> (AuditLayer, MemorySink) {
    let records = MemorySink::default();
    let layer = AuditLayer::builder("orders.example.com")
        .route_any("/orders/{id}", Rule::new())
        .sink(records.clone())
        .build()
        .unwrap();
    (layer, records)
}

#[tokio::test]
async fn hyper_with_both_versions_of_http() {
    let (layer, sink) = routed();
    let address = serve(layer).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let client =
            Client::builder(TokioExecutor::new()).http2_only(version == Version::HTTP_2).build_http();
        for (method, path, expected) in [
            (Method::PUT, "/orders/blue", ("UpdateOrder", Some("/orders/{id}"), None)),
            (Method::GET, "/orders/none", ("GetOrder", Some("/orders/{id}"), Some("ResourceNotFound"))),
            (Method::GET, "/customers/17", ("GetCustomer", None, None)),
            (Method::OPTIONS, "/orders/17", ("OptionsOrder", Some("/orders/{id}"), None)),
            (Method::HEAD, "/orders/17", ("GetOrder", Some("/orders/{id}"), None)),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(format!("http://{address}{path}"))
                .version(version)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::<Bytes>::from(r#"{"a":1}"#))
                .unwrap();
            let response = client.request(request).await.unwrap();
            assert_eq!(response.version(), version);
            response.into_body().collect().await.unwrap();
            let record = record(&sink).await;
            assert_eq!(told(&record), expected, "{version:?} {path}");
            assert_eq!(record["sourceIPAddress"], "127.0.0.1");
            if path == "/orders/blue" {
                assert_eq!(record["requestParameters"], json!({ "id": "blue", "a": 1 }));
            }
        }
    }
}

#[tokio::test]
async fn many_streams_of_one_connection() {
    let (layer, sink) = routed();
    let address = serve(layer).await;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let calls = (0..50).map(|index| client.get(format!("http://{address}/orders/{index}").parse().unwrap()));
    for response in futures_util::future::join_all(calls).await {
        response.unwrap().into_body().collect().await.unwrap();
    }
    let mut ids: Vec<_> = crate::loopback::records(&sink, 50)
        .await
        .iter()
        .map(|record| record["requestParameters"]["id"].as_str().unwrap().parse::<u64>().unwrap())
        .collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..50));
}

/// Sends text over a connection and reads the head of the answer.
async fn head(stream: &mut TcpStream, text: &str) -> String {
    const MAX_HEAD: usize = 4096;
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < MAX_HEAD {
        answer.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn an_upgrade_to_a_websocket() {
    let (layer, sink) = layer();
    let mut stream = TcpStream::connect(serve(layer).await).await.unwrap();
    let request = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert!(head(&mut stream, request).await.starts_with("HTTP/1.1 101 "));
    // The call is over with the switch; what is said then is none of HTTP's business.
    let record = record(&sink).await;
    assert_eq!((told(&record), status(&record)), (("GetChat", None, None), Some(101)));
    for text in [b"hello", b"again"] {
        let mut answer = [0; 5];
        stream.write_all(text).await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, text);
    }
    stream.write_all(b"end").await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(sink.take().is_empty(), "exactly one");
}

#[tokio::test]
async fn a_tunnel() {
    let (layer, sink) = layer();
    let mut stream = TcpStream::connect(serve(layer).await).await.unwrap();
    let request = "CONNECT db.example.com:5432 HTTP/1.1\r\nhost: db.example.com:5432\r\n\r\n";
    assert!(head(&mut stream, request).await.starts_with("HTTP/1.1 200 "));
    let record = record(&sink).await;
    assert_eq!((told(&record), status(&record)), (("ConnectRoot", None, None), Some(200)));
    let mut answer = [0; 5];
    stream.write_all(b"hello").await.unwrap();
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
}

#[tokio::test]
async fn an_expectation_is_met_when_the_service_reads() {
    let (layer, sink) = layer();
    let mut stream = TcpStream::connect(serve(layer).await).await.unwrap();
    let request = "PUT /orders/17 HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\n\
                   content-type: application/json\r\ncontent-length: 7\r\n\r\n";
    assert!(head(&mut stream, request).await.starts_with("HTTP/1.1 100 "));
    assert!(head(&mut stream, r#"{"a":1}"#).await.starts_with("HTTP/1.1 200 "));
    let record = record(&sink).await;
    assert_eq!((told(&record), status(&record)), (("UpdateOrder", None, None), Some(200)));
    assert_eq!(record["requestParameters"], json!({ "orderId": "17", "a": 1 }));

    // One that turns the caller away without reading never asks for the body.
    let request = request.replace("PUT /orders/17", "PUT /orders/none");
    let mut stream = TcpStream::connect(serve(self::layer().0).await).await.unwrap();
    assert!(head(&mut stream, &request).await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn http_1_0_and_absolute_paths() {
    let (layer, sink) = routed();
    let address = serve(layer).await;
    for line in ["GET /orders/17 HTTP/1.0", "GET http://orders.example.com/orders/17 HTTP/1.1"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{line}\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert!(head(&mut stream, &request).await.contains(" 200 "));
        assert_eq!(told(&record(&sink).await), ("GetOrder", Some("/orders/{id}"), None), "{line}");
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert!(head(&mut stream, request).await.contains(" 200 "));
    assert_eq!(record(&sink).await["additionalEventData"]["http.request.method"], "OPTIONS");
}
