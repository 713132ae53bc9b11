//! What is sent, and what of it is to be in a record.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, header};
use serde_json::{Value, json};
use sidetrail::{ResourceTemplate, Rule};

use super::{
    CAP, HIDDEN, SECRET,
    callers::{Caller, HEADER},
};

const BOUNDARY: &str = "multipart/form-data; boundary=part";

/// In a path, and as it is meant.
const ID: (&str, &str) = ("17%20b", "17 b");

/// Who can carry it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Http,
    /// gRPC: one message, one answer.
    Unary,
    /// gRPC: answers as long as there are any.
    Streaming,
}

pub(super) struct Sent {
    pub(super) label: &'static str,
    pub(super) carrier: Carrier,
    method: &'static str,
    pub(super) template: &'static str,
    pub(super) event_name: &'static str,
    pub(super) read_only: bool,
    content_type: Option<&'static str>,
    has_length: bool,
    body: fn() -> Vec<u8>,
    /// Members of `requestParameters` beside those of path and query.
    members: fn() -> Value,
    pub(super) is_hashed: bool,
}

const NOTHING: Sent = Sent {
    label: "no body",
    carrier: Carrier::Http,
    method: "GET",
    template: "/orders/{id}",
    event_name: "GetOrder",
    read_only: true,
    content_type: None,
    has_length: true,
    body: Vec::new,
    members: || json!({}),
    is_hashed: false,
};

pub(super) static SENT: [Sent; 8] = [
    NOTHING,
    Sent {
        label: "JSON",
        method: "PATCH",
        event_name: "UpdateOrder",
        read_only: false,
        content_type: Some("application/json; charset=utf-8"),
        body: || {
            let card = json!({ "cvv": SECRET, "holder": "Jo" });
            let body = json!({ "amount": 5, "card": card, "note": format!("Bearer {SECRET}"),
                               "password": SECRET });
            body.to_string().into_bytes()
        },
        members: || {
            json!({ "amount": 5, "card": { "cvv": HIDDEN, "holder": "Jo" }, "note": HIDDEN,
                    "password": HIDDEN })
        },
        ..NOTHING
    },
    Sent {
        label: "form",
        method: "POST",
        template: "/orders/{id}/refund",
        event_name: "RefundOrder",
        read_only: false,
        content_type: Some("application/x-www-form-urlencoded"),
        body: || format!("reason=too+late&line=1&line=2&api_key={SECRET}").into_bytes(),
        members: || json!({ "reason": "too late", "line": ["1", "2"], "api_key": HIDDEN }),
        ..NOTHING
    },
    Sent {
        label: "multipart",
        method: "PUT",
        template: "/orders/{id}/invoice",
        event_name: "UpdateOrderInvoice",
        read_only: false,
        content_type: Some(BOUNDARY),
        has_length: false,
        body: || {
            let part =
                |headers: &str| format!("--part\r\ncontent-disposition: {headers}\r\n\r\n{SECRET}\r\n");
            let file = "form-data; name=scan; filename=\"a b.png\"\r\ncontent-type: image/png";
            format!("{}{}--part--\r\n", part("form-data; name=\"password\""), part(file)).into_bytes()
        },
        members: || {
            let size = SECRET.len();
            let file = json!({ "name": "scan", "fileName": "a b.png", "contentType": "image/png",
                               "size": size });
            json!({ "body": { "parts": [{ "name": "password", "size": size }, file], "count": 2 } })
        },
        ..NOTHING
    },
    Sent {
        label: "stream without a length",
        method: "PUT",
        template: "/orders/{id}/photo",
        event_name: "UpdateOrderPhoto",
        read_only: false,
        content_type: Some("application/octet-stream"),
        has_length: false,
        body: || SECRET.repeat(100).into_bytes(),
        members: || {
            json!({ "body": { "reason": "body is not JSON", "omitted": true,
                              "originalSize": 100 * SECRET.len(),
                              "contentType": "application/octet-stream" } })
        },
        is_hashed: true,
        ..NOTHING
    },
    Sent {
        label: "JSON over the cap",
        method: "POST",
        template: "/orders/{id}/find",
        // By its rule.
        event_name: "SearchOrder",
        content_type: Some("application/json"),
        body: || json!({ "token": SECRET, "text": "x".repeat(2 * CAP) }).to_string().into_bytes(),
        members: || {
            // {"token":"…","text":"…"}
            let size = 22 + SECRET.len() + 2 * CAP;
            json!({ "body": { "reason": "body too large", "omitted": true, "originalSize": size } })
        },
        is_hashed: true,
        ..NOTHING
    },
    Sent {
        label: "message",
        carrier: Carrier::Unary,
        method: "POST",
        template: "/shop.v1.Orders/Refund",
        event_name: "Refund",
        read_only: false,
        content_type: Some("application/grpc"),
        has_length: false,
        body: message,
        members: || if cfg!(feature = "grpc-messages") { fields() } else { undescribed() },
        ..NOTHING
    },
    Sent {
        label: "messages",
        carrier: Carrier::Streaming,
        method: "POST",
        template: "/shop.v1.Orders/RefundAll",
        event_name: "RefundAll",
        read_only: false,
        content_type: Some("application/grpc"),
        has_length: false,
        body: message,
        members: || match cfg!(feature = "grpc-messages") {
            true => json!({ "messages": [fields()], "count": 1 }),
            false => undescribed(),
        },
        ..NOTHING
    },
];

