//! From a batch of events to frames of the spool: each record becomes JSON text once, here.

use std::sync::Arc;

use prost::{DecodeError, Message as _};
use serde::Deserialize;
use sidetrail_record::{EventTime, limits};
use sidetrail_wire::ingest::unread::Batch;
use sidetrail_wire::ingest::v1::{Call, Dropped, Refusal};
use sidetrail_wire::{EventRef, InvalidCall, PayloadRef};

use super::complete::{Completion, Of, Origin};
use super::frame::{CompressError, Draft, Frame, Sender};
use super::intent;
use crate::ledger::{Known, SharedLedger};
use crate::selection::{Choosers, Selection, Taken};

/// Sequence numbers end here. Nobody gets there by counting.
const MAX_SEQUENCE: u64 = 1 << 62;

/// The reason of drops for which their sender gives none.
const UNSAID: &str = "not said";

/// What a batch came to.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    pub(crate) frames: Vec<Frame>,
    pub(crate) refusals: Vec<Refusal>,
}

/// The sender broke the protocol; the stream cannot go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    #[error("event {got} came where {expected} was due")]
    Sequence { expected: u64, got: u64 },
    #[error("event {sequence} gives up {count} events, allowed are 1 to {MAX_SEQUENCE}")]
    Dropped { sequence: u64, count: u64 },
    #[error("what comes after event {after} is no event: {error}")]
    Event { after: u64, error: DecodeError },
    #[error(transparent)]
    Compress(#[from] CompressError),
}

/// Why an event cannot be recorded: the field, and what is wrong with it.
type Unfit = (String, String);

/// Renders the batches of one source.
#[derive(Debug)]
pub(crate) struct Renderer {
    completion: Completion,
    sender: Sender,
    ledger: SharedLedger,
    /// The source's intents, with all that was rendered so far. While the stream lives nobody else changes them; if
    /// somebody did, the ledger refuses the frame.
    known: Known,
    selection: Arc<Selection>,
    /// The sequence that is due.
    next: u64,
    /// The most that a frame of this stream says was assigned.
    noted: u64,
}

impl Renderer {
    /// Goes on after `last_sequence`, as of which `known` is.
    pub(crate) fn new(
        completion: Completion,
        sender: Sender,
        ledger: SharedLedger,
        last_sequence: u64,
        known: Known,
    ) -> Self {
        let (selection, next) = (Arc::default(), last_sequence + 1);
        Self { completion, sender, ledger, known, selection, next, noted: 0 }
    }

    /// Asks which trails take an event. Without, all take everything.
    pub(crate) fn with_selection(self, selection: Arc<Selection>) -> Self {
        Self { selection, ..self }
    }

    /// Whether the source may go for good with something left open, having sent all up to `last_sequence`.
    pub(crate) fn leaves_open(&self, last_sequence: u64) -> bool {
        last_sequence < self.next && !self.known.open.is_empty()
    }

    /// What the source says of itself, as a frame without events, if that is worth one: that it has assigned numbers which
    /// did not come yet, or that it ends.
    pub(crate) fn note(
        &mut self,
        assigned: u64,
        ended: bool,
        unix_ms: i64,
    ) -> Result<Option<Frame>, CompressError> {
        let arrived = self.next - 1;
        let assigned = assigned.clamp(arrived, MAX_SEQUENCE.max(arrived));
        if assigned == 0 || !ended && assigned <= arrived.max(self.noted) {
            return Ok(None);
        }
        self.noted = assigned;
        let mut draft = Draft::new(self.next, &self.selection.now());
        (draft.assigned, draft.ended) = (assigned, ended);
        let frame = self.frame(draft, unix_ms)?;
        // The sender does not wait for it.
        Ok(Some(Frame { last_sequence: 0, ..frame }))
    }

    /// Turns events into frames. Events from before the one that is due were resent and are passed over.
    pub(crate) fn render(&mut self, batch: &Batch, unix_ms: i64) -> Result<Rendered, BatchError> {
        let mut rendered = Rendered::default();
        let choosers = self.selection.now();
        // A source that has nothing here may have been elsewhere before, with another collector or another spool. What it
        // had acked there is there; should it not be, the ranges of the manifests leave it out.
        let begins = self.next == 1;
        let mut events = batch.events.iter().map(|event| EventRef::read(event)).peekable();
        if begins && let Some(Ok(first)) = events.peek() {
            self.next = first.sequence.clamp(1, MAX_SEQUENCE);
        }
        let mut draft = Draft::new(self.next, &choosers);
        draft.begins = begins && self.next > 1;
        for event in events {
            let event = event.map_err(|error| BatchError::Event { after: self.next - 1, error })?;
            let sequence = event.sequence;
            if sequence < self.next {
                continue;
            }
            if sequence > self.next || sequence > MAX_SEQUENCE {
                return Err(BatchError::Sequence { expected: self.next, got: sequence });
            }
            match event.payload {
                Some(PayloadRef::Dropped(Dropped { count, reason })) => {
                    if count == 0 || count > MAX_SEQUENCE {
                        return Err(BatchError::Dropped { sequence, count });
                    }
                    draft.give_up(if reason.is_empty() { UNSAID } else { &reason }, count);
                    self.next += count;
                }
                _ => {
                    self.next += 1;
                    if let Err(refusal) = self.event(event, unix_ms, &choosers, &mut draft) {
                        draft.give_up(&format!("refused: {}", refusal.field), 1);
                        rendered.refusals.push(refusal);
                    }
                }
            }
            if draft.is_full() {
                rendered.frames.push(self.frame(draft, unix_ms)?);
                draft = Draft::new(self.next, &choosers);
            }
        }
        if self.next > draft.first {
            rendered.frames.push(self.frame(draft, unix_ms)?);
        }
        Ok(rendered)
    }

