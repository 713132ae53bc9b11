//! Keeping in touch with collectors: what they tell is kept and shown, and which trails they fill is told to them.
//!
//! `service` has the streams, `assign` says which trails a collector fills, `register` knows the collectors: those of this
//! server's streams in memory, and all others from the bucket.

mod assign;
mod register;
mod service;

use std::sync::Arc;

use sidetrail_api::sigv4::Secret;
use sidetrail_archive::key::{Account, Region};
use sidetrail_wire::control::v1::control_server::ControlServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

pub(crate) use register::Register;
use service::Service;

use crate::Context;
use crate::config::{ConfigError, ControlConfig};

/// Bytes of a message from a collector: live copies of a few of the largest records.
const MAX_MESSAGE: usize = 4 << 20;

/// Headers of one call, bytes.
const MAX_HEADERS: u32 = 16 << 10;
/// Streams that a peer opens and takes back, waiting to be seen.
const MAX_RESETS: usize = 16;

/// What lets collectors join.
#[derive(Debug)]
pub(crate) struct Token {
    secret: Secret,
    account: Account,
    region: Option<Region>,
}

/// Reads the join tokens.
pub(crate) fn read_tokens(
    config: &ControlConfig,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Token>, ConfigError> {
    let tokens = config.join_tokens.iter().enumerate().map(|(index, token)| {
        let secret = token.token.read(&format!("control.join_tokens[{index}].token"), env)?;
        Ok(Token { secret, account: token.account.clone(), region: token.region.clone() })
    });
    tokens.collect()
}

/// Serves collectors until `closing`.
pub(crate) async fn serve(
    listener: TcpListener,
    context: Arc<Context>,
    tokens: Vec<Token>,
    closing: CancellationToken,
) {
    let service = ControlServer::new(Service::new(context, tokens, closing.clone()))
        .max_decoding_message_size(MAX_MESSAGE);
    let served = tonic::transport::Server::builder()
        // One is all that a collector needs.
        .max_concurrent_streams(4)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_RESETS))
        .http2_keepalive_interval(Some(service::KEEP_ALIVE))
        .http2_keepalive_timeout(Some(service::KEEP_ALIVE_TIMEOUT))
        .add_service(service)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), closing.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(error = %crate::chain(&error), "cannot serve collectors");
    }
}