/// `{ order_id: "17", api_token: …, amount: 5 }` in its frame.
pub(super) fn message() -> Vec<u8> {
    let text = |tag: u8, text: &str| [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let message = [text(0x0a, "17"), text(0x12, SECRET), vec![0x18, 5]].concat();
    [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()], &*message].concat()
}

fn fields() -> Value {
    json!({ "orderId": "17", "apiToken": HIDDEN, "amount": "5" })
}

fn undescribed() -> Value {
    json!({ "body": { "reason": "message has no descriptor", "omitted": true, "originalSize": message().len(),
                      "contentType": "application/grpc" } })
}

impl Sent {
    pub(super) fn method(&self) -> Method {
        self.method.parse().unwrap()
    }

    pub(super) fn body(&self) -> Vec<u8> {
        (self.body)()
    }

    /// As a router has it.
    pub(super) fn route(&self) -> &'static str {
        if self.carrier == Carrier::Http { self.template } else { "/shop.v1.Orders/{*rest}" }
    }

    /// What the service says about it.
    pub(super) fn rule(&self) -> Rule {
        let (kind, arn) = self.resource();
        let rule = Rule::new().resource(ResourceTemplate::new(kind, arn));
        if self.event_name == "SearchOrder" { rule.name(self.event_name).read_only(true) } else { rule }
    }

    fn resource(&self) -> (&'static str, &'static str) {
        match self.carrier {
            Carrier::Http => ("AWS::Orders::Order", "arn:aws:orders:{region}:{account}:order/{id}"),
            _ => ("AWS::Orders::Queue", "arn:aws:orders:{region}:{account}:queue/refunds"),
        }
    }

    pub(super) fn resources(&self) -> Value {
        let (kind, arn) = self.resource();
        json!([{ "type": kind, "ARN": arn.replace("{id}", ID.0) }])
    }

    pub(super) fn request(&self, caller: &Caller) -> Request<Body> {
        let path = self.template.replace("{id}", ID.0);
        let query = if self.carrier == Carrier::Http {
            format!("?expand=lines&token={SECRET}")
        } else {
            String::new()
        };
        let request = Request::builder()
            .method(self.method)
            .uri(path + &query)
            .header(HEADER, caller.label)
            .header(header::AUTHORIZATION, format!("Bearer {SECRET}"))
            .header(header::COOKIE, format!("session={SECRET}"));
        let request = match self.content_type {
            Some(content_type) => request.header(header::CONTENT_TYPE, content_type),
            None => request,
        };
        let body = self.body();
        let body = if self.has_length {
            Body::from(body)
        } else {
            // No frame ends where a part or a message does.
            let chunks: Vec<_> = body.chunks(37).map(Bytes::copy_from_slice).map(Ok::<_, &str>).collect();
            Body::from_stream(stream::iter(chunks))
        };
        request.body(body).unwrap()
    }

    /// All of `requestParameters`.
    pub(super) fn parameters(&self) -> Value {
        let mut parameters = (self.members)();
        if self.carrier == Carrier::Http {
            for (name, value) in [("id", ID.1), ("expand", "lines"), ("token", HIDDEN)] {
                parameters[name] = value.into();
            }
        }
        parameters
    }
}
