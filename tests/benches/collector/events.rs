//! What is sent: calls as a shop's services record them, about 1.15 KB each once rendered.
//!
//! A pool of different ones is encoded before anything is measured. Each event that is sent has an id, a time and a
//! sequence of its own. The pool is larger than a log file, so that no compressor sees the same call twice.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use prost::Message;
use serde_json::json;
use sidetrail_wire::ingest::v1::{Call, UserIdentity};

const CALLS: usize = 24_000;

/// Where a call begins: tag and length of `event_id`, the id, the tag of `time_unix_nano`, the time.
const ID: std::ops::Range<usize> = 2..18;
const TIME: std::ops::Range<usize> = 19..27;
const HEAD: [(usize, u8); 3] = [(0, 0x0a), (1, 16), (18, 0x11)];

/// (method, route, name, read-only)
const ACTIONS: [(&str, &str, &str, bool); 12] = [
    ("GET", "/v1/orders/{orderId}", "GetOrder", true),
    ("GET", "/v1/orders", "ListOrders", true),
    ("POST", "/v1/orders", "CreateOrder", false),
    ("PATCH", "/v1/orders/{orderId}", "UpdateOrder", false),
    ("DELETE", "/v1/orders/{orderId}", "DeleteOrder", false),
    ("POST", "/v1/orders/{orderId}/refund", "RefundOrder", false),
    ("POST", "/v1/orders/{orderId}/lines", "CreateOrderLine", false),
    ("GET", "/v1/customers/{customerId}", "GetCustomer", true),
    ("PUT", "/v1/customers/{customerId}/address", "UpdateCustomerAddress", false),
    ("POST", "/v1/payments", "CreatePayment", false),
    ("GET", "/v1/payments/{paymentId}", "GetPayment", true),
    ("POST", "/v1/shipments/{shipmentId}:cancel", "CancelShipment", false),
];

const FIRST_NAMES: [&str; 16] = [
    "ann", "bob", "carla", "dmitri", "elif", "farid", "greta", "hugo", "ines", "jonas", "keiko", "lars",
    "mina", "noor", "olga", "pedro",
];
const LAST_NAMES: [&str; 12] = [
    "smith", "mueller", "garcia", "tanaka", "okafor", "rossi", "novak", "silva", "kim", "larsen", "dubois",
    "yilmaz",
];
const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "shop-android/8.14.2 (Pixel 9; Android 15)",
    "shop-ios/8.14.2 (iPhone16,2; iOS 18.1)",
    "billing-worker/2.31.0 reqwest/0.12",
    "okhttp/4.12.0",
    "curl/8.11.0",
];
const FAILURES: [(&str, &str); 4] = [
    ("ResourceNotFound", "404 Not Found"),
    ("AccessDenied", "403 Forbidden"),
    ("ValidationException", "422 Unprocessable Entity"),
    ("InternalFailure", "500 Internal Server Error"),
];
const NOTES: [&str; 6] = [
    "please ring twice",
    "leave it with the neighbour on the second floor",
    "gift wrapping, no invoice in the parcel",
    "delivery after 5 pm only",
    "customer called about the delayed parcel",
    "",
];

/// Encoded calls.
#[derive(Debug)]
pub(crate) struct Pool(Vec<Vec<u8>>);

impl Pool {
    pub(crate) fn generate() -> Result<Self> {
        let mut random = Random(0x5eed);
        let calls: Vec<_> = (0..CALLS).map(|_| call(&mut random).encode_to_vec()).collect();
        let as_expected = |call: &Vec<u8>| HEAD.iter().all(|(at, byte)| call[*at] == *byte);
        ensure!(calls.iter().all(as_expected), "calls are encoded in another order");
        Ok(Self(calls))
    }

    /// A `DeliverRequest` with a batch of `count` events of a source, numbered from `first`.
    pub(crate) fn batch(&self, source: u8, first: u64, count: u64) -> Result<Bytes> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock")?.as_nanos() as i64;
        let mut batch = Vec::with_capacity(count as usize * 1024);
        for sequence in first..first + count {
            // Two sources do not send the same at the same time.
            let index = (sequence + u64::from(source) * 7_919) % self.0.len() as u64;
            let call = &self.0[index as usize];
            let mut event = Vec::with_capacity(16);
            event.push(0x08);
            prost::encoding::encode_varint(sequence, &mut event);
            event.push(0x12);
            prost::encoding::encode_varint(call.len() as u64, &mut event);
            batch.push(0x0a);
            prost::encoding::encode_varint((event.len() + call.len()) as u64, &mut batch);
            batch.extend_from_slice(&event);
            let start = batch.len();
            batch.extend_from_slice(call);
            let call = &mut batch[start..];
            call[ID].copy_from_slice(&id(source, sequence));
            call[TIME].copy_from_slice(&now.to_le_bytes());
        }
        let mut request = Vec::with_capacity(batch.len() + 8);
        request.push(0x12);
        prost::encoding::encode_varint(batch.len() as u64, &mut request);
        request.extend_from_slice(&batch);
        Ok(request.into())
    }
}

