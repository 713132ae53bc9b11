//! Frames that are whole and cannot be understood. Trying again does not help and passing over would lose them: their
//! bytes become an object of their own, and the trail goes on.

use bytes::Bytes;
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::key::QuarantineKey;
use sidetrail_archive::manifest::Quarantined;
use sidetrail_archive::quarantine::{self, Header};
use sidetrail_archive::receipt;
use sidetrail_archive::store::Put;
use sidetrail_spool::{Frame, MAX_BODY, MAX_META};

use super::batch::FrameError;
use super::destination::Destination;
use super::shipper::{ShipError, Trail};

/// The largest quarantine object: a frame and a line.
const MAX_OBJECT: usize = MAX_META + MAX_BODY + 1024;

/// Stores a frame as it is, under a name that its bytes give, and says what the manifest has to say of it.
pub(super) fn store(
    destination: &impl Destination,
    trail: &Trail,
    frame: &Frame<'_>,
    error: &FrameError,
) -> Result<Quarantined, ShipError> {
    let Trail { home, collector, name, .. } = trail;
    let key = QuarantineKey {
        home: home.clone(),
        collector: *collector,
        trail: name.clone(),
        frame: quarantine::digest(frame.meta, frame.body),
    };
    let mut header = Header {
        collector: *collector,
        trail: name.clone(),
        position: frame.position.to_string(),
        reason: receipt::reason(error.what()),
        meta: frame.meta.len() as u64,
        body: frame.body.len() as u64,
    };
    let mut object = Bytes::from(quarantine::render(&header, frame.meta, frame.body)?);
    let text = key.to_string();
    if destination.create(&text, &object)? == Put::AlreadyExists {
        // Another build may have had other words for it, or the same bytes came twice: what is stored counts, if it has
        // the frame.
        let stored = destination.read(&text, MAX_OBJECT)?;
        match quarantine::read(&stored) {
            Some((found, meta, body)) if (meta, body) == (frame.meta, frame.body) => header = found,
            _ => return Err(ShipError::conflict(text, Some(&stored), "it is another frame")),
        }
        object = stored;
    }
    destination.confirm(&text, object.len() as u64)?;
    tracing::error!(%error, key = text, "a frame cannot be understood and was set aside");
    Ok(Quarantined { key, sha256: Sha256::of(&object), size: object.len() as u64, reason: header.reason })
}
