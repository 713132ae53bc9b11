//! Leaving a finished batch to a gateway, from the collector that cannot store it.

use std::time::Duration;

use bytes::Bytes;
use sidetrail_wire::connect::{Address, ConnectError};
use sidetrail_wire::gateway::v1::gateway_client::GatewayClient;
use sidetrail_wire::gateway::v1::{HandOverRequest, PROTOCOL_VERSION, Parcel, hand_over_request::Message};
use tokio::runtime::Handle;

/// Pieces that a log file is sent in.
const PIECE: usize = 256 << 10;
/// How long one hand-over may take. The deadline of the shutdown is nearer than that as a rule.
const WITHIN: Duration = Duration::from_secs(30);

/// The objects of a batch, as they are to be stored.
#[derive(Clone, Debug)]
pub(crate) struct FinishedBatch {
    pub(crate) public_key: Bytes,
    pub(crate) manifest: Bytes,
    pub(crate) log: Option<Bytes>,
}

/// The gateway does not have the batch, or nobody knows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandOverError {
    #[error("cannot connect to the gateway")]
    Connect(#[from] ConnectError),
    #[error("the gateway says: {}", .0.message())]
    Status(#[from] tonic::Status),
    #[error("the gateway did not answer in {} s", WITHIN.as_secs())]
    Time,
}

/// Whoever takes finished batches. A trait, so that tests can refuse them.
pub(crate) trait HandOver: Send {
    /// Returns once the batch is on the other's disk.
    fn hand_over(&self, objects: FinishedBatch) -> Result<(), HandOverError>;
}

/// A gateway, called from a thread that may block.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) endpoint: Address,
    /// The destination of the trail, as the configuration has it.
    pub(crate) destination: String,
    pub(crate) runtime: Handle,
}

impl HandOver for Remote {
    fn hand_over(&self, objects: FinishedBatch) -> Result<(), HandOverError> {
        let FinishedBatch { public_key, manifest, log } = objects;
        let destination = self.destination.clone();
        let parcel = Parcel { protocol_version: PROTOCOL_VERSION, destination, public_key, manifest };
        let pieces = log.into_iter().flat_map(|mut log| {
            std::iter::from_fn(move || {
                let piece = log.split_to(PIECE.min(log.len()));
                (!piece.is_empty()).then_some(Message::Log(piece))
            })
        });
        let messages = std::iter::once(Message::Parcel(parcel)).chain(pieces);
        let requests = tokio_stream::iter(
            messages.map(|message| HandOverRequest { message: Some(message) }).collect::<Vec<_>>(),
        );
        self.runtime.block_on(async {
            let call = async {
                let channel = self.endpoint.connect().await?;
                GatewayClient::new(channel).hand_over(requests).await?;
                Ok(())
            };
            tokio::time::timeout(WITHIN, call).await.unwrap_or(Err(HandOverError::Time))
        })
    }
}
