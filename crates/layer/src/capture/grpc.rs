//! gRPC messages as JSON, by their descriptors.

use std::io;

use prost_reflect::{DescriptorError, DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use sidetrail_record::limits;

use super::{Fields, Object, fields::push_number};
use crate::redact::Redactor;

/// Messages of a stream that are recorded. The rest is counted.
const MAX_MESSAGES: usize = 16;

/// A message's JSON is not written beyond this. It may be much longer than the message: an enum's byte becomes a name.
const MAX_JSON: usize = limits::MAX_PARAMETERS;

/// A compression flag and a length.
const HEADER: usize = 5;

/// The messages that services take and return.
#[derive(Clone, Debug)]
pub(crate) struct Descriptors(DescriptorPool);

/// What a body holds.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    message: MessageDescriptor,
    is_stream: bool,
}

/// Request and response of a method.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) request: Shape,
    pub(crate) response: Shape,
}

impl Descriptors {
    /// From the bytes of a `FileDescriptorSet`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DescriptorError> {
        DescriptorPool::decode(bytes).map(Self)
    }

    /// What goes over the wire for `/shop.v1.Orders/Refund`.
    pub(crate) fn call(&self, path: &str) -> Option<Call> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let service = self.0.get_service_by_name(service)?;
        let method = service.methods().find(|known| known.name() == method)?;
        Some(Call {
            request: Shape { message: method.input(), is_stream: method.is_client_streaming() },
            response: Shape { message: method.output(), is_stream: method.is_server_streaming() },
        })
    }
}

impl Shape {
    /// Adds what the first bytes of a body hold: a message's members, or those of `{"messages":[…],"count":…}`.
    pub(crate) fn record(&self, mut kept: &[u8], count: u64, object: &mut Object, redactor: &Redactor) {
        let mut messages = Vec::new();
        while messages.len() < MAX_MESSAGES
            && let Some((message, rest)) = self.next(kept)
        {
            messages.push(message);
            kept = rest;
        }
        let is_alone = !self.is_stream && messages.len() == 1 && count == 1;
        let added = match messages.pop() {
            None => return,
            Some(Ok(json)) if is_alone => object.body(&json, redactor),
            Some(Err(omitted)) if is_alone => {
                object.member("body", |out| out.push_str(&omitted));
                return;
            }
            Some(last) => {
                messages.push(last);
                object.body(&stream(messages, count), redactor)
            }
        };
        if added.is_err() {
            let omitted = omitted("message is nested too deeply", count);
            object.member("body", |out| out.push_str(&omitted));
        }
    }

    /// The next message as JSON, or what stands for it, and the bytes behind it.
    fn next<'a>(&self, kept: &'a [u8]) -> Option<(Result<String, String>, &'a [u8])> {
        let (header, rest) = kept.split_at_checked(HEADER)?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let Some((message, rest)) = rest.split_at_checked(length as usize) else {
            return Some((Err(omitted("message too large", length.into())), &[]));
        };
        let json = if header[0] == 0 {
            self.json(message).ok_or_else(|| omitted("message is not as described", length.into()))
        } else {
            Err(omitted("message is compressed", length.into()))
        };
        Some((json, rest))
    }

    fn json(&self, message: &[u8]) -> Option<String> {
        let message = DynamicMessage::decode(self.message.clone(), message).ok()?;
        let mut out = Bounded(Vec::new());
        let mut serializer = serde_json::Serializer::new(&mut out);
        message.serialize_with_options(&mut serializer, &SerializeOptions::new()).ok()?;
        String::from_utf8(out.0).ok()
    }
}

fn stream(messages: Vec<Result<String, String>>, count: u64) -> String {
    let texts: Vec<String> =
        messages.into_iter().map(|message| message.unwrap_or_else(|mark| mark)).collect();
    let mut json = format!("{{\"messages\":[{}],\"count\":", texts.join(","));
    push_number(&mut json, count);
    json.push('}');
    json
}

fn omitted(reason: &str, size: u64) -> String {
    let mut fields = Fields::default();
    fields.string("reason", reason);
    fields.flag("omitted", true);
    fields.number("originalSize", size);
    fields.finish().unwrap_or_else(|| "null".to_owned())
}

/// A text that ends with an error where it gets too long.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_JSON {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts the messages of a body as it streams by.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; HEADER],
    /// How much of the header is there.
    have: usize,
    /// What is still to come of the current message.
    rest: u64,
    count: u64,
}

impl Frames {
    pub(crate) fn push(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            if self.rest > 0 {
                let skip = chunk.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
                self.rest -= skip as u64;
                chunk = &chunk[skip..];
                continue;
            }
            self.header[self.have] = chunk[0];
            self.have += 1;
            chunk = &chunk[1..];
            if self.have == HEADER {
                let [_, length @ ..] = self.header;
                self.rest = u32::from_be_bytes(length).into();
                self.have = 0;
                self.count += 1;
            }
        }
    }

    /// How many messages have begun.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}
