//! Reading the log, which goes on whatever is damaged.

use std::{
    fmt,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Error, Position, Result, Watermark, directory,
    fs::{Access, Fs},
    scan::{Scanner, Step},
    segment::{self, Header},
};

/// One frame, in the reader's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Where it is.
    pub position: Position,
    /// The place after it: a cursor there has passed it.
    pub next: Position,
    /// What the ledger saw.
    pub meta: &'a [u8],
    /// The rest.
    pub body: &'a [u8],
}

/// Why a part of the log cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The header of a segment is damaged. Its frames follow.
    SegmentHeader,
    /// The ledger's snapshot in a segment is damaged, which start-up may need and a reader does not: no frame is lost.
    Snapshot,
    /// The header of a frame is damaged, and everything up to the next good one is lost.
    FrameHeader,
    /// The meta or the body of exactly one frame is damaged.
    Payload,
    /// The file ends too early.
    Truncated,
    /// There is no such segment file, or there are several that follow each other and are all missing.
    Missing,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SegmentHeader => "segment header is damaged",
            Self::Snapshot => "snapshot of the ledger is damaged",
            Self::FrameHeader => "frame header is damaged",
            Self::Payload => "checksum of the frame is wrong",
            Self::Truncated => "segment file is too short",
            Self::Missing => "segment file is missing",
        })
    }
}

/// A part of the log that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its start.
    pub from: Position,
    /// Its end, where reading goes on.
    pub to: Position,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} to {}", self.reason, self.from, self.to)
    }
}

/// What a reader comes across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// A part that is lost.
    Damage(Damage),
}

/// Reads frames in order up to the durable watermark, one at a time.
///
/// A segment can be released once every cursor is past it, so a reader needs a cursor at or before its own position.
#[derive(Debug)]
pub struct Reader {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    watermark: Watermark,
    at: Position,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    scanner: Scanner,
    /// Where the segment ends, known once it is not the last one.
    end: Option<u64>,
}

impl Reader {
    pub(crate) fn new(fs: Arc<dyn Fs>, dir: &Path, watermark: Watermark, at: Position) -> Self {
        Self { fs, dir: dir.to_owned(), watermark, at, open: None }
    }

    /// The place of the next item.
    #[must_use]
    pub fn position(&self) -> Position {
        self.at
    }

    /// The next item, or `None` at the end of what is durable now. After an error the same place is tried again.
    pub fn read(&mut self) -> Result<Option<Item<'_>>> {
        let mark = self.watermark.get();
        if self.at == Position::START {
            let oldest = directory::segments(&*self.fs, &self.dir)?.first().copied();
            self.at.segment = oldest.unwrap_or(mark.segment);
        }
        let (at, header) = loop {
            if self.at >= mark {
                return Ok(None);
            }
            if self.open.is_none()
                && let Some(damage) = self.enter(mark)?
            {
                return Ok(Some(Item::Damage(damage)));
            }
            let Some(mut open) = self.open.take() else { continue };
            let limit = self.limit(&mut open, mark)?;
            let step = open.scanner.step(self.at.offset, limit)?;
            self.open = Some(open);
            match step {
                Step::Frame(header) => break (self.at, header),
                Step::Damage { to, reason } => return Ok(Some(Item::Damage(self.skip(to, reason)))),
                Step::End if self.at.segment == mark.segment => return Ok(None),
                Step::End => {
                    self.at = Position::new(self.at.segment + 1, 0);
                    self.open = None;
                }
            }
        };
        let Some(open) = &self.open else { return Ok(None) };
        self.at.offset += header.frame_len() as u64;
        let (meta, body) = open.scanner.payload(at.offset, &header);
        Ok(Some(Item::Frame(Frame { position: at, next: self.at, meta, body })))
    }

    /// Opens the segment at the reader's position and, at its start, judges its header.
    fn enter(&mut self, mark: Position) -> Result<Option<Damage>> {
        let number = self.at.segment;
        let path = segment::path(&self.dir, number);
        let file = match self.fs.open(&path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound && number < mark.segment => {
                return self.pass_missing(mark);
            }
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let mut open = Open { scanner: Scanner::new(file, path, number), end: None };
        let mut damage = None;
        if self.at.offset == 0 {
            let Scanner { file, path, .. } = &open.scanner;
            match Header::read(&**file, path, number)? {
                Some(header) => {
                    let sound = header.snapshot(&**file, path, number)?.is_some();
                    self.at.offset = header.first();
                    if !sound {
                        let from = Position::new(number, segment::HEADER as u64);
                        damage = Some(Damage { from, to: self.at, reason: Reason::Snapshot });
                    }
                }
                None => {
                    let limit = self.limit(&mut open, mark)?;
                    let to = Position::new(number, open.scanner.find(0, limit)?);
                    damage = Some(Damage { from: self.at, to, reason: Reason::SegmentHeader });
                    self.at = to;
                }
            }
        }
        self.open = Some(open);
        Ok(damage)
    }

    /// Where the open segment ends. For one that is not the last the next one says it: the file can be shorter, when it
    /// was cut, and longer, when a crash undid the cut at its closing.
    fn limit(&self, open: &mut Open, mark: Position) -> Result<u64> {
        if open.scanner.segment == mark.segment {
            return Ok(mark.offset);
        }
        if let Some(end) = open.end {
            return Ok(end);
        }
        let said = self.end_before(open.scanner.segment + 1)?;
        let end = if said > 0 { said } else { open.scanner.size()? };
        open.end = Some(end);
        Ok(end)
    }

    /// What a segment says about the end of the one before it, 0 if it says nothing.
    fn end_before(&self, number: u64) -> Result<u64> {
        let path = segment::path(&self.dir, number);
        match self.fs.open(&path, Access::Read) {
            Ok(file) => Ok(Header::read(&*file, &path, number)?.map_or(0, |header| header.previous_end)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Error::io("open", &path)(error)),
        }
    }

    /// Goes to the next segment that there is. One that was read to its end may have been released: nothing is lost then.
    fn pass_missing(&mut self, mark: Position) -> Result<Option<Damage>> {
        let from = self.at;
        let segments = directory::segments(&*self.fs, &self.dir)?;
        let next = segments.range(from.segment + 1..).next().copied().unwrap_or(mark.segment);
        let was_read = from.offset > 0 && next == from.segment + 1 && self.end_before(next)? == from.offset;
        self.at = Position::new(next, 0);
        Ok((!was_read).then_some(Damage { from, to: self.at, reason: Reason::Missing }))
    }

    fn skip(&mut self, to: u64, reason: Reason) -> Damage {
        let from = self.at;
        self.at.offset = to;
        Damage { from, to: self.at, reason }
    }
}
