//! gRPC messages by their descriptors.

use http::Request;
use http_body_util::Full;
use prost_reflect::{
    DescriptorPool, DynamicMessage,
    prost::Message,
    prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
        ServiceDescriptorProto,
        field_descriptor_proto::{Label, Type},
    },
};
use serde_json::{Value, json};
use sidetrail::{AuditLayer, BuildError, Builder, MemorySink, Rule};

use crate::support::{exchange, post};

const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

fn field(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    }
}

fn method(name: &str, is_stream: bool) -> MethodDescriptorProto {
    MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(".shop.v1.Refund".to_owned()),
        output_type: Some(".shop.v1.Refund".to_owned()),
        client_streaming: Some(is_stream),
        ..MethodDescriptorProto::default()
    }
}

/// `message Refund { string order_id; string api_token; int64 amount; bytes signing_key; Refund original; }`
pub(crate) fn descriptors() -> Vec<u8> {
    let original = FieldDescriptorProto {
        type_name: Some(".shop.v1.Refund".to_owned()),
        ..field("original", 5, Type::Message)
    };
    let message = DescriptorProto {
        name: Some("Refund".to_owned()),
        field: vec![
            field("order_id", 1, Type::String),
            field("api_token", 2, Type::String),
            field("amount", 3, Type::Int64),
            field("signing_key", 4, Type::Bytes),
            original,
        ],
        ..DescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Orders".to_owned()),
        method: vec![method("Refund", false), method("RefundAll", true)],
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("shop.proto".to_owned()),
        package: Some("shop.v1".to_owned()),
        message_type: vec![message],
        service: vec![service],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

/// A message from JSON, in its frame.
pub(crate) fn frame(message: &Value) -> Vec<u8> {
    let pool = DescriptorPool::decode(&*descriptors()).unwrap();
    let descriptor = pool.get_message_by_name("shop.v1.Refund").unwrap();
    let message = DynamicMessage::deserialize(descriptor, message).unwrap().encode_to_vec();
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
}

pub(crate) fn call(method: &'static str, body: Vec<u8>) -> Request<Full<bytes::Bytes>> {
    post(method, method, "application/grpc", body)
}

fn with_descriptors(builder: Builder) -> Builder {
    builder.grpc_descriptors(&descriptors())
}

#[tokio::test]
async fn a_unary_message_is_the_parameters() {
    let message = json!({ "orderId": "17", "apiToken": "t", "amount": "5", "signingKey": "AAEC",
                          "original": { "apiToken": "t", "orderId": "Bearer abc123" } });
    let record = exchange(with_descriptors, call("/shop.v1.Orders/Refund", frame(&message)), "").await;
    assert_eq!(record["eventName"], "Refund");
    assert_eq!(
        record["requestParameters"],
        json!({ "orderId": "17", "apiToken": HIDDEN, "amount": "5", "signingKey": HIDDEN,
                "original": { "apiToken": HIDDEN, "orderId": HIDDEN } })
    );
    let only = Rule::new().only(["amount"]);
    let record = exchange(
        |builder| with_descriptors(builder).route(http::Method::POST, "/shop.v1.Orders/Refund", only),
        call("/shop.v1.Orders/Refund", frame(&json!({ "orderId": "17", "amount": "5" }))),
        "",
    )
    .await;
    assert_eq!(record["requestParameters"], json!({ "orderId": HIDDEN, "amount": "5" }));
}

#[tokio::test]
async fn a_stream_has_its_first_messages() {
    let messages: Vec<u8> = (0..20)
        .flat_map(|number| frame(&json!({ "orderId": number.to_string(), "apiToken": "t" })))
        .collect();
    let record = exchange(with_descriptors, call("/shop.v1.Orders/RefundAll", messages), "").await;
    let parameters = &record["requestParameters"];
    assert_eq!(parameters["count"], 20);
    assert_eq!(parameters["messages"].as_array().unwrap().len(), 16);
    assert_eq!(parameters["messages"][15], json!({ "orderId": "15", "apiToken": HIDDEN }));
}

#[tokio::test]
async fn what_cannot_be_read_is_said_to_be_omitted() {
    let reason = async |body: Vec<u8>, cap: usize| {
        let build = |builder| with_descriptors(builder).body_cap(cap);
        let record = exchange(build, call("/shop.v1.Orders/Refund", body), "").await;
        record["requestParameters"]["body"].clone()
    };
    let message = frame(&json!({ "orderId": "17" }));
    let size = message.len() - 5;
    let omitted = |reason: &str| json!({ "reason": reason, "omitted": true, "originalSize": size });
    assert_eq!(reason(message.clone(), 6).await, omitted("message too large"));
    let mut compressed = message.clone();
    compressed[0] = 1;
    assert_eq!(reason(compressed, 1024).await, omitted("message is compressed"));
    let mut broken = message.clone();
    broken[5] = 0xff;
    assert_eq!(reason(broken, 1024).await, omitted("message is not as described"));

    let record = exchange(|builder| builder, call("/shop.v1.Orders/Refund", message.clone()), "").await;
    assert_eq!(record["requestParameters"]["body"]["reason"], "message has no descriptor");
    assert_eq!(record["requestParameters"]["body"]["originalSize"], message.len());
}

#[test]
fn broken_descriptors_are_an_error() {
    let built = AuditLayer::builder("a").sink(MemorySink::default()).grpc_descriptors(b"broken").build();
    assert!(matches!(built, Err(BuildError::Descriptors(_))));
}
