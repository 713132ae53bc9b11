//! Taking a parcel in: one call, answered when all of it is on disk.

use std::time::Duration;

use sidetrail_wire::gateway::v1::{HandOverRequest, HandOverResponse, hand_over_request::Message};
use tonic::{Status, Streaming};

use super::Inner;
use super::depot::{DepotError, Incoming};
use super::parcel;

/// A collector that hands over is about to end, so the next message follows at once or never.
const MESSAGE_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn run(
    gateway: &Inner,
    mut stream: Streaming<HandOverRequest>,
) -> Result<HandOverResponse, Status> {
    // Many may come at once, when a cluster is drained: the others wait, unread.
    let closed = |_| Status::unavailable("the gateway is shutting down");
    let _turn = gateway.receiving.acquire().await.map_err(closed)?;
    let Some(Message::Parcel(parcel)) = next(&mut stream).await? else {
        return Err(Status::failed_precondition("the first message must be a parcel"));
    };
    let checked = parcel::check(parcel.clone(), |trail| gateway.bounds(trail))
        .map_err(|unfit| Status::failed_precondition(crate::chain(&unfit)))?;
    let (place, depot) = (checked.place.clone(), gateway.depot.clone());
    let taken = blocking(move || depot.take(&checked.place, &parcel, checked.log)).await?;
    let Some(mut incoming) = taken else { return Ok(HandOverResponse {}) };
    while let Some(message) = next(&mut stream).await? {
        let Message::Log(piece) = message else {
            return Err(Status::failed_precondition("a parcel comes once, at the start"));
        };
        incoming = blocking(move || write(incoming, &piece)).await?;
    }
    blocking(move || incoming.finish()).await?;
    tracing::info!(
        collector = %place.collector,
        trail = %place.trail,
        index = place.index,
        "a collector handed over a batch that it could not store"
    );
    gateway.shared.metrics.gateway.parcels(gateway.depot.usage());
    gateway.arrived.notify_one();
    Ok(HandOverResponse {})
}

fn write(mut incoming: Incoming, piece: &[u8]) -> Result<Incoming, DepotError> {
    incoming.write(piece)?;
    Ok(incoming)
}

async fn next(stream: &mut Streaming<HandOverRequest>) -> Result<Option<Message>, Status> {
    let message = tokio::time::timeout(MESSAGE_WITHIN, stream.message()).await;
    match message.map_err(|_| Status::deadline_exceeded("no message came in 10 s"))?? {
        Some(HandOverRequest { message: Some(message) }) => Ok(Some(message)),
        Some(HandOverRequest { message: None }) => {
            Err(Status::invalid_argument("a message of no kind that this gateway knows"))
        }
        None => Ok(None),
    }
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, DepotError> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(act).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(match error {
            DepotError::Full { .. } | DepotError::Count => Status::resource_exhausted(error.to_string()),
            DepotError::Different => Status::already_exists(error.to_string()),
            DepotError::Log(_) => Status::invalid_argument(error.to_string()),
            DepotError::File { .. } => Status::unavailable(crate::chain(&error)),
        }),
        Err(_) => Err(Status::unavailable("the gateway is shutting down")),
    }
}
