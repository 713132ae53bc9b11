//! A batch in the making: frames become a log file and the ranges that its manifest accounts for.

use std::collections::HashMap;
use std::{fmt, io};

use jiff::Timestamp;
use prost::Message;
use sidetrail_archive::key::{Id, Trail};
use sidetrail_archive::log::{LogError, LogFile, LogWriter};
use sidetrail_archive::manifest::{Quarantined, Receipts, Source};
use sidetrail_spool::{Damage, Frame, MAX_BODY, Position};
use sidetrail_wire::spool::v1::{BodyEncoding, FrameMeta};
use zstd::bulk::Decompressor;

use super::receipts::Noted;
use super::state::Counts;
use crate::ledger::{is_note, source_id};
use crate::selection::{self, Cut};

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

impl FrameError {
    /// What is wrong, without the place.
    pub(super) fn what(&self) -> &str {
        match self {
            Self::Meta(_, what) | Self::Body(_, what) => what,
            Self::Log(_) => "log file",
        }
    }
}

/// Frames on their way into one log file.
#[derive(Debug)]
pub(super) struct Batch {
    trail: Trail,
    log: LogWriter,
    unpacker: Unpacker,
    ranges: Vec<Source>,
    /// The last range of each source.
    latest: HashMap<Id, usize>,
    times: Option<(i64, i64)>,
    counts: Counts,
    first_received_unix_ms: Option<i64>,
    noted: Noted,
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
    pub(super) receipts: Receipts,
    pub(super) end: Position,
}

impl Batch {
    /// A batch of what `trail` takes.
    pub(super) fn new(start: Position, trail: Trail) -> Result<Self, LogError> {
        Ok(Self {
            trail,
            log: LogWriter::new()?,
            unpacker: Unpacker::default(),
            ranges: Vec::new(),
            latest: HashMap::new(),
            times: None,
            counts: Counts::default(),
            first_received_unix_ms: None,
            noted: Noted::default(),
            end: start,
        })
    }

    /// Takes a frame in.
    pub(super) fn push(&mut self, frame: &Frame<'_>) -> Result<(), FrameError> {
        let (source, meta) = read(frame)?;
        let cut =
            Cut::of(&meta, self.trail.as_str()).map_err(|reason| FrameError::Meta(frame.position, reason))?;
        if let Some((first, last)) = cut.times {
            let body = self.unpacker.body(&meta, frame)?;
            for (range, count) in &cut.runs {
                self.log.push_joined(&body[range.clone()], *count)?;
            }
            let (oldest, newest) = self.times.unwrap_or((first, last));
            self.times = Some((oldest.min(first), newest.max(last)));
        }
        self.counts.shipped += cut.recorded;
        self.counts.filtered += cut.filtered;
        self.counts.dropped += meta.dropped;
        self.counts.intents += meta.intents;
        self.take(source, meta, &cut, frame.next);
        Ok(())
    }

    /// Goes past a part of the log that cannot be read. Its events are missing in the ranges, and a receipt says why.
    pub(super) fn pass(&mut self, damage: &Damage) {
        self.noted.lost(damage);
        self.end = damage.to;
    }

    /// Goes past a frame that was set aside. If at least its meta can be understood, its events are accounted for: as
    /// dropped, since there is no record of them.
    pub(super) fn set_aside(&mut self, frame: &Frame<'_>, quarantined: Quarantined) {
        match read(frame) {
            Ok((source, mut meta)) => {
                let records = u64::from(meta.records);
                self.noted.set_aside(quarantined, Some((source, records)));
                meta.dropped += records;
                meta.records = 0;
                self.counts.dropped += meta.dropped;
                self.counts.intents += meta.intents;
                let cut = Cut::without_records(&meta);
                self.counts.filtered += cut.filtered;
                self.take(source, meta, &cut, frame.next);
            }
            Err(_) => {
                self.noted.set_aside(quarantined, None);
                self.end = frame.next;
            }
        }
    }

    fn take(&mut self, source: Id, meta: FrameMeta, cut: &Cut, next: Position) {
        self.first_received_unix_ms.get_or_insert(meta.received_unix_ms);
        self.noted.frame(source, &meta);
        if !is_note(&meta) {
            self.cover(source, meta, cut);
        }
        self.end = next;
    }

    pub(super) fn content_size(&self) -> u64 {
        self.log.content_size()
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.ranges.len() >= MAX_RANGES || self.noted.is_crowded()
    }

