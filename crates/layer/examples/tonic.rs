//! A gRPC service with an audit trail that has its messages in it.
//!
//! ```text
//! cargo run -p sidetrail --features axum,grpc-messages --example tonic
//! ```
//!
//! It serves one method, calls it, and prints the records. There is no code generator here: the messages, the method and
//! their descriptors are written by hand. In a service of yours `tonic-prost-build` does that, and
//! `file_descriptor_set_path` says where the descriptors go, to be taken in with `include_bytes!`.

use std::{convert::Infallible, error::Error, future::Ready, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, uri::PathAndQuery},
    routing::post,
};
use prost::Message;
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use sidetrail::{Audit, AuditLayer, Identity, Level, Record, Sink};
use tokio::{net::TcpListener, time::sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Status,
    client::Grpc as Client,
    server::{Grpc, UnaryService},
    service::Routes,
    transport::{Channel, Server},
};
use tonic_prost::ProstCodec;

const REFUND: &str = "/shop.v1.Orders/Refund";

#[derive(Clone, PartialEq, Message)]
struct RefundRequest {
    #[prost(string, tag = "1")]
    order_id: String,
    #[prost(int64, tag = "2")]
    cents: i64,
    /// Nobody has to say that this is a secret.
    #[prost(string, tag = "3")]
    approval_token: String,
}

#[derive(Clone, PartialEq, Message)]
struct RefundReply {
    #[prost(string, tag = "1")]
    refund_id: String,
}

/// Writes each record to standard output, as a collector would get it.
struct Print;

impl Sink for Print {
    fn record(&self, record: Record) {
        match serde_json::to_string_pretty(&record) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("record does not serialise: {error}"),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let audit = AuditLayer::builder("orders.example.com")
        .grpc_descriptors(&descriptors().encode_to_vec())
        .level(Level::RequestResponse)
        .sink(Print)
        .build()?;
    let routes = Routes::from(Router::new().route(REFUND, post(refund)).layer(audit));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let incoming = TcpListenerStream::new(listener);
    let server = tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));

    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    for order in ["17", ""] {
        let mut client = Client::new(channel.clone());
        client.ready().await?;
        let request = RefundRequest {
            order_id: order.to_owned(),
            cents: 1250,
            approval_token: "the boss said so".to_owned(),
        };
        let codec = ProstCodec::<RefundRequest, RefundReply>::default();
        let path = PathAndQuery::from_static(REFUND);
        match client.unary(tonic::Request::new(request), path, codec).await {
            Ok(reply) => eprintln!("refund {}", reply.into_inner().refund_id),
            Err(status) => eprintln!("{}", status.message()),
        }
    }
    // A record is made when the answer is through.
    sleep(Duration::from_millis(100)).await;
    server.abort();
    Ok(())
}

/// What generated code does for each method.
async fn refund(request: Request<Body>) -> Result<Response<tonic::body::Body>, Infallible> {
    let audit = Audit::of(request.extensions());
    Ok(Grpc::new(ProstCodec::default()).unary(Refund(audit), request).await)
}

struct Refund(Audit);

impl UnaryService<RefundRequest> for Refund {
    type Response = RefundReply;
    type Future = Ready<Result<tonic::Response<RefundReply>, Status>>;

    fn call(&mut self, request: tonic::Request<RefundRequest>) -> Self::Future {
        let request = request.into_inner();
        self.0.set_identity(Identity::user("7", "jo"));
        std::future::ready(if request.order_id.is_empty() {
            Err(Status::new(Code::InvalidArgument, "which order?"))
        } else {
            Ok(tonic::Response::new(RefundReply { refund_id: format!("r-{}", request.order_id) }))
        })
    }
}

fn descriptors() -> FileDescriptorSet {
    let field = |name: &str, number, kind: Type| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    };
    let message = |name: &str, field| DescriptorProto {
        name: Some(name.to_owned()),
        field,
        ..DescriptorProto::default()
    };
    let request = vec![
        field("order_id", 1, Type::String),
        field("cents", 2, Type::Int64),
        field("approval_token", 3, Type::String),
    ];
    let method = MethodDescriptorProto {
        name: Some("Refund".to_owned()),
        input_type: Some(".shop.v1.RefundRequest".to_owned()),
        output_type: Some(".shop.v1.RefundReply".to_owned()),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Orders".to_owned()),
        method: vec![method],
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("shop.proto".to_owned()),
        package: Some("shop.v1".to_owned()),
        message_type: vec![
            message("RefundRequest", request),
            message("RefundReply", vec![field("refund_id", 1, Type::String)]),
        ],
        service: vec![service],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }
}
