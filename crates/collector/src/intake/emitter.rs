//! Records intents as Incomplete once their source said goodbye or was gone for too long.
//!
//! That neither a call nor this one is recorded beside the other, whoever comes first: a frame is queued here only while
//! its source has no stream, under the lock by which streams enter. So a stream that opens later asks the commit thread
//! for its state after this frame, and knows what was recorded; and what an earlier stream had queued is before this
//! frame, where the ledger has it when the frame comes to be checked. The frame was made from an older view and may name
//! what a call has completed since: then the ledger refuses it, and the next round makes another.

use std::sync::Arc;
use std::time::Duration;

use sidetrail_archive::key::Id;
use sidetrail_record::limits;
use sidetrail_spool::{Entry, Kind, TryAppend};
use sidetrail_wire::spool::v1::Intent;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Shared;
use super::frame::{CompressError, Draft, Frame, Sender};
use super::intent;
use crate::selection::Choosers;

/// How often is looked, as a part of the grace period, and within these bounds.
const LOOKS_PER_GRACE: u32 = 8;
const MIN_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Intents that one frame ends.
const MAX_INTENTS: usize = 1024;
/// What the collector's own source is called in manifests.
const SERVICE: &str = "sidetrail-collector";

/// Looks after open intents until the collector closes. What is open then stays so: the next start goes on with it.
pub(super) async fn run(shared: Arc<Shared>) {
    let started = Instant::now();
    while !shared.closing.is_cancelled() {
        let grace = shared.grace();
        let wait = (grace / LOOKS_PER_GRACE).clamp(MIN_WAIT, MAX_WAIT);
        let open = || shared.ledger.with_open_intents();
        for source in shared.sessions.due(started.elapsed(), grace, open) {
            if record(&shared, source).await == Spool::Busy {
                break;
            }
        }
        tokio::select! {
            () = shared.closing.cancelled() => {}
            () = shared.sessions.gone() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Whether the spool takes frames. If not, the other sources wait for the next look too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spool {
    Takes,
    Busy,
}

/// Records what a source left open, as far as it can now.
async fn record(shared: &Shared, source: Id) -> Spool {
    // Each round that goes on has closed at least one.
    while !shared.closing.is_cancelled() {
        let intents = shared.ledger.open_intents(source, MAX_INTENTS);
        if intents.is_empty() {
            return Spool::Takes;
        }
        let own = shared.completion.collector;
        // Nobody else writes for this source, and what was written here is in the ledger.
        let first = shared.ledger.last_sequence(own) + 1;
        let (choosers, now) = (shared.selection.now(), shared.environment.unix_ms());
        let frame = match frame((own, first), source, &intents, now, &choosers) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::error!(%error, %source, "cannot record open intents as Incomplete");
                return Spool::Takes;
            }
        };
        let count = frame.last_sequence - first + 1;
        let (tell, told) = oneshot::channel();
        let entry = Entry { meta: frame.meta, body: frame.body };
        let queued = shared.sessions.unless_live(source, || {
            shared.committer.append(entry, move |result| {
                // This task waits for it, unless the runtime ends.
                let _ = tell.send(result);
            })
        });
        match queued {
            Some(TryAppend::Queued) => {}
            Some(TryAppend::Full(..) | TryAppend::Closed(..)) => return Spool::Busy,
            // It came back.
            None => return Spool::Takes,
        }
        match told.await {
            Ok(Ok(_)) => {
                shared.pressure.set_free();
                tracing::warn!(%source, count, "calls without an outcome were recorded as Incomplete");
            }
            Ok(Err(error)) if error.kind() == Kind::Reject => {
                tracing::info!(%source, error = %crate::chain(&error), "a call came to its end meanwhile");
                return Spool::Takes;
            }
            Ok(Err(error)) => {
                shared.not_taken(&error);
                return Spool::Busy;
            }
            Err(_) => return Spool::Busy,
        }
    }
    Spool::Busy
}

/// A frame of the collector's own source, numbered from `first`, that ends intents of `source`: as many as fit.
pub(crate) fn frame(
    (own, first): (Id, u64),
    source: Id,
    intents: &[Intent],
    unix_ms: i64,
    choosers: &Arc<Choosers>,
) -> Result<Frame, CompressError> {
    let mut draft = Draft::new(first, choosers);
    let mut next = first;
    for intent in intents {
        if draft.is_full() {
            break;
        }
        let written = draft.record::<()>(unix_ms, |body| {
            let mut record = intent::incomplete(intent, source, own, next).ok_or(())?;
            limits::write(&mut record, body).map_err(|_| ())?;
            Ok((record.event_time, choosers.choose(&record)))
        });
        if written.is_err() {
            // Intake made it, so it is a record. Were it none, it must not be in the way of the others.
            let sequence = intent.sequence;
            tracing::error!(%source, sequence, "an intent cannot be recorded; it is counted as dropped");
            draft.give_up("no record", 1);
        }
        draft.end(source, intent.sequence);
        next += 1;
    }
    let sender = Sender { source: own, service: SERVICE.to_owned(), instance: own.to_string() };
    draft.finish(&sender, next - 1, unix_ms)
}

#[cfg(test)]
mod tests;
