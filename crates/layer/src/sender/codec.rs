//! gRPC's side of messages that are encoded already.

use bytes::{Buf, BufMut};
use prost::Message;
use sidetrail_wire::ingest::v1::DeliverResponse;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Requests are bytes, responses messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoded;

impl Codec for Encoded {
    type Encode = Vec<u8>;
    type Decode = DeliverResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, request: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(request.len());
        to.put_slice(&request);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = DeliverResponse;
    type Error = Status;

    /// `from` is exactly one message.
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DeliverResponse>, Status> {
        let message = from.copy_to_bytes(from.remaining());
        DeliverResponse::decode(message).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
