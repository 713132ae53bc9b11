//! For tests: a file system in memory that fails where it is told to and loses what was not synced.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests panic")]

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use crate::fs::{Access, File, Fs, Listed};

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// Making or emptying a file.
    Create,
    /// Writing to a file.
    Write,
    /// Cutting or extending a file.
    SetLen,
    /// Syncing a file.
    Sync,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Syncing a directory.
    SyncDir,
    /// Opening an existing file.
    Open,
    /// Listing a directory.
    List,
    /// Taking the lock.
    Lock,
    /// Reading, or asking for the size.
    Read,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error, and nothing happened; a write was half done, and a failed sync dropped what it should have written,
    /// while the cache still shows it.
    Lost,
    /// An error, though it happened.
    Kept,
    /// It happened, and then the power went.
    Crash,
}

/// What of the unsynced is there after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing of it.
    Nothing,
    /// All of it, as after a kill.
    Everything,
    /// Any part, by this seed: each write whole, torn or lost, each name changed or not.
    Some(u64),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    cache: Vec<u8>,
    disk: Vec<u8>,
    dirty: Vec<Dirty>,
}

#[derive(Clone, Debug)]
enum Dirty {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Clone, Debug)]
enum Renamed {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

#[derive(Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending: Vec<Renamed>,
    locks: BTreeSet<PathBuf>,
    /// Handles of before a crash are dead.
    epoch: u64,
    next: u64,
    count: BTreeMap<Op, u64>,
    plan: Option<(Op, u64, Fault, ErrorKind)>,
    off: bool,
    capacity: Option<u64>,
    read: BTreeMap<PathBuf, u64>,
}

/// The file system. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct MemoryFs(Arc<Mutex<State>>);

#[derive(Debug)]
struct MemoryFile {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    inode: u64,
    epoch: u64,
}

/// What an operation was told to do instead.
type Planned = Option<(Fault, io::Error)>;

fn apply(bytes: &mut Vec<u8>, dirty: &Dirty) {
    match dirty {
        Dirty::SetLen(len) => bytes.resize(*len as usize, 0),
        Dirty::Write(at, data) => {
            let at = *at as usize;
            bytes.resize(bytes.len().max(at + data.len()), 0);
            bytes[at..at + data.len()].copy_from_slice(data);
        }
    }
}

fn rename(names: &mut BTreeMap<PathBuf, u64>, change: &Renamed) {
    match change {
        Renamed::Link(path, inode) => drop(names.insert(path.clone(), *inode)),
        Renamed::Unlink(path) => drop(names.remove(path)),
        Renamed::Rename(from, to, inode) => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
    }
}

fn xorshift(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

impl State {
    /// Counts the operation and says whether, and how, it fails.
    fn enter(&mut self, op: Op) -> io::Result<Planned> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        let count = self.count.entry(op).or_default();
        *count += 1;
        match self.plan {
            Some((planned, at, fault, kind)) if planned == op && at == *count => {
                self.plan = None;
                self.off = fault == Fault::Crash;
                Ok(Some((fault, kind.into())))
            }
            _ => Ok(None),
        }
    }

    fn change(&mut self, op: Op, change: Renamed) -> io::Result<()> {
        let fault = self.enter(op)?;
        if !matches!(fault, Some((Fault::Lost, _))) {
            rename(&mut self.names, &change);
            self.pending.push(change);
        }
        done(fault)
    }

    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[inode].cache.len() as u64).sum()
    }
}

fn done(fault: Planned) -> io::Result<()> {
    match fault {
        Some((Fault::Lost | Fault::Kept, error)) => Err(error),
        _ => Ok(()),
    }
}

impl MemoryFs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Makes the `nth` operation of a kind, counted from now on, fail.
    pub fn plan(&self, op: Op, nth: u64, fault: Fault, kind: ErrorKind) {
        let mut state = self.state();
        let at = state.count.get(&op).copied().unwrap_or(0) + nth;
        state.plan = Some((op, at, fault, kind));
    }

    /// How many operations of a kind there were.
    pub fn count(&self, op: Op) -> u64 {
        self.state().count.get(&op).copied().unwrap_or(0)
    }

    /// Whether the power is off: everything fails until [`MemoryFs::crash`].
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Forgets what was planned and has not happened.
    pub fn unplan(&self) {
        self.state().plan = None;
    }

    /// Limits the bytes of all files together.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// How many bytes were read of each file since the last time.
    pub fn take_read(&self) -> BTreeMap<PathBuf, u64> {
        std::mem::take(&mut self.state().read)
    }

    /// The sizes of the files whose names end so.
    pub fn sizes(&self, ending: &str) -> BTreeMap<String, u64> {
        let state = self.state();
        let files = state.names.iter().map(|(path, inode)| (path.to_str().unwrap(), inode));
        files
            .filter(|(path, _)| path.ends_with(ending))
            .map(|(path, inode)| (path.to_owned(), state.inodes[inode].cache.len() as u64))
            .collect()
    }

    /// Changes the content of a file behind everybody's back.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.names[path];
        let inode = state.inodes.get_mut(&inode).unwrap();
        change(&mut inode.cache);
        inode.disk = inode.cache.clone();
        inode.dirty.clear();
    }

    /// The content of a file, as it reads.
    pub fn content(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.inodes[&state.names[path]].cache.clone()
    }

    /// Removes a file behind everybody's back.
    pub fn vanish(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path).unwrap();
        state.durable_names.remove(path);
    }

    /// Loses power and comes back.
    pub fn crash(&self, survival: Survival) {
        let mut state = self.state();
        let mut seed = match survival {
            Survival::Some(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            _ => 1,
        };
        let mut draw = |sides: u64| match survival {
            Survival::Nothing => 0,
            Survival::Everything => 1,
            Survival::Some(_) => (xorshift(&mut seed) >> 20) % sides,
        };
        let State { inodes, names, durable_names, pending, .. } = &mut *state;
        for inode in inodes.values_mut() {
            for dirty in std::mem::take(&mut inode.dirty) {
                match (draw(4), dirty) {
                    (0, _) => {}
                    (2, Dirty::Write(at, data)) => {
                        let len = draw(data.len() as u64 + 1) as usize;
                        apply(&mut inode.disk, &Dirty::Write(at, data[..len].to_vec()));
                    }
                    (3, Dirty::Write(at, data)) => {
                        let skip = draw(data.len() as u64 + 1) as usize;
                        apply(&mut inode.disk, &Dirty::Write(at + skip as u64, data[skip..].to_vec()));
                    }
                    (_, dirty) => apply(&mut inode.disk, &dirty),
                }
            }
            inode.cache = inode.disk.clone();
        }
        for change in std::mem::take(pending) {
            if draw(2) == 1 {
                rename(durable_names, &change);
            }
        }
        *names = durable_names.clone();
        state.epoch += 1;
        state.locks.clear();
        state.off = false;
        state.plan = None;
    }
}

