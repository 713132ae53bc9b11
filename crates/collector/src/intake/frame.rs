//! A frame of the spool in the making.

use bytes::Bytes;
use prost::Message;
use sidetrail_archive::key::Id;
use sidetrail_record::EventTime;
use sidetrail_spool::MAX_META;
use sidetrail_wire::spool::v1::{BodyEncoding, FrameMeta, Incomplete, Intent};

use super::intent;
use crate::ledger::Reservation;

/// Records' text in one frame, about. A frame holds at least one record, and at most this and one record more.
pub(super) const FRAME_BODY: usize = 1 << 20;
/// What intents take of a frame's meta, about: at most this and one intent more.
const FRAME_INTENTS: usize = 32 << 10;
/// The number of an intent in a frame's meta.
const NUMBER: usize = 10;
/// What a meta holds beside intents: names, numbers, tags.
const REST_OF_META: usize = 2 << 10;
/// Bodies below this are kept as they are: there is nothing to gain.
const COMPRESS_ABOVE: usize = 512;
/// The fastest of zstd's usual levels: the spool is written once and read once.
const COMPRESSION_LEVEL: i32 = 1;

const _: () = assert!(FRAME_INTENTS + intent::MAX_ENCODED + REST_OF_META <= MAX_META);

/// A frame as the spool takes it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) meta: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// The last sequence in it: what can be acked once it is on disk.
    pub(crate) last_sequence: u64,
    /// Held until the frame is written or not.
    pub(crate) room: Vec<Reservation>,
}

/// The body cannot be compressed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot compress a frame: {0}")]
pub(crate) struct CompressError(String);

/// Who sends, as it says in its Hello.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) source: Id,
    pub(crate) service: String,
    pub(crate) instance: String,
}

/// A frame in the making: a range of one source, from `first` on.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) first: u64,
    pub(super) dropped: u64,
    body: Vec<u8>,
    records: u32,
    times: Option<(i64, i64)>,
    intents: u64,
    opened: Vec<Intent>,
    room: Vec<Reservation>,
    completed: Vec<u64>,
    completed_late: Vec<u64>,
    incomplete: Option<Incomplete>,
    /// What of the above is in the meta, bytes, at most.
    meta: usize,
}

impl Draft {
    pub(super) fn new(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Adds the record that `write` appends, and notes the time that it gives, or `unix_ms` where it gives none. After
    /// an error the draft is as it was.
    pub(super) fn record<E>(
        &mut self,
        unix_ms: i64,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Option<EventTime>, E>,
    ) -> Result<(), E> {
        let start = self.body.len();
        if start > 0 {
            self.body.push(b',');
        }
        let time = write(&mut self.body).inspect_err(|_| self.body.truncate(start))?;
        let seconds = time.map_or(unix_ms.div_euclid(1000), EventTime::unix_seconds);
        self.records += 1;
        let (oldest, newest) = self.times.unwrap_or((seconds, seconds));
        self.times = Some((oldest.min(seconds), newest.max(seconds)));
        Ok(())
    }

    /// Adds an intent.
    pub(super) fn open(&mut self, intent: Intent, room: Reservation) {
        self.meta += intent.encoded_len() + NUMBER;
        self.intents += 1;
        self.opened.push(intent);
        self.room.push(room);
    }

    /// A call of the frame completes an intent. One of the same frame was never open.
    pub(super) fn complete(&mut self, intent: u64) {
        if let Some(at) = self.opened.iter().position(|opened| opened.sequence == intent) {
            self.opened.remove(at);
        } else {
            self.completed.push(intent);
            self.meta += NUMBER;
        }
    }

    /// The same for an intent that was recorded as Incomplete.
    pub(super) fn complete_late(&mut self, intent: u64) {
        self.completed_late.push(intent);
        self.meta += NUMBER;
    }

    /// The next number of the frame is that of an intent of `source`, which ends with it.
    pub(super) fn end(&mut self, source: Id, intent: u64) {
        let incomplete = self.incomplete.get_or_insert_with(|| Incomplete {
            source: Bytes::copy_from_slice(&source.0),
            sequences: Vec::new(),
        });
        incomplete.sequences.push(intent);
        self.meta += NUMBER;
    }

    pub(super) fn is_full(&self) -> bool {
        self.body.len() >= FRAME_BODY || self.meta >= FRAME_INTENTS
    }

    pub(super) fn finish(
        self,
        sender: &Sender,
        last_sequence: u64,
        unix_ms: i64,
    ) -> Result<Frame, CompressError> {
        let body_size = self.body.len();
        let (body, encoding) = if body_size > COMPRESS_ABOVE {
            let body = zstd::bulk::compress(&self.body, COMPRESSION_LEVEL)
                .map_err(|error| CompressError(error.to_string()))?;
            (body, BodyEncoding::JoinedZstd)
        } else {
            (self.body, BodyEncoding::Joined)
        };
        let meta = FrameMeta {
            source: Bytes::copy_from_slice(&sender.source.0),
            first_sequence: self.first,
            last_sequence,
            records: self.records,
            dropped: self.dropped,
            // A body is at most FRAME_BODY and one record.
            body_size: u32::try_from(body_size).unwrap_or(u32::MAX),
            encoding: encoding.into(),
            oldest_event_time: self.times.map_or(0, |(oldest, _)| oldest),
            newest_event_time: self.times.map_or(0, |(_, newest)| newest),
            received_unix_ms: unix_ms,
            service: sender.service.clone(),
            instance: sender.instance.clone(),
            intents: self.intents,
            opened: self.opened,
            completed: self.completed,
            completed_late: self.completed_late,
            incomplete: self.incomplete,
            ..FrameMeta::default()
        };
        Ok(Frame { meta: meta.encode_to_vec(), body, last_sequence, room: self.room })
    }
}
