//! How the ingest service is served: what one connection may have and do.

use std::time::Duration;

use sidetrail_wire::ingest::unread::ingest_server::IngestServer;
use tonic::transport::Server;
use tonic::transport::server::Router;

use crate::MAX_BATCH_BYTES;
use crate::gateway::Gateway;
use crate::intake::Intake;

/// What a sender may have under way before it waits to hear that it was read: as much as the layer puts into a batch. With
/// HTTP/2's own 64 KiB it would wait after every fifty records.
const WINDOW: u32 = 1 << 20;
/// HTTP/2's own 16 KiB are a dozen records.
const MAX_FRAME: u32 = 1 << 16;
/// Streams of one connection. A sender needs one.
const MAX_STREAMS_PER_CONNECTION: u32 = 8;
/// A connection that does not answer a ping is half-open.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Headers of one call, bytes. gRPC has a dozen.
const MAX_HEADERS: u32 = 16 << 10;
/// Streams that a peer opens and takes back, waiting to be seen; HTTP/2's "rapid reset".
const MAX_RESETS: usize = 16;
/// What a batch's message may have beside its events.
const MESSAGE_OVERHEAD: usize = 64 << 10;

/// A server of the ingest service, and of the gateway if there is one, to be given what comes in.
pub(crate) fn router(intake: &Intake, gateway: Option<&Gateway>) -> Router {
    let service =
        IngestServer::new(intake.clone()).max_decoding_message_size(MAX_BATCH_BYTES + MESSAGE_OVERHEAD);
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(MAX_FRAME)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_RESETS))
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(service)
        .add_optional_service(gateway.map(Gateway::server))
}
