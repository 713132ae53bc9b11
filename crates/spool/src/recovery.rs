//! Start-up: what of the last segment is the log, and what a crash left behind.
//!
//! A hole in the last segment has two causes. A *torn tail* was never synced: the log ends where it starts, and frames
//! after it were never acknowledged; keeping them would tell the ledger that the lost ones are there. *Damage* happened
//! to synced bytes, and the frames after it were acknowledged. What tells them apart is that each frame says up to where
//! its segment was durable when it was written, and that cursors only ever pass what was durable.

use std::path::Path;

use crate::{
    Error, Ledger, Position, Result,
    fs::{Access, Fs},
    scan::{Scanner, Step},
    segment::{self, Header},
};

/// What start-up found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Frames that were read to bring the ledger up to date.
    pub replayed: u64,
    /// What was cut from the end of the last segment, if there was anything.
    pub cut: Option<Cut>,
    /// The last segment's header or snapshot was damaged, and the ledger was rebuilt from the segment before.
    pub rebuilt: bool,
    /// The log ended before a cursor, so something removed or cut a segment file. The log goes on behind the cursor.
    pub lost: bool,
}

/// What was cut from the end of the log. None of it was proven durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The end of the log now.
    pub from: Position,
    /// The end of the file before. After a crash a recycled file ends in bytes of its former life, which count here.
    pub to: Position,
    /// Whole frames behind the hole. They were not acknowledged, or the device damaged the last synced batch.
    pub frames: u64,
}

/// The last segment after recovery.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) scanner: Scanner,
    /// Where the frames start, and the end of the log.
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// The next frame needs a new segment, with this number at least.
    pub(crate) close: Option<u64>,
}

/// Brings the ledger up to date with the log and makes everything that is kept durable.
pub(crate) fn recover<L: Ledger>(
    fs: &dyn Fs,
    dir: &Path,
    last: u64,
    previous: Option<u64>,
    floor: Position,
    ledger: &mut L,
) -> Result<(Tail, Recovery)> {
    let mut scanner = open(fs, dir, last)?;
    let size = scanner.size()?;
    let mut recovery = Recovery::default();

    let header = Header::read(&*scanner.file, &scanner.path, last)?;
    let snapshot = match &header {
        Some(header) => header.snapshot(&*scanner.file, &scanner.path, last)?,
        None => None,
    };
    if let Some(snapshot) = snapshot {
        restore(ledger, &snapshot, &scanner.path)?;
    } else {
        let previous = previous.ok_or_else(|| Error::Damaged {
            path: scanner.path.clone(),
            reason: "its header does not hold, and no segment before it can restore the ledger",
        })?;
        let end = header.map_or(0, |header| header.previous_end);
        recovery.replayed += rebuild(fs, dir, previous, end, ledger)?;
        recovery.rebuilt = true;
    }

    let first = match header {
        Some(header) => header.first(),
        None => scanner.find(0, size)?,
    };
    let proven = if floor.segment == last { floor.offset } else { 0 };
    let proven = proven.max(proven_end(&mut scanner, first, size)?);
    let Replayed { end, frames, passed } = replay(&mut scanner, first, size, proven.min(size), ledger)?;
    recovery.replayed += frames;
    recovery.lost = floor.segment > last || (floor.segment == last && floor.offset > size);

    rewrite(&scanner, proven.min(end), end)?;
    let broken_off = recovery.rebuilt || recovery.lost;
    // Damage is judged by where the segment ends: a header whose frame would reach beyond is none. Were the segment to
    // grow, a reader might believe it, and pass what comes now as the rest of that frame.
    let close = (broken_off || passed).then_some(floor.segment.max(last) + 1);
    if !broken_off && end < size {
        let frames = count(&mut scanner, end, size)?;
        recovery.cut = Some(Cut { from: Position::new(last, end), to: Position::new(last, size), frames });
        scanner.file.set_len(end).map_err(Error::io("truncate", &scanner.path))?;
    }
    scanner.file.sync().map_err(Error::io("sync", &scanner.path))?;
    Ok((Tail { scanner, first, end, close }, recovery))
}

