//! Names that hold other bytes than the batch whose names they are.
//!
//! A plan names its objects before it knows their bytes, and is repeated after a crash. If a part of the spool became
//! unreadable meanwhile, it is repeated with fewer records. Nothing is ever overwritten, and a trail must not be stuck:
//!
//! - If the manifest is there, signed by this trail for this place in its chain, and accounts for all that the batch
//!   still has, then the batch was stored before the crash: that manifest counts.
//! - Anything else is left as it is. The batch takes the name of its next attempt, which the plan keeps, and its manifest
//!   says what it found under the others.

use std::collections::HashMap;

use bytes::Bytes;
use sidetrail_archive::dsse::MAX_ENVELOPE;
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::manifest::{Manifest, Source};
use sidetrail_archive::sign::Signer;

use super::destination::{Destination, DestinationError};
use super::state::Counts;

/// A manifest of this batch that was stored before.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) manifest: Manifest,
    pub(super) sha256: Sha256,
    pub(super) counts: Counts,
}

/// Looks for the manifest that commits `batch` already.
pub(super) fn committed(
    destination: &impl Destination,
    batch: &Manifest,
    signer: &dyn Signer,
) -> Result<Option<Stored>, DestinationError> {
    let Some(bytes) = find(destination, &batch.manifest.to_string(), MAX_ENVELOPE)? else { return Ok(None) };
    let Ok(manifest) = Manifest::open(&bytes, &[signer.public_key().clone()]) else { return Ok(None) };
    let is_ours = manifest.manifest == batch.manifest && manifest.chain == batch.chain;
    if !(is_ours && covers(&manifest.sources, &batch.sources)) {
        return Ok(None);
    }
    if let Some(log) = &manifest.log_file {
        destination.confirm(&log.key.to_string(), log.size)?;
    }
    let mut counts = Counts::default();
    for source in &manifest.sources {
        counts.shipped += source.recorded;
        counts.filtered += source.filtered;
        counts.dropped += source.dropped;
        counts.intents += source.intents;
    }
    Ok(Some(Stored { manifest, sha256: Sha256::of(&bytes), counts }))
}

/// An object of at most `limit` bytes, `None` if there is none or it is larger.
fn find(destination: &impl Destination, key: &str, limit: usize) -> Result<Option<Bytes>, DestinationError> {
    match destination.read(key, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() || error.is_too_large() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether each range of `some` lies in one of `all`.
fn covers(all: &[Source], some: &[Source]) -> bool {
    let mut ranges: HashMap<_, Vec<(u64, u64)>> = HashMap::new();
    for Source { source, first, last, .. } in all {
        ranges.entry(*source).or_default().push((*first, *last));
    }
    some.iter().all(|it| {
        let ranges = ranges.get(&it.source);
        ranges.is_some_and(|ranges| ranges.iter().any(|(first, last)| *first <= it.first && it.last <= *last))
    })
}
