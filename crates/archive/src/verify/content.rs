//! Log files that were read: what is stored and what it inflates to, hashed and counted.
//!
//! Where [`Vectors`] are of use a thread has [`WIDTH`] files in hand at a time, each in a lane of its own: first the stored
//! bytes are hashed, then what they inflate to, a piece at a time. No lane waits for another: one whose file has ended takes
//! the next.

use std::ops::Range;

use sirocco::Format;
use sirocco::inflate::{self, Decoder};

use super::cursor::Token;
use super::lanes::{self, BLOCK, MAX_PADDING, States, Vectors, WIDTH, padding};
use super::queue::Queue;
use super::report::{Kind, short};
use crate::causes::chain;
use crate::hash::{Hasher, Sha256};
use crate::scan::Counter;

/// Where content is inflated, hashed and counted, a piece at a time: 32 KiB of it are what was before. Whole blocks, so that
/// what is left of one is always at the end of a file. A thread has one such buffer for each file in hand, and all of them
/// should stay in a cache.
const BUFFER: usize = 96 << 10;

/// What a log file has to be.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// SHA-256 of the stored bytes, where a manifest states it.
    pub(super) stored: Option<Sha256>,
    /// SHA-256 of the content.
    pub(super) content: Sha256,
    /// Bytes of content, where a manifest states it.
    pub(super) content_size: Option<u64>,
    /// Records, where a manifest states it.
    pub(super) records: Option<u64>,
    /// The most content that is inflated.
    pub(super) limit: u64,
    /// Who states it: `the manifest`, `the digest`.
    pub(super) by: &'static str,
}

/// A log file that was read.
#[derive(Debug)]
pub(super) struct Job {
    /// Whatever the reader wants to know of it later.
    pub(super) item: u32,
    pub(super) stored: Vec<u8>,
    pub(super) expected: Expected,
    /// By which it will be remembered.
    pub(super) token: Token,
    /// What was reserved for it in the queue.
    pub(super) reserved: u64,
}

/// What became of a job.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) item: u32,
    pub(super) token: Token,
    /// Stored bytes.
    pub(super) size: u64,
    pub(super) result: Result<Content, (Kind, String)>,
}

/// What a log file inflates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) size: u64,
    pub(super) records: u64,
}

/// What was found of the content before anything is compared.
struct Found {
    size: u64,
    hash: Sha256,
    records: Option<u64>,
    /// Whether something follows the gzip member.
    trailing: bool,
}

/// Looks into jobs until there are no more; `done` hears of each.
pub(super) fn work(queue: &Queue, vectors: Option<Vectors>, done: &dyn Fn(Judged)) {
    match vectors {
        Some(vectors) => Wide::new(vectors).work(queue, done),
        None => narrow(queue, done),
    }
}

/// One file after the other.
fn narrow(queue: &Queue, done: &dyn Fn(Judged)) {
    let mut buffer = vec![0; BUFFER];
    let mut decoder = Decoder::new(Format::Gzip);
    while let Some(Job { item, stored, expected, token, reserved }) = queue.pop() {
        let size = stored.len() as u64;
        let hash = expected.stored.map(|_| Sha256::of(&stored));
        let result = check_stored(&expected, hash).and_then(|()| {
            let mut content = Inflating::new(stored, expected.limit, &mut decoder);
            let mut hasher = Hasher::new();
            let end = loop {
                match content.next(&mut decoder, &mut buffer) {
                    Ok(()) => hasher.update(&buffer[content.piece.clone()]),
                    Err(error) => break Err(error),
                }
                if content.ended {
                    break Ok(());
                }
            };
            let found = end.map(|()| content.found(hasher.finish()));
            check_content(&expected, found)
        });
        queue.release(reserved);
        done(Judged { item, token, size, result });
    }
}

fn check_stored(expected: &Expected, hash: Option<Sha256>) -> Result<(), (Kind, String)> {
    match (expected.stored, hash) {
        (Some(stated), Some(found)) if stated != found => {
            Err((Kind::Modified, differs("the object", expected.by, &stated, &found)))
        }
        _ => Ok(()),
    }
}

