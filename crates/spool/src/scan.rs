//! Walking over the frames of one segment file, good and bad, with a bounded buffer.

use std::path::PathBuf;

use crate::{
    Error, Position, Reason, Result,
    frame::{self, Header},
    fs::File,
    segment::read_full,
};

/// What is read at once, and kept between frames.
const CHUNK: usize = 64 << 10;

/// What is at a place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A good frame; [`Scanner::payload`] has it until the next step.
    Frame(Header),
    /// Nothing readable up to this place, where a header is good or the limit is reached.
    Damage { to: u64, reason: Reason },
    /// The limit.
    End,
}

/// One open segment file.
#[derive(Debug)]
pub(crate) struct Scanner {
    pub(crate) file: Box<dyn File>,
    pub(crate) path: PathBuf,
    pub(crate) segment: u64,
    /// Bytes of the file from `start` on. Never any beyond a limit that was given, for those may still change.
    buffer: Vec<u8>,
    start: u64,
}

impl Scanner {
    pub(crate) fn new(file: Box<dyn File>, path: PathBuf, segment: u64) -> Self {
        Self { file, path, segment, buffer: Vec::new(), start: 0 }
    }

    pub(crate) fn size(&self) -> Result<u64> {
        self.file.size().map_err(Error::io("read the size of", &self.path))
    }

    /// Judges what is at `at`. Nothing from `limit` on is looked at.
    pub(crate) fn step(&mut self, at: u64, limit: u64) -> Result<Step> {
        if at >= limit {
            return Ok(Step::End);
        }
        let Some(header) = self.header(at, limit)? else {
            let reason =
                if self.bytes(at, 1, limit)?.is_empty() { Reason::Truncated } else { Reason::FrameHeader };
            return Ok(Step::Damage { to: self.find(at + 1, limit)?, reason });
        };
        let len = header.frame_len();
        let segment = self.segment;
        let frame = self.bytes(at, len, limit)?;
        if frame.len() < len {
            return Ok(Step::Damage { to: limit, reason: Reason::Truncated });
        }
        if !header.matches(segment, &frame[frame::HEADER..len]) {
            return Ok(Step::Damage { to: at + len as u64, reason: Reason::Payload });
        }
        Ok(Step::Frame(header))
    }

    /// The meta and the body of the frame that the last step found at `at`.
    pub(crate) fn payload(&self, at: u64, header: &Header) -> (&[u8], &[u8]) {
        let start = (at - self.start) as usize;
        self.buffer[start + frame::HEADER..start + header.frame_len()].split_at(header.meta_len as usize)
    }

    /// The first place from `at` on where a good header is, or the limit.
    pub(crate) fn find(&mut self, mut at: u64, limit: u64) -> Result<u64> {
        loop {
            let window = self.bytes(at, frame::HEADER, limit)?;
            if window.len() < frame::HEADER {
                return Ok(limit);
            }
            // The last bytes of a window are looked at again, at the start of the next one.
            let tries = window.len() - frame::HEADER + 1;
            match window[..tries].iter().position(|byte| *byte == frame::MAGIC[0]) {
                None => at += tries as u64,
                Some(skip) => {
                    at += skip as u64;
                    if self.header(at, limit)?.is_some() {
                        return Ok(at);
                    }
                    at += 1;
                }
            }
        }
    }

    /// The header at `at` of a frame that ends within the limit.
    fn header(&mut self, at: u64, limit: u64) -> Result<Option<Header>> {
        let place = Position::new(self.segment, at);
        let header = Header::decode(self.bytes(at, frame::HEADER, limit)?, place);
        Ok(header.filter(|header| at + header.frame_len() as u64 <= limit))
    }

    /// What the buffer has from `at` on: at least `len` bytes, fewer only at the end of the file or at the limit.
    fn bytes(&mut self, at: u64, len: usize, limit: u64) -> Result<&[u8]> {
        let room = limit.saturating_sub(at);
        let len = room.min(len as u64) as usize;
        let have = self.start + self.buffer.len() as u64;
        if at < self.start || at + len as u64 > have {
            let wanted = len.max(room.min(CHUNK as u64) as usize);
            self.buffer.resize(wanted, 0);
            if wanted <= CHUNK {
                // One large frame does not hold its memory for ever.
                self.buffer.shrink_to(CHUNK);
            }
            self.start = at;
            let read = read_full(&*self.file, &mut self.buffer, at);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            read.map_err(Error::io("read", &self.path))?;
        }
        let start = (at - self.start) as usize;
        Ok(self.buffer.get(start..).unwrap_or_default())
    }
}