fn open(fs: &dyn Fs, dir: &Path, number: u64) -> Result<Scanner> {
    let path = segment::path(dir, number);
    let file = fs.open(&path, Access::Write).map_err(Error::io("open", &path))?;
    Ok(Scanner::new(file, path, number))
}

fn restore<L: Ledger>(ledger: &mut L, snapshot: &[u8], path: &Path) -> Result<()> {
    ledger.restore(snapshot).map_err(|reason| Error::Snapshot { path: path.to_owned(), reason })
}

/// Takes the ledger from the segment before the last one. All of that one was synced before the last was made.
fn rebuild<L: Ledger>(fs: &dyn Fs, dir: &Path, number: u64, end: u64, ledger: &mut L) -> Result<u64> {
    let mut scanner = open(fs, dir, number)?;
    let header = Header::read(&*scanner.file, &scanner.path, number)?;
    let snapshot = match &header {
        Some(header) => header.snapshot(&*scanner.file, &scanner.path, number)?,
        None => None,
    };
    let (Some(header), Some(snapshot)) = (header, snapshot) else {
        return Err(Error::Damaged {
            path: scanner.path,
            reason: "neither its header nor that of the segment after it holds, so nothing restores the ledger",
        });
    };
    restore(ledger, &snapshot, &scanner.path)?;
    let end = if end > 0 { end } else { scanner.size()? };
    Ok(replay(&mut scanner, header.first(), end, end, ledger)?.frames)
}

/// Up to where the frames themselves prove that the segment was durable.
fn proven_end(scanner: &mut Scanner, first: u64, size: u64) -> Result<u64> {
    let (mut at, mut proven) = (first, 0);
    loop {
        match scanner.step(at, size)? {
            Step::Frame(header) => {
                proven = proven.max(u64::from(header.durable));
                at += header.frame_len() as u64;
            }
            Step::Damage { to, .. } => at = to,
            Step::End => return Ok(proven),
        }
    }
}

/// What the ledger was told.
struct Replayed {
    /// The end of the log.
    end: u64,
    frames: u64,
    /// Whether damage was passed on the way.
    passed: bool,
}

/// Tells the ledger each frame up to the first hole that is not proven damage.
fn replay<L: Ledger>(
    scanner: &mut Scanner,
    first: u64,
    size: u64,
    proven: u64,
    ledger: &mut L,
) -> Result<Replayed> {
    let (mut at, mut frames, mut passed) = (first, 0, false);
    loop {
        match scanner.step(at, size)? {
            Step::Frame(header) => {
                let (meta, body) = scanner.payload(at, &header);
                ledger.apply(meta, body.len());
                frames += 1;
                at += header.frame_len() as u64;
            }
            Step::Damage { to, .. } if to <= proven => (at, passed) = (to, true),
            Step::Damage { .. } | Step::End => {
                return Ok(Replayed { end: at.max(proven), frames, passed: passed || at < proven });
            }
        }
    }
}

fn count(scanner: &mut Scanner, mut at: u64, size: u64) -> Result<u64> {
    let mut frames = 0;
    loop {
        match scanner.step(at, size)? {
            Step::Frame(header) => {
                frames += 1;
                at += header.frame_len() as u64;
            }
            Step::Damage { to, .. } => at = to,
            Step::End => return Ok(frames),
        }
    }
}

/// Writes bytes over themselves. After a failed sync the system may hold as clean what the device never got: what a
/// former process left unproven is synced for sure only once it was written again.
fn rewrite(scanner: &Scanner, from: u64, to: u64) -> Result<()> {
    let mut chunk = vec![0; (64 << 10).min((to - from) as usize)];
    let mut at = from;
    while at < to {
        let len = chunk.len().min((to - at) as usize);
        let read = segment::read_full(&*scanner.file, &mut chunk[..len], at);
        let read = read.map_err(Error::io("read", &scanner.path))?;
        scanner.file.write_at(&chunk[..read], at).map_err(Error::io("write", &scanner.path))?;
        at += len as u64;
    }
    Ok(())
}
