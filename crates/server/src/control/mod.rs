//! Keeping in touch with collectors: what they tell is kept and shown, and which trails they fill is told to them.
//!
//! `accept` lets connections in, `join` says whose they are, by tokens, certificates, or `review`, which asks Kubernetes.
//! `service` has the streams, `assign` says which trails a collector fills, `register` knows the collectors: those of this
//! server's streams in memory, and all others from the bucket.

mod accept;
mod assign;
mod join;
mod register;
mod review;
mod service;

use std::sync::Arc;

use sidetrail_wire::control::v1::control_server::ControlServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub(crate) use accept::Shown;
pub(crate) use join::Joins;
pub(crate) use register::{Register, RegisterError};
use service::Service;

use crate::{Context, unaudited};

/// Bytes of a message from a collector: live copies of a few of the largest records.
const MAX_MESSAGE: usize = 4 << 20;

/// Headers of one call, bytes.
const MAX_HEADERS: u32 = 16 << 10;
/// Streams that a peer opens and takes back, waiting to be seen.
const MAX_RESETS: usize = 16;

/// Serves collectors until `closing`.
pub(crate) async fn serve(
    listener: TcpListener,
    context: Arc<Context>,
    joins: Joins,
    shown: Option<Arc<Shown>>,
    closing: CancellationToken,
) {
    let joins = Arc::new(joins);
    let service = Service::new(Arc::clone(&context), Arc::clone(&joins), closing.clone());
    let service = ControlServer::new(service).max_decoding_message_size(MAX_MESSAGE);
    // The injector speaks plain HTTP, here as to the API server.
    let router = Routes::new(service).into_axum_router().merge(unaudited::reports(context, joins));
    let served = tonic::transport::Server::builder()
        .accept_http1(true)
        // One is all that a collector needs.
        .max_concurrent_streams(4)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_RESETS))
        .http2_keepalive_interval(Some(service::KEEP_ALIVE))
        .http2_keepalive_timeout(Some(service::KEEP_ALIVE_TIMEOUT))
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(
            accept::connections(listener, shown, closing.clone()),
            closing.cancelled_owned(),
        );
    if let Err(error) = served.await {
        tracing::error!(error = %crate::chain(&error), "cannot serve collectors");
    }
}