    /// Whether the batch should be stored without waiting for its age.
    pub(super) fn is_alarming(&self) -> bool {
        self.noted.is_alarming()
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
            receipts: self.noted.finish(),
            end: self.end,
        })
    }

    fn cover(&mut self, source: Id, meta: FrameMeta, cut: &Cut) {
        if let Some(range) = self.latest.get(&source).and_then(|index| self.ranges.get_mut(*index))
            && range.last + 1 == meta.first_sequence
            && range.collector == source_id(&meta.collector)
        {
            range.last = meta.last_sequence;
            range.recorded += cut.recorded;
            range.filtered += cut.filtered;
            range.dropped += meta.dropped;
            range.intents += meta.intents;
            return;
        }
        self.noted.state(&[&meta.service, &meta.instance]);
        self.latest.insert(source, self.ranges.len());
        self.ranges.push(Source {
            source,
            service: meta.service,
            instance: meta.instance,
            collector: source_id(&meta.collector),
            first: meta.first_sequence,
            last: meta.last_sequence,
            recorded: cut.recorded,
            filtered: cut.filtered,
            dropped: meta.dropped,
            intents: meta.intents,
        });
    }
}

/// Gives the records of frames as text, one frame after the other in the same memory.
#[derive(Default)]
pub(crate) struct Unpacker {
    decompressor: Option<Decompressor<'static>>,
    text: Vec<u8>,
}

impl Unpacker {
    fn body<'a>(&'a mut self, meta: &FrameMeta, frame: &Frame<'a>) -> Result<&'a [u8], FrameError> {
        let invalid = |reason: String| FrameError::Body(frame.position, reason);
        let size = meta.body_size as usize;
        let body = match meta.encoding() {
            BodyEncoding::Joined => frame.body,
            BodyEncoding::JoinedZstd if size > MAX_BODY => {
                return Err(invalid(format!("{size} bytes are over the limit of {MAX_BODY}")));
            }
            BodyEncoding::JoinedZstd => {
                self.unpack(frame.body, size).map_err(|error| invalid(error.to_string()))?
            }
            BodyEncoding::Unspecified => {
                return Err(invalid(format!("encoding {} is not known", meta.encoding)));
            }
        };
        if body.len() != size {
            return Err(invalid(format!("it has {} bytes, the meta says {size}", body.len())));
        }
        Ok(body)
    }

    /// The records of a frame, joined by commas; `None` if it has none.
    pub(crate) fn records<'a>(&'a mut self, frame: &Frame<'a>) -> Result<Option<&'a [u8]>, FrameError> {
        let (_, meta) = read(frame)?;
        if meta.records == 0 { Ok(None) } else { self.body(&meta, frame).map(Some) }
    }

    /// No more than there is memory for, which may be more than `size`.
    fn unpack(&mut self, packed: &[u8], size: usize) -> io::Result<&[u8]> {
        let decompressor = match self.decompressor.take() {
            Some(decompressor) => decompressor,
            None => Decompressor::new()?,
        };
        self.text.clear();
        self.text.reserve(size);
        self.decompressor.insert(decompressor).decompress_to_buffer(packed, &mut self.text)?;
        Ok(&self.text)
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

/// The meta of a frame, if it keeps the rules that its manifest has to keep.
fn read(frame: &Frame<'_>) -> Result<(Id, FrameMeta), FrameError> {
    let invalid = |reason: &str| FrameError::Meta(frame.position, reason.to_owned());
    let meta = FrameMeta::decode(frame.meta).map_err(|error| invalid(&error.to_string()))?;
    let source = source_id(&meta.source).ok_or_else(|| invalid("source is not 16 bytes"))?;
    let fates = [u64::from(meta.records), selection::unwanted(&meta), meta.dropped, meta.intents];
    let fates = fates.into_iter().try_fold(0, u64::checked_add);
    if meta.first_sequence == 0
        || meta.last_sequence.checked_add(1) != fates.and_then(|all| all.checked_add(meta.first_sequence))
    {
        return Err(invalid("its range is not the sum of its counts"));
    }
    if meta.drops.iter().fold(0, |all: u64, drop| all.saturating_add(drop.count)) > meta.dropped {
        return Err(invalid("it has more reasons for drops than drops"));
    }
    let is_time = |seconds| Timestamp::from_second(seconds).is_ok();
    let (oldest, newest) = (meta.oldest_event_time, meta.newest_event_time);
    if meta.records > 0 && !(oldest <= newest && is_time(oldest) && is_time(newest)) {
        return Err(invalid("its event times are not a range"));
    }
    Ok((source, meta))
}