/// What the content has to be. Where its stored bytes are those that a manifest states, whatever is wrong is the writer's
/// doing; where only a digest speaks of the content, somebody changed it.
fn check_content(
    expected: &Expected,
    found: Result<Found, inflate::Error>,
) -> Result<Content, (Kind, String)> {
    let kind = if expected.stored.is_some() { Kind::Malformed } else { Kind::Modified };
    let by = expected.by;
    let found = found.map_err(|error| (kind.clone(), format!("not gzip: {}", chain(&error))))?;
    if expected.content_size.is_some_and(|size| size != found.size) {
        let size = expected.content_size.unwrap_or(0);
        return Err((kind, format!("does not inflate to the {size} bytes {by} states")));
    }
    if found.size > expected.limit {
        return Err((Kind::Malformed, format!("inflates to more than {} bytes", expected.limit)));
    }
    if found.trailing {
        return Err((kind, "unexpected data after the end of the compressed stream".to_owned()));
    }
    if found.hash != expected.content {
        return Err((kind, differs("the content", by, &expected.content, &found.hash)));
    }
    match (found.records, expected.records) {
        (Some(records), Some(stated)) if records != stated => {
            Err((kind, format!("holds {records} records, {by} states {stated}")))
        }
        (None, Some(_)) => Err((kind, "the content is not a log file".to_owned())),
        // What CloudTrail wrote may have white space, which the counter does not take.
        (records, _) => Ok(Content { size: found.size, records: records.unwrap_or(0) }),
    }
}

fn differs(what: &str, by: &str, stated: &Sha256, found: &Sha256) -> String {
    format!("{what} has the hash {}…, {by} states {}…", short(found), short(stated))
}

/// A file that is being inflated, a piece at a time.
struct Inflating {
    stored: Vec<u8>,
    /// Bytes of it that are inflated.
    at: usize,
    counter: Counter,
    limit: u64,
    size: u64,
    /// Where the last piece is in the buffer.
    piece: Range<usize>,
    /// Whether there is no other piece: the content ends with it, or passes the limit.
    ended: bool,
}

impl Inflating {
    /// The decoder is of no use for another file until this one has ended.
    fn new(stored: Vec<u8>, limit: u64, decoder: &mut Decoder) -> Self {
        decoder.reset();
        Self { stored, at: 0, counter: Counter::default(), limit, size: 0, piece: 0..0, ended: false }
    }

    /// Inflates the next piece, into the buffer that holds the last one.
    fn next(&mut self, decoder: &mut Decoder, buffer: &mut [u8]) -> Result<(), inflate::Error> {
        let moved = if self.piece.end == buffer.len() { decoder.make_room(buffer) } else { 0 };
        let start = self.piece.end - moved;
        let progress = decoder.decompress(&self.stored[self.at..], buffer, true)?;
        self.at += progress.consumed;
        self.size += progress.output.len() as u64;
        self.counter.feed(progress.output);
        self.piece = start..start + progress.output.len();
        self.ended = progress.done || self.size > self.limit;
        Ok(())
    }

    fn found(&self, hash: Sha256) -> Found {
        let trailing = self.at < self.stored.len();
        Found { size: self.size, hash, records: self.counter.finish(), trailing }
    }
}

/// Several files at the same time.
struct Wide {
    vectors: Vectors,
    states: States,
    lanes: [Lane; WIDTH],
}

/// A file in hand.
struct Lane {
    phase: Phase,
    /// Of the file in hand.
    about: Option<(u32, Token)>,
    expected: Option<Expected>,
    size: u64,
    reserved: u64,
    decoder: Box<Decoder>,
    /// A piece of the message, and its padding at the end.
    buffer: Vec<u8>,
    /// What of the buffer is to be hashed: whole blocks.
    at: usize,
    end: usize,
}

enum Phase {
    /// No file.
    Idle,
    /// The stored bytes are hashed, of which so many are.
    Stored(Vec<u8>, usize),
    /// All of them are but for what is in the buffer.
    StoredEnd(Vec<u8>),
    /// The content is.
    Content(Box<Inflating>),
    /// All of it is but for what is in the buffer.
    ContentEnd(Box<Inflating>),
}

impl Lane {
    fn new() -> Self {
        let (decoder, buffer) = (Box::new(Decoder::new(Format::Gzip)), vec![0; BUFFER + MAX_PADDING]);
        let (phase, about, expected) = (Phase::Idle, None, None);
        Self { phase, about, expected, size: 0, reserved: 0, decoder, buffer, at: 0, end: 0 }
    }

    fn begin(&mut self, Job { item, stored, expected, token, reserved }: Job) {
        self.about = Some((item, token));
        (self.size, self.reserved) = (stored.len() as u64, reserved);
        (self.at, self.end) = (0, 0);
        self.phase = match expected.stored {
            Some(_) => Phase::Stored(stored, 0),
            None => Phase::Content(Box::new(Inflating::new(stored, expected.limit, &mut self.decoder))),
        };
        self.expected = Some(expected);
    }

    /// What is to be hashed next, whole blocks.
    fn data(&self) -> &[u8] {
        match &self.phase {
            Phase::Stored(stored, at) => &stored[*at..stored.len() / BLOCK * BLOCK],
            _ => &self.buffer[self.at..self.end],
        }
    }

