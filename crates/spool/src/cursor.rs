//! Named places in the log that survive a crash, each with a payload of its owner.
//!
//! A cursor is one small file, replaced as a whole: magic (8 bytes), version (u32), length of the payload (u32),
//! segment (u64), offset (u64), payload, CRC32C of all before (u32). All integers are little-endian.

use std::{
    collections::BTreeMap,
    fmt,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::{
    Error, Position, Result, durable,
    fs::{Access, Fs},
    segment::read_full,
    watermark::locked,
};

/// The most bytes of a cursor's payload.
pub const MAX_CURSOR_PAYLOAD: usize = 64 << 10;
/// The most cursors of one spool.
pub const MAX_CURSORS: usize = 1024;

const MAX_NAME: usize = 64;
const MAGIC: [u8; 8] = *b"\xf5SIDEcur";
const VERSION: u32 = 1;
const HEADER: usize = 32;
const EXTENSION: &str = "cursor";

/// The content of a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The next frame that its owner wants: everything before may go.
    pub position: Position,
    /// Whatever the owner keeps with it.
    pub payload: Vec<u8>,
}

/// The cursors of a spool. Clones are the same set.
#[derive(Clone)]
pub struct Cursors(Arc<Inner>);

struct Inner {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// One cursor is written at a time.
    writing: Mutex<()>,
    /// What is known to be durable.
    positions: Mutex<BTreeMap<String, Position>>,
}

impl Cursors {
    pub(crate) fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self> {
        let mut positions = BTreeMap::new();
        for file in fs.list(dir).map_err(Error::io("list", dir))? {
            if let Some((name, EXTENSION)) = file.name.split_once('.') {
                let path = dir.join(&file.name);
                check_name(name)?;
                positions.insert(name.to_owned(), read(&*fs, &path)?.position);
            }
        }
        if positions.len() > MAX_CURSORS {
            return Err(Error::CursorCount { max: MAX_CURSORS });
        }
        let positions = Mutex::new(positions);
        Ok(Self(Arc::new(Inner { fs, dir: dir.to_owned(), writing: Mutex::new(()), positions })))
    }

    /// Reads a cursor, `None` if there is none of this name.
    pub fn get(&self, name: &str) -> Result<Option<Cursor>> {
        check_name(name)?;
        if !locked(&self.0.positions).contains_key(name) {
            return Ok(None);
        }
        read(&*self.0.fs, &self.path(name)).map(Some)
    }

    /// Makes a cursor, moves it forward or changes its payload: all of it or, with an error, perhaps nothing.
    ///
    /// After an error the cursor holds back its segments as before, and the next start finds it as before or as it was
    /// to be.
    pub fn set(&self, name: &str, position: Position, payload: &[u8]) -> Result<()> {
        check_name(name)?;
        if payload.len() > MAX_CURSOR_PAYLOAD {
            let (len, max) = (payload.len() as u64, MAX_CURSOR_PAYLOAD as u64);
            return Err(Error::TooLarge { what: "cursor payload", len, max });
        }
        let _one = locked(&self.0.writing);
        {
            let positions = locked(&self.0.positions);
            match positions.get(name) {
                Some(&from) if from > position => {
                    return Err(Error::CursorBack { name: name.to_owned(), from, to: position });
                }
                None if positions.len() >= MAX_CURSORS => {
                    return Err(Error::CursorCount { max: MAX_CURSORS });
                }
                _ => {}
            }
        }
        durable::replace(&*self.0.fs, &self.path(name), &encode(position, payload))?;
        locked(&self.0.positions).insert(name.to_owned(), position);
        Ok(())
    }

    /// Removes a cursor, which then holds back nothing. Without it there is nothing to do.
    pub fn remove(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let _one = locked(&self.0.writing);
        let path = self.path(name);
        match self.0.fs.remove(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("remove", &path)(error));
            }
            _ => {}
        }
        self.0.fs.sync_dir(&self.0.dir).map_err(Error::io("sync", &self.0.dir))?;
        locked(&self.0.positions).remove(name);
        Ok(())
    }

    /// All names and positions.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<String, Position> {
        locked(&self.0.positions).clone()
    }

    /// Whether there are cursors, and every one is past everything in a segment that ends at `end`.
    pub(crate) fn passed(&self, segment: u64, end: u64) -> bool {
        let positions = locked(&self.0.positions);
        !positions.is_empty() && positions.values().all(|position| *position >= Position::new(segment, end))
    }

    /// The furthest cursor: what is before it was durable once.
    pub(crate) fn furthest(&self) -> Position {
        locked(&self.0.positions).values().max().copied().unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.dir.join(format!("{name}.{EXTENSION}"))
    }
}

impl fmt::Debug for Cursors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cursors").field(&self.positions()).finish()
    }
}

fn check_name(name: &str) -> Result<()> {
    let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(sound) {
        return Ok(());
    }
    Err(Error::CursorName { name: name.chars().take(MAX_NAME).collect() })
}

fn encode(position: Position, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len() + 4);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&position.segment.to_le_bytes());
    bytes.extend_from_slice(&position.offset.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn read(fs: &dyn Fs, path: &Path) -> Result<Cursor> {
    let damaged = |reason| Error::Damaged { path: path.to_owned(), reason };
    let file = fs.open(path, Access::Read).map_err(Error::io("open", path))?;
    let mut bytes = vec![0; HEADER + MAX_CURSOR_PAYLOAD + 4 + 1];
    let len = read_full(&*file, &mut bytes, 0).map_err(Error::io("read", path))?;
    bytes.truncate(len);
    let (content, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("it is too short"))?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*checksum) {
        return Err(damaged("its checksum is wrong"));
    }
    if content.len() < HEADER || content[..8] != MAGIC {
        return Err(damaged("it is not a cursor"));
    }
    let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| content[at + i]));
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| content[at + i]));
    if word(8) != VERSION {
        return Err(Error::Version { path: path.to_owned(), found: word(8), supported: VERSION });
    }
    if content.len() - HEADER != word(12) as usize {
        return Err(damaged("its length is wrong"));
    }
    Ok(Cursor { position: Position::new(long(16), long(24)), payload: content[HEADER..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "main", "trail-7", &"x".repeat(64)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Main", "a.b", "../x", "a b", "ä", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
