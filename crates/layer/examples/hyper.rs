//! The layer around a hyper service, without a framework.
//!
//! ```text
//! cargo run -p sidetrail --example hyper -- 127.0.0.1:3000
//! curl -s -X POST localhost:3000/orders/17/refund
//! ```
//!
//! There is no router that says which route a request took, and no server that says where it came from. The templates of
//! rules name the routes, and `PeerAddr` tells the address. Records go to the standard output.

use std::{convert::Infallible, env, error::Error, net::SocketAddr};

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use sidetrail::{
    Audit, AuditLayer, Identity, Level, PeerAddr, Record, RequestBody, ResourceTemplate, Rule, Sink,
};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;

/// Writes records where one can see them.
struct Print;

impl Sink for Print {
    fn record(&self, record: Record) {
        if let Ok(text) = serde_json::to_string_pretty(&record) {
            println!("{text}");
        }
    }
}

fn audit() -> Result<AuditLayer, Box<dyn Error>> {
    let order = ResourceTemplate::new("AWS::Orders::Order", "arn:aws:orders:{region}:{account}:order/{id}");
    let layer = AuditLayer::builder("orders.example.com")
        .route_any("/orders/{id}", Rule::new().resource(order.clone()))
        .route(Method::POST, "/orders/{id}/refund", Rule::new().resource(order))
        .route(Method::GET, "/health", Rule::new().level(Level::None))
        .sink(Print)
        .build()?;
    Ok(layer)
}

async fn handle(request: Request<RequestBody<Incoming>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let audit = Audit::of(request.extensions());
    let mut response = Response::new(Full::default());
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/health") => *response.body_mut() = "well\n".into(),
        (&Method::POST, path) if path.starts_with("/orders/") && path.ends_with("/refund") => {
            audit.set_identity(Identity::user("17", "jo"));
            audit.response_element("refundId", "r-1");
            *response.body_mut() = "refunded\n".into();
        }
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(response)
}

async fn serve(stream: TcpStream, peer: SocketAddr, layer: AuditLayer) {
    let service = ServiceBuilder::new()
        // Outside of the layer, so that it finds the address.
        .map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(PeerAddr(peer));
            request
        })
        .layer(layer)
        .service_fn(handle);
    let server = auto::Builder::new(TokioExecutor::new());
    let service = TowerToHyperService::new(service);
    if let Err(error) = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        eprintln!("connection failed: {error}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let layer = audit()?;
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        tokio::spawn(serve(stream, peer, layer.clone()));
    }
}