impl Fs for MemoryFs {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        done(self.state().enter(Op::Open)?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let mut state = self.state();
        done(state.enter(Op::List)?)?;
        let files = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(files
            .map(|(path, inode)| Listed {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                size: state.inodes[inode].cache.len() as u64,
            })
            .collect())
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        let known = state.names.get(path).copied();
        let inode = match (known, access) {
            (None, Access::Create) => {
                state.next += 1;
                let inode = state.next;
                state.inodes.insert(inode, Inode::default());
                state.change(Op::Create, Renamed::Link(path.to_owned(), inode))?;
                inode
            }
            (Some(inode), Access::Create) => {
                done(state.enter(Op::Create)?)?;
                let it = state.inodes.get_mut(&inode).unwrap();
                it.cache.clear();
                it.dirty.push(Dirty::SetLen(0));
                inode
            }
            (Some(inode), _) => {
                done(state.enter(Op::Open)?)?;
                inode
            }
            (None, _) => {
                done(state.enter(Op::Open)?)?;
                return Err(ErrorKind::NotFound.into());
            }
        };
        let epoch = state.epoch;
        drop(state);
        Ok(Box::new(MemoryFile { state: Arc::clone(&self.0), path: path.to_owned(), inode, epoch }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = *state.names.get(from).ok_or(ErrorKind::NotFound)?;
        state.change(Op::Rename, Renamed::Rename(from.to_owned(), to.to_owned(), inode))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        state.change(Op::Remove, Renamed::Unlink(path.to_owned()))
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.enter(Op::SyncDir)?;
        // A failed sync leaves the names as they are: a journal either has them or stops.
        if !matches!(fault, Some((Fault::Lost, _))) {
            state.durable_names = state.names.clone();
            state.pending.clear();
        }
        done(fault)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send>> {
        let mut state = self.state();
        done(state.enter(Op::Lock)?)?;
        if !state.locks.insert(path.to_owned()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock { state: Arc::clone(&self.0), path: path.to_owned(), epoch: state.epoch }))
    }
}

struct Lock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    epoch: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap();
        if state.epoch == self.epoch {
            state.locks.remove(&self.path);
        }
    }
}

impl MemoryFile {
    fn enter(&self, op: Op) -> io::Result<(MutexGuard<'_, State>, Planned)> {
        let mut state = self.state.lock().unwrap();
        if state.epoch != self.epoch {
            return Err(io::Error::other("a file of before the crash"));
        }
        let fault = state.enter(op)?;
        Ok((state, fault))
    }
}

impl File for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        let (state, fault) = self.enter(Op::Read)?;
        done(fault)?;
        Ok(state.inodes[&self.inode].cache.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (mut state, fault) = self.enter(Op::Read)?;
        done(fault)?;
        let bytes = &state.inodes[&self.inode].cache;
        let bytes = bytes.get(offset as usize..).unwrap_or_default();
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        *state.read.entry(self.path.clone()).or_default() += len as u64;
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut state, fault) = self.enter(Op::Write)?;
        let grows =
            (offset + bytes.len() as u64).saturating_sub(state.inodes[&self.inode].cache.len() as u64);
        let room = state.capacity.map_or(grows, |capacity| capacity.saturating_sub(state.used()));
        let full = grows > room;
        let written = if full {
            &bytes[..bytes.len() - (grows - room) as usize]
        } else if matches!(fault, Some((Fault::Lost, _))) {
            &bytes[..bytes.len() / 2]
        } else {
            bytes
        };
        let write = Dirty::Write(offset, written.to_vec());
        let inode = state.inodes.get_mut(&self.inode).unwrap();
        apply(&mut inode.cache, &write);
        inode.dirty.push(write);
        if full { Err(ErrorKind::StorageFull.into()) } else { done(fault) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut state, fault) = self.enter(Op::SetLen)?;
        if !matches!(fault, Some((Fault::Lost, _))) {
            let inode = state.inodes.get_mut(&self.inode).unwrap();
            apply(&mut inode.cache, &Dirty::SetLen(len));
            inode.dirty.push(Dirty::SetLen(len));
        }
        done(fault)
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, fault) = self.enter(Op::Sync)?;
        let inode = state.inodes.get_mut(&self.inode).unwrap();
        let dirty = std::mem::take(&mut inode.dirty);
        // Only what is dirty is written: what a failed sync dropped stays lost, though the cache shows it.
        if !matches!(fault, Some((Fault::Lost, _))) {
            dirty.iter().for_each(|dirty| apply(&mut inode.disk, dirty));
        }
        done(fault)
    }
}
