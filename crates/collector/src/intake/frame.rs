//! A frame of the spool in the making.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use sidetrail_archive::key::Id;
use sidetrail_record::EventTime;
use sidetrail_spool::MAX_META;
use sidetrail_wire::spool::v1::{BodyEncoding, Drop, FrameMeta, Incomplete, Intent};
use zstd::bulk::Compressor;
use zstd::zstd_safe::{self, CParameter};

use super::intent;
use crate::ledger::Reservation;
use crate::selection::{self, Choosers, Taken, Tally};

/// Records' text in one frame, about. A frame holds at least one record, and at most this and one record more.
pub(super) const FRAME_BODY: usize = 1 << 20;
/// What intents take of a frame's meta, about: at most this and one intent more.
const FRAME_INTENTS: usize = 32 << 10;
/// The number of an intent in a frame's meta.
const NUMBER: usize = 10;
/// Reasons of drops that a frame tells apart; what is dropped for others counts as `other`.
const MAX_REASONS: usize = 7;
/// What a meta holds beside intents: names, numbers, tags.
const REST_OF_META: usize = 2 << 10;
/// Bodies below this are kept as they are: there is nothing to gain.
const COMPRESS_ABOVE: usize = 512;
/// The fastest of zstd's usual levels: the spool is written once and read once.
const COMPRESSION_LEVEL: i32 = 1;
/// With a table of matches, 32 KiB, that stays in a core's first cache, and 256 KiB to look back: a quarter less time than
/// the level's own sizes, for 0.132 of the text in place of 0.130.
const HASH_LOG: u32 = 13;
const WINDOW_LOG: u32 = 18;

const _: () =
    assert!(FRAME_INTENTS + intent::MAX_ENCODED + selection::MAX_ENCODED + REST_OF_META <= MAX_META);

/// A frame's text, at most, that is kept to hold the next one's: with what a full frame has beyond its size.
const KEEP: usize = FRAME_BODY + (256 << 10);

thread_local! {
    /// One for each thread that makes frames.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What making a frame takes, kept for the next one: a compressor fills a megabyte with zeros before it begins.
#[derive(Default)]
struct Scratch {
    text: Vec<u8>,
    packed: Vec<u8>,
    compressor: Option<Compressor<'static>>,
}

impl Scratch {
    /// The compressed form of `text`, in as much memory as it takes: it may wait for the disk.
    fn compress(&mut self, text: &[u8]) -> io::Result<Vec<u8>> {
        let compressor = match self.compressor.take() {
            Some(compressor) => compressor,
            None => {
                let mut compressor = Compressor::new(COMPRESSION_LEVEL)?;
                compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
                compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
                compressor
            }
        };
        let compressor = self.compressor.insert(compressor);
        self.packed.clear();
        self.packed.reserve(zstd_safe::compress_bound(text.len()));
        compressor.compress_to_buffer(text, &mut self.packed)?;
        let packed = self.packed.as_slice().to_vec();
        self.packed.shrink_to(KEEP);
        Ok(packed)
    }

    fn keep(&mut self, mut text: Vec<u8>) {
        text.clear();
        text.shrink_to(KEEP);
        self.text = text;
    }
}

/// A frame as the spool takes it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) meta: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// The last sequence in it: what can be acked once it is on disk. 0 where there is nothing to ack.
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
    drops: Vec<Drop>,
    /// What the source says that it has assigned, if it says so.
    pub(super) assigned: u64,
    pub(super) ended: bool,
    /// The first of a source that was elsewhere before.
    pub(super) begins: bool,
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
    selection: Tally,
}

impl Draft {
    pub(super) fn new(first: u64, choosers: &Arc<Choosers>) -> Self {
        let body = SCRATCH.with_borrow_mut(|scratch| std::mem::take(&mut scratch.text));
        Self { first, body, selection: Tally::new(choosers), ..Self::default() }
    }

    /// Adds the record that `write` appends, and notes the time that it gives, or `unix_ms` where it gives none, and who
    /// takes it. What nobody takes does not need to be written. After an error the draft is as it was.
    pub(super) fn record<E>(
        &mut self,
        unix_ms: i64,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(Option<EventTime>, Taken), E>,
    ) -> Result<(), E> {
        let start = self.body.len();
        if start > 0 {
            self.body.push(b',');
        }
        let text = self.body.len();
        let (time, taken) = write(&mut self.body).inspect_err(|_| self.body.truncate(start))?;
        if taken.by_none() {
            self.body.truncate(start);
            self.selection.filtered(1);
            return Ok(());
        }
        let seconds = time.map_or(unix_ms.div_euclid(1000), EventTime::unix_seconds);
        self.selection.record(taken, self.body.len() - text, seconds);
        self.records += 1;
        let (oldest, newest) = self.times.unwrap_or((seconds, seconds));
        self.times = Some((oldest.min(seconds), newest.max(seconds)));
        Ok(())
    }

    /// Counts events without a record.
    pub(super) fn give_up(&mut self, reason: &str, count: u64) {
        let reason = sidetrail_archive::receipt::reason(reason);
        let known = self.drops.iter().position(|drop| drop.reason == reason);
        let others = (self.drops.len() > MAX_REASONS).then_some(MAX_REASONS);
        if let Some(at) = known.or(others) {
            self.drops[at].count = self.drops[at].count.saturating_add(count);
            return;
        }
        let reason = if self.drops.len() == MAX_REASONS { "other".to_owned() } else { reason };
        self.drops.push(Drop { reason, count });
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
        self.body.len() >= FRAME_BODY || self.meta >= FRAME_INTENTS || self.selection.is_full()
    }

    pub(super) fn finish(
        self,
        sender: &Sender,
        last_sequence: u64,
        unix_ms: i64,
    ) -> Result<Frame, CompressError> {
        let body_size = self.body.len();
        let (body, encoding) = if body_size > COMPRESS_ABOVE {
            let packed = SCRATCH.with_borrow_mut(|scratch| {
                let packed = scratch.compress(&self.body);
                scratch.keep(self.body);
                packed
            });
            (packed.map_err(|error| CompressError(error.to_string()))?, BodyEncoding::JoinedZstd)
        } else {
            (self.body, BodyEncoding::Joined)
        };
        let meta = FrameMeta {
            source: Bytes::copy_from_slice(&sender.source.0),
            first_sequence: self.first,
            last_sequence,
            records: self.records,
            dropped: self.drops.iter().fold(0, |all, drop| all.saturating_add(drop.count)),
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
            drops: self.drops,
            assigned: self.assigned,
            ended: self.ended,
            begins: self.begins,
            selection: self.selection.finish(),
            ..FrameMeta::default()
        };
        Ok(Frame { meta: meta.encode_to_vec(), body, last_sequence, room: self.room })
    }
}
