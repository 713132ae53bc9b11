//! For the fuzz targets: what the gateway makes of a forwarded frame, without a gateway.

use std::sync::Arc;

use sidetrail_archive::key::Id;
use sidetrail_spool::Entry;
use sidetrail_wire::gateway::v1::Frame;

use super::frame::{Accepted, Unfit, accept};

const FORWARDER: Id = Id([7; 16]);
const OWN: Id = Id([9; 16]);
const NOW_MS: i64 = 1_768_473_677_000;

/// Meta and body of a frame for the spool.
pub type Made = (Vec<u8>, Vec<u8>);

/// A frame that was accepted.
#[derive(Debug)]
pub struct Taken {
    /// First and last sequence.
    pub range: (u64, u64),
    /// What the spool gets.
    pub whole: Made,
    /// What it gets where the log has the frame's middle already, and then the middle: the same events again.
    pub parts: Vec<Made>,
}

/// Accepts a frame as the gateway does.
///
/// # Errors
/// What the forwarder is told.
pub fn take_frame(frame: Frame) -> Result<Taken, String> {
    let told = |unfit: Unfit| unfit.to_string();
    let accepted = accept(frame, FORWARDER, OWN, NOW_MS).map_err(told)?;
    let made = |accepted: &Accepted| {
        let Entry { meta, body } = accepted.entry(&Arc::default())?;
        Ok((meta, body))
    };
    let range @ (first, last) = accepted.range();
    let whole = made(&accepted).map_err(told)?;
    let (low, high) = (first + (last + 1 - first) / 3, first + (last + 1 - first) * 2 / 3);
    let ranges = [(first, low), (low + 1, high), (high + 1, last)];
    let ranges: Vec<_> =
        ranges.into_iter().filter(|(first, last)| first <= last && *last <= range.1).collect();
    let parts = accepted.part(&ranges).map_err(told)?;
    let parts = parts.iter().map(made).collect::<Result<Vec<_>, _>>().map_err(told)?;
    Ok(Taken { range, whole, parts })
}