    /// Takes an event in, or says why it cannot be recorded.
    fn event(
        &mut self,
        event: EventRef<'_>,
        unix_ms: i64,
        choosers: &Choosers,
        draft: &mut Draft,
    ) -> Result<(), Refusal> {
        let EventRef { sequence, payload, completes } = event;
        let taken = match payload {
            Some(PayloadRef::Call(call)) => self.call(&call, (sequence, completes), unix_ms, choosers, draft),
            Some(PayloadRef::Intent(call)) => self.intent(&call, sequence, unix_ms, draft),
            Some(PayloadRef::Record(text)) => record(&text, unix_ms, choosers, draft),
            _ => Err(("payload".to_owned(), "is of no kind that this collector knows".to_owned())),
        };
        taken.map_err(|(field, reason)| Refusal { sequence, field, reason })
    }

    /// A call that cannot be recorded completes nothing: its intent stays open, and becomes a record in the end.
    fn call(
        &mut self,
        call: &[u8],
        (sequence, completes): (u64, u64),
        unix_ms: i64,
        choosers: &Choosers,
        draft: &mut Draft,
    ) -> Result<(), Unfit> {
        let source = self.sender.source;
        let intent = Some(completes).filter(|intent| (1..sequence).contains(intent));
        let original = intent.and_then(|intent| self.known.recorded.get(&intent));
        draft.record::<Unfit>(unix_ms, |body| {
            let origin = Origin { source, sequence, intent: intent.map(Of::Own) };
            // Selectors look at a whole record; where there are none, and nothing to amend, the text will do.
            if original.is_none()
                && choosers.take_everything()
                && let Some(time) = self.completion.write(call, origin, unix_ms, body)
            {
                return Ok((Some(time), Taken::BY_ALL));
            }
            let call = decode(call)?;
            let mut record = self.completion.record(call, origin, unix_ms).map_err(unfit)?;
            if let Some(original) = original {
                intent::amend(&mut record, original, source, sequence);
            }
            let taken = choosers.choose(&record);
            if !taken.by_none() {
                limits::write(&mut record, body).map_err(|error| ("record".to_owned(), error.to_string()))?;
            }
            Ok((record.event_time, taken))
        })?;
        if let Some(intent) = intent {
            if self.known.open.remove(&intent) {
                draft.complete(intent);
            } else if self.known.recorded.remove(&intent).is_some() {
                draft.complete_late(intent);
            }
        }
        Ok(())
    }

    fn intent(&mut self, call: &[u8], sequence: u64, unix_ms: i64, draft: &mut Draft) -> Result<(), Unfit> {
        let intent = intent::render(&self.completion, decode(call)?, self.sender.source, sequence, unix_ms);
        let intent = intent.map_err(unfit)?;
        let room = self.ledger.reserve(&intent).map_err(|full| ("intent".to_owned(), full.to_string()))?;
        draft.open(intent, room);
        self.known.open.insert(sequence);
        Ok(())
    }

    fn frame(&self, draft: Draft, unix_ms: i64) -> Result<Frame, CompressError> {
        draft.finish(&self.sender, self.next - 1, unix_ms)
    }
}

fn decode(call: &[u8]) -> Result<Call, Unfit> {
    Call::decode(call).map_err(|error| ("payload".to_owned(), format!("is no call: {error}")))
}

fn record(text: &[u8], unix_ms: i64, choosers: &Choosers, draft: &mut Draft) -> Result<(), Unfit> {
    draft.record(unix_ms, |body| {
        let (text, time) = check_record(text).map_err(|reason| ("record".to_owned(), reason))?;
        let taken = choosers.choose_text(text);
        if !taken.by_none() {
            body.extend_from_slice(text.as_bytes());
        }
        Ok((time, taken))
    })
}

fn unfit(error: InvalidCall) -> Unfit {
    (error.field.to_owned(), error.reason)
}

/// Checks a complete record without touching it: one JSON object within CloudTrail's limit. Gives its text, and its time
/// if it has one in CloudTrail's layout.
fn check_record(text: &[u8]) -> Result<(&str, Option<EventTime>), String> {
    if text.len() > limits::MAX_RECORD {
        return Err(format!("is {} bytes, the limit is {}", text.len(), limits::MAX_RECORD));
    }
    let text = std::str::from_utf8(text).map_err(|error| format!("is not UTF-8: {error}"))?;
    if !text.starts_with('{') {
        return Err("is not a JSON object".to_owned());
    }
    let time = event_time(text).map_err(|error| format!("is not a JSON object: {error}"))?;
    Ok((text, time))
}

/// The time of a record, if it has one in CloudTrail's layout.
pub(crate) fn event_time(record: &str) -> serde_json::Result<Option<EventTime>> {
    #[derive(Deserialize)]
    struct Peek<'a> {
        #[serde(rename = "eventTime", borrow)]
        event_time: Option<&'a serde_json::value::RawValue>,
    }

    let peek: Peek<'_> = serde_json::from_str(record)?;
    Ok(peek.event_time.and_then(|time| serde_json::from_str(time.get()).ok()))
}

#[cfg(test)]
mod tests;
