//! A batch in the making: frames become a log file and the ranges that its manifest accounts for.

use std::collections::HashMap;

use jiff::Timestamp;
use prost::Message;
use sidetrail_archive::key::Id;
use sidetrail_archive::log::{LogError, LogFile, LogWriter};
use sidetrail_archive::manifest::Source;
use sidetrail_spool::{Frame, MAX_BODY, Position};
use sidetrail_wire::spool::v1::{BodyEncoding, FrameMeta};

use super::state::Counts;
use crate::ledger::source_id;

/// Ranges in one manifest. With names of the largest size they are about 1.5 MB.
pub(super) const MAX_RANGES: usize = 2048;

/// A frame whose checksum is right and whose content is not what this version writes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the meta of the frame at {0} is not valid: {1}")]
    Meta(Position, String),
    #[error("the body of the frame at {0} is not valid: {1}")]
    Body(Position, String),
    #[error("the log file cannot be written")]
    Log(#[from] LogError),
}

/// Frames on their way into one log file.
#[derive(Debug)]
pub(super) struct Batch {
    log: LogWriter,
    ranges: Vec<Source>,
    /// The last range of each source.
    latest: HashMap<Id, usize>,
    times: Option<(i64, i64)>,
    counts: Counts,
    first_received_unix_ms: Option<i64>,
    end: Position,
}

/// A finished batch.
#[derive(Debug)]
pub(super) struct Finished {
    /// `None` where there was nothing to record.
    pub(super) log: Option<LogFile>,
    pub(super) ranges: Vec<Source>,
    pub(super) times: Option<(Timestamp, Timestamp)>,
    pub(super) counts: Counts,
    pub(super) end: Position,
}

impl Batch {
    pub(super) fn new(start: Position) -> Result<Self, LogError> {
        Ok(Self {
            log: LogWriter::new()?,
            ranges: Vec::new(),
            latest: HashMap::new(),
            times: None,
            counts: Counts::default(),
            first_received_unix_ms: None,
            end: start,
        })
    }

    /// Takes a frame in.
    pub(super) fn push(&mut self, frame: &Frame<'_>) -> Result<(), FrameError> {
        let meta = FrameMeta::decode(frame.meta)
            .map_err(|error| FrameError::Meta(frame.position, error.to_string()))?;
        let source = source_id(&meta.source)
            .ok_or_else(|| FrameError::Meta(frame.position, "source is not 16 bytes".to_owned()))?;
        let body = body(&meta, frame)?;
        self.log.push_joined(&body, u64::from(meta.records))?;
        if meta.records > 0 {
            let (oldest, newest) = self.times.unwrap_or((meta.oldest_event_time, meta.newest_event_time));
            self.times = Some((oldest.min(meta.oldest_event_time), newest.max(meta.newest_event_time)));
        }
        self.counts.shipped += u64::from(meta.records);
        self.counts.dropped += meta.dropped;
        self.counts.intents += meta.intents;
        self.first_received_unix_ms.get_or_insert(meta.received_unix_ms);
        self.cover(source, meta);
        self.end = frame.next;
        Ok(())
    }

    /// Goes past a part of the log that cannot be read. Its events are missing in the ranges, which is how the verifier
    /// names them.
    pub(super) fn pass(&mut self, to: Position) {
        self.end = to;
    }

    pub(super) fn content_size(&self) -> u64 {
        self.log.content_size()
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.ranges.len() >= MAX_RANGES
    }

    /// When the first event of the batch came, `None` while there is none.
    pub(super) fn first_received_unix_ms(&self) -> Option<i64> {
        self.first_received_unix_ms
    }

    /// The position after everything in the batch.
    pub(super) fn end(&self) -> Position {
        self.end
    }

    pub(super) fn finish(self) -> Result<Finished, LogError> {
        let log = (self.log.records() > 0).then(|| self.log.finish()).transpose()?;
        let time = |seconds| Timestamp::from_second(seconds).unwrap_or_default();
        Ok(Finished {
            log,
            ranges: self.ranges,
            times: self.times.map(|(oldest, newest)| (time(oldest), time(newest))),
            counts: self.counts,
            end: self.end,
        })
    }

    fn cover(&mut self, source: Id, meta: FrameMeta) {
        let recorded = u64::from(meta.records);
        if let Some(range) = self.latest.get(&source).and_then(|index| self.ranges.get_mut(*index))
            && range.last + 1 == meta.first_sequence
            && range.collector == source_id(&meta.collector)
        {
            range.last = meta.last_sequence;
            range.recorded += recorded;
            range.dropped += meta.dropped;
            range.intents += meta.intents;
            return;
        }
        self.latest.insert(source, self.ranges.len());
        self.ranges.push(Source {
            source,
            service: meta.service,
            instance: meta.instance,
            collector: source_id(&meta.collector),
            first: meta.first_sequence,
            last: meta.last_sequence,
            recorded,
            filtered: 0,
            dropped: meta.dropped,
            intents: meta.intents,
        });
    }
}

/// The records of a frame as text.
fn body<'a>(meta: &FrameMeta, frame: &Frame<'a>) -> Result<std::borrow::Cow<'a, [u8]>, FrameError> {
    let invalid = |reason: String| FrameError::Body(frame.position, reason);
    let size = meta.body_size as usize;
    let body: std::borrow::Cow<'_, [u8]> = match meta.encoding() {
        BodyEncoding::Joined => frame.body.into(),
        BodyEncoding::JoinedZstd if size > MAX_BODY => {
            return Err(invalid(format!("{size} bytes are over the limit of {MAX_BODY}")));
        }
        BodyEncoding::JoinedZstd => {
            zstd::bulk::decompress(frame.body, size).map_err(|error| invalid(error.to_string()))?.into()
        }
        BodyEncoding::Unspecified => return Err(invalid(format!("encoding {} is not known", meta.encoding))),
    };
    if body.len() != size {
        return Err(invalid(format!("it has {} bytes, the meta says {size}", body.len())));
    }
    Ok(body)
}