fn id(source: u8, sequence: u64) -> [u8; 16] {
    let mut random = Random(sequence << 8 | u64::from(source));
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random.next().to_be_bytes());
    id[8..].copy_from_slice(&random.next().to_be_bytes());
    // A random UUID.
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

fn call(random: &mut Random) -> Call {
    let (method, route, name, read_only) = ACTIONS[random.skewed(ACTIONS.len())];
    let user = random.skewed(4_000);
    let (first, last) = (FIRST_NAMES[user % FIRST_NAMES.len()], LAST_NAMES[user / 7 % LAST_NAMES.len()]);
    let (order, customer) = (random.below(10_000_000), random.below(400_000));
    let failure = (random.below(20) == 0).then(|| FAILURES[random.skewed(FAILURES.len())]);
    let lines = 1 + random.below(3);
    let parameters = if read_only {
        json!({
            "orderId": format!("ord-{order:08}"), "customerId": format!("c-{customer}"),
            "cursor": format!("{:016x}", random.next()),
        })
    } else {
        json!({
            "orderId": format!("ord-{order:08}"), "customerId": format!("c-{customer}"), "currency": "EUR",
            "idempotencyKey": format!("{:016x}", random.next()), "note": NOTES[random.below(6) as usize],
            "lines": (0..lines).map(|_| json!({
                "sku": format!("SKU-{:05}", random.skewed(30_000)), "quantity": 1 + random.below(4),
                "unitPrice": random.below(20_000) as f64 / 100.0,
            })).collect::<Vec<_>>(),
        })
    };
    let elements = (!read_only && failure.is_none())
        .then(|| json!({"orderId": format!("ord-{order:08}"), "status": "accepted"}));
    let status = failure.map_or(if method == "POST" { 201 } else { 200 }, |(_, text)| {
        text[..3].parse::<u16>().unwrap_or(500)
    });
    let data = json!({
        "http.request.method": method, "http.route": route, "http.response.status_code": status,
        "http.response.body.size": random.below(2_000), "durationMs": random.below(90_000) as f64 / 1000.0,
        "trace_id": format!("{:016x}{:016x}", random.next(), random.next()), "span_id": format!("{:016x}", random.next()),
        "identitySource": "jwt",
    });
    let (high, low) = (random.next(), random.next());
    Call {
        event_id: id(0, 0).to_vec().into(),
        time_unix_nano: Some(1),
        event_source: "orders.example.com".to_owned(),
        event_name: name.to_owned(),
        event_type: "AwsApiCall".to_owned(),
        event_category: "Management".to_owned(),
        read_only: Some(read_only),
        management_event: Some(true),
        user_identity: Some(UserIdentity {
            r#type: Some("IAMUser".to_owned()),
            principal_id: Some(format!("u-{user:05}")),
            user_name: Some(format!("{first}.{last}")),
            ..UserIdentity::default()
        }),
        source_ip_address: format!("203.0.{}.{}", random.below(114), random.below(256)),
        user_agent: Some(AGENTS[random.skewed(AGENTS.len())].to_owned()),
        error_code: failure.map(|(code, _)| code.to_owned()),
        error_message: failure.map(|(_, message)| message.to_owned()),
        request_id: Some(format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0xfff,
            low & 0xffff_ffff_ffff
        )),
        request_parameters: Some(parameters.to_string().into()),
        response_elements: elements.map(|elements| elements.to_string().into()),
        additional_event_data: Some(data.to_string().into()),
        ..Call::default()
    }
}

/// SplitMix64: the same events in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Low numbers more often than high ones, as with users and actions.
    fn skewed(&mut self, bound: usize) -> usize {
        let (one, other) = (self.below(bound as u64), self.below(bound as u64));
        one.min(other) as usize
    }
}