    fn consume(&mut self, bytes: usize) {
        match &mut self.phase {
            Phase::Stored(_, at) => *at += bytes,
            _ => self.at += bytes,
        }
    }

    /// What is in this part of the buffer ends a message of `size`: puts its padding behind it.
    fn pad(&mut self, last: Range<usize>, size: u64) {
        let (more, bytes) = padding(size);
        self.buffer[last.end..last.end + more].copy_from_slice(&bytes[..more]);
        (self.at, self.end) = (last.start, last.end + more);
    }
}

impl Wide {
    fn new(vectors: Vectors) -> Self {
        Self { vectors, states: lanes::initial(), lanes: std::array::from_fn(|_| Lane::new()) }
    }

    fn work(mut self, queue: &Queue, done: &dyn Fn(Judged)) {
        loop {
            let mut active = 0;
            for lane in 0..WIDTH {
                active += usize::from(self.provide(lane, queue, done));
            }
            if active == 0 {
                let Some(job) = queue.pop() else { return };
                lanes::reset(&mut self.states, 0);
                self.lanes[0].begin(job);
                continue;
            }
            let lengths =
                self.lanes.iter().map(|lane| lane.data().len() / BLOCK).filter(|blocks| *blocks > 0);
            let blocks = lengths.min().unwrap_or(0);
            let data: [&[u8]; WIDTH] = std::array::from_fn(|lane| self.lanes[lane].data());
            self.vectors.compress(&mut self.states, &data, blocks);
            for lane in &mut self.lanes {
                if !matches!(lane.phase, Phase::Idle) {
                    lane.consume(blocks * BLOCK);
                }
            }
        }
    }

    /// Sees to it that a lane has something to hash; false if there is no file for it now.
    fn provide(&mut self, index: usize, queue: &Queue, done: &dyn Fn(Judged)) -> bool {
        while self.lanes[index].data().is_empty() {
            let lane = &mut self.lanes[index];
            match std::mem::replace(&mut lane.phase, Phase::Idle) {
                Phase::Idle => match queue.try_pop() {
                    Some(job) => {
                        lanes::reset(&mut self.states, index);
                        lane.begin(job);
                    }
                    None => return false,
                },
                Phase::Stored(stored, at) => {
                    let rest = stored.len() - at;
                    lane.buffer[..rest].copy_from_slice(&stored[at..]);
                    lane.pad(0..rest, stored.len() as u64);
                    lane.phase = Phase::StoredEnd(stored);
                }
                Phase::StoredEnd(stored) => {
                    let hash = Sha256::from(lanes::hash(&self.states, index));
                    lanes::reset(&mut self.states, index);
                    let Some(expected) = &lane.expected else { continue };
                    match check_stored(expected, Some(hash)) {
                        Ok(()) => {
                            let content = Inflating::new(stored, expected.limit, &mut lane.decoder);
                            (lane.at, lane.end) = (0, 0);
                            lane.phase = Phase::Content(Box::new(content));
                        }
                        Err(wrong) => self.end(index, queue, done, Err(wrong)),
                    }
                }
                Phase::Content(mut content) => {
                    match content.next(&mut lane.decoder, &mut lane.buffer[..BUFFER]) {
                        Ok(()) if content.ended => {
                            lane.pad(content.piece.clone(), content.size);
                            lane.phase = Phase::ContentEnd(content);
                        }
                        Ok(()) => {
                            (lane.at, lane.end) = (content.piece.start, content.piece.end);
                            lane.phase = Phase::Content(content);
                        }
                        Err(error) => {
                            let Some(expected) = &lane.expected else { continue };
                            let wrong = check_content(expected, Err(error));
                            self.end(index, queue, done, wrong);
                        }
                    }
                }
                Phase::ContentEnd(content) => {
                    let hash = Sha256::from(lanes::hash(&self.states, index));
                    let Some(expected) = &lane.expected else { continue };
                    let result = check_content(expected, Ok(content.found(hash)));
                    self.end(index, queue, done, result);
                }
            }
        }
        true
    }

    fn end(
        &mut self,
        index: usize,
        queue: &Queue,
        done: &dyn Fn(Judged),
        result: Result<Content, (Kind, String)>,
    ) {
        let lane = &mut self.lanes[index];
        (lane.phase, lane.at, lane.end) = (Phase::Idle, 0, 0);
        queue.release(lane.reserved);
        if let Some((item, token)) = lane.about.take() {
            done(Judged { item, token, size: lane.size, result });
        }
    }
}
