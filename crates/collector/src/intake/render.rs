//! From a batch of events to frames of the spool: each record becomes JSON text once, here.

use bytes::Bytes;
use prost::Message;
use serde::Deserialize;
use sidetrail_archive::key::Id;
use sidetrail_record::{EventTime, limits};
use sidetrail_wire::ingest::v1::{Batch, Dropped, Event, Refusal, event::Payload};
use sidetrail_wire::spool::v1::{BodyEncoding, FrameMeta};

use super::complete::Completion;

/// Records' text in one frame, about. A frame holds at least one record, and at most this and one record more.
const FRAME_BODY: usize = 1 << 20;
/// Sequence numbers end here. Nobody gets there by counting.
const MAX_SEQUENCE: u64 = 1 << 62;
/// Bodies below this are kept as they are: there is nothing to gain.
const COMPRESS_ABOVE: usize = 512;
/// The fastest of zstd's usual levels: the spool is written once and read once.
const COMPRESSION_LEVEL: i32 = 1;

/// A frame as the spool takes it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) meta: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// The last sequence in it: what can be acked once it is on disk.
    pub(crate) last_sequence: u64,
}

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
    #[error("cannot compress a frame: {0}")]
    Compress(String),
}

/// Who sends, as it says in its Hello.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) source: Id,
    pub(crate) service: String,
    pub(crate) instance: String,
}

/// Renders the batches of one source.
#[derive(Debug)]
pub(crate) struct Renderer {
    completion: Completion,
    sender: Sender,
    /// The sequence that is due.
    next: u64,
}

impl Renderer {
    pub(crate) fn new(completion: Completion, sender: Sender, last_sequence: u64) -> Self {
        Self { completion, sender, next: last_sequence + 1 }
    }

    /// Turns events into frames. Events from before the one that is due were resent and are passed over.
    pub(crate) fn render(&mut self, batch: Batch, unix_ms: i64) -> Result<Rendered, BatchError> {
        let mut rendered = Rendered::default();
        let mut draft = Draft::new(self.next);
        for event in batch.events {
            let Event { sequence, payload, .. } = event;
            if sequence < self.next {
                continue;
            }
            if sequence > self.next || sequence > MAX_SEQUENCE {
                return Err(BatchError::Sequence { expected: self.next, got: sequence });
            }
            match payload {
                Some(Payload::Dropped(Dropped { count, .. })) => {
                    if count == 0 || count > MAX_SEQUENCE {
                        return Err(BatchError::Dropped { sequence, count });
                    }
                    draft.dropped += count;
                    self.next += count;
                }
                payload => {
                    self.next += 1;
                    if let Err(refusal) = self.record(payload, sequence, unix_ms, &mut draft) {
                        draft.dropped += 1;
                        rendered.refusals.push(refusal);
                    }
                }
            }
            if draft.body.len() >= FRAME_BODY {
                rendered.frames.push(self.frame(draft, unix_ms)?);
                draft = Draft::new(self.next);
            }
        }
        if self.next > draft.first {
            rendered.frames.push(self.frame(draft, unix_ms)?);
        }
        Ok(rendered)
    }

    fn record(
        &self,
        payload: Option<Payload>,
        sequence: u64,
        unix_ms: i64,
        draft: &mut Draft,
    ) -> Result<(), Refusal> {
        let refuse = |field: &str, reason: String| Refusal { sequence, field: field.to_owned(), reason };
        let start = draft.body.len();
        if start > 0 {
            draft.body.push(b',');
        }
        let rendered = match payload {
            Some(Payload::Call(call)) => self
                .completion
                .record(call, self.sender.source, sequence, unix_ms)
                .map_err(|error| refuse(error.field, error.reason))
                .and_then(|mut record| {
                    limits::write(&mut record, &mut draft.body)
                        .map_err(|error| refuse("record", error.to_string()))?;
                    Ok(record.event_time)
                }),
            Some(Payload::Record(text)) => match check_record(&text) {
                Ok(time) => {
                    draft.body.extend_from_slice(&text);
                    Ok(time)
                }
                Err(reason) => Err(refuse("record", reason)),
            },
            _ => Err(refuse("payload", "is of no kind that this collector knows".to_owned())),
        };
        match rendered {
            Ok(time) => {
                let seconds = time.map_or(unix_ms.div_euclid(1000), EventTime::unix_seconds);
                draft.note(seconds);
                Ok(())
            }
            Err(refusal) => {
                draft.body.truncate(start);
                Err(refusal)
            }
        }
    }

    fn frame(&self, draft: Draft, unix_ms: i64) -> Result<Frame, BatchError> {
        let body_size = draft.body.len();
        let (body, encoding) = if body_size > COMPRESS_ABOVE {
            let body = zstd::bulk::compress(&draft.body, COMPRESSION_LEVEL)
                .map_err(|error| BatchError::Compress(error.to_string()))?;
            (body, BodyEncoding::JoinedZstd)
        } else {
            (draft.body, BodyEncoding::Joined)
        };
        let last_sequence = self.next - 1;
        let meta = FrameMeta {
            source: Bytes::copy_from_slice(&self.sender.source.0),
            first_sequence: draft.first,
            last_sequence,
            records: draft.records,
            dropped: draft.dropped,
            // A body is at most FRAME_BODY and one record.
            body_size: u32::try_from(body_size).unwrap_or(u32::MAX),
            encoding: encoding.into(),
            oldest_event_time: draft.times.map_or(0, |(oldest, _)| oldest),
            newest_event_time: draft.times.map_or(0, |(_, newest)| newest),
            received_unix_ms: unix_ms,
            service: self.sender.service.clone(),
            instance: self.sender.instance.clone(),
        };
        Ok(Frame { meta: meta.encode_to_vec(), body, last_sequence })
    }
}

/// A frame in the making.
#[derive(Debug)]
struct Draft {
    first: u64,
    body: Vec<u8>,
    records: u32,
    dropped: u64,
    times: Option<(i64, i64)>,
}

impl Draft {
    fn new(first: u64) -> Self {
        Self { first, body: Vec::new(), records: 0, dropped: 0, times: None }
    }

    fn note(&mut self, seconds: i64) {
        self.records += 1;
        let (oldest, newest) = self.times.unwrap_or((seconds, seconds));
        self.times = Some((oldest.min(seconds), newest.max(seconds)));
    }
}

/// Checks a complete record without touching it: one JSON object within CloudTrail's limit. Gives its time if it has
/// one in CloudTrail's layout.
fn check_record(text: &[u8]) -> Result<Option<EventTime>, String> {
    #[derive(Deserialize)]
    struct Peek<'a> {
        #[serde(rename = "eventTime", borrow)]
        event_time: Option<&'a serde_json::value::RawValue>,
    }

    if text.len() > limits::MAX_RECORD {
        return Err(format!("is {} bytes, the limit is {}", text.len(), limits::MAX_RECORD));
    }
    let text = std::str::from_utf8(text).map_err(|error| format!("is not UTF-8: {error}"))?;
    if !text.starts_with('{') {
        return Err("is not a JSON object".to_owned());
    }
    let peek: Peek<'_> =
        serde_json::from_str(text).map_err(|error| format!("is not a JSON object: {error}"))?;
    Ok(peek.event_time.and_then(|time| serde_json::from_str(time.get()).ok()))
}

#[cfg(test)]
mod tests;
