//! Parcels on disk, from their acceptance until they are in the bucket.
//!
//! One file each, in a directory below the spool's: the length of the head (u32, little-endian), the head (a `Parcel` as
//! it came), the log file. A file gets its name when it is whole and synced, and is acked when the name is. So what has a
//! name is a parcel, whatever crashed; what has none is removed at the next start.
//!
//! Names sort by chain and index: `{collector}.{start of the SHA-256 of the trail}.{index, 20 digits}.parcel`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prost::Message;
use sidetrail_archive::hash::{Hasher, Sha256};
use sidetrail_wire::gateway::v1::Parcel;

use super::parcel::{Log, MAX_HEAD, Place};

/// Parcels, whatever their size: each is a file to open and a few requests to make.
const MAX_PARCELS: usize = 65_536;
const WHOLE: &str = "parcel";
/// A parcel that contradicts what is in the bucket: kept for whoever looks into it, and not tried again.
const CONTRADICTING: &str = "contradicts";

/// Why a parcel is not taken now, or not at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum DepotError {
    #[error("{needed} bytes more than the {used} in use are over forwarders.parcels, which is {limit}")]
    Full { used: u64, needed: u64, limit: u64 },
    #[error("{MAX_PARCELS} parcels wait already")]
    Count,
    /// Of the same place in the chain, and something else, or handed over twice at once.
    #[error("another parcel of this place in the chain is here")]
    Different,
    #[error("the log file is not the one that the manifest states: {0}")]
    Log(String),
    #[error("cannot {action} {path}")]
    File { action: &'static str, path: PathBuf, source: io::Error },
}

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Depot(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    limit: u64,
    stock: Mutex<Stock>,
}

/// What is there, by file name, and what is on its way.
#[derive(Debug, Default)]
struct Stock {
    files: BTreeMap<String, u64>,
    reserved: u64,
}

/// A parcel on its way in. Dropped, it leaves nothing.
#[derive(Debug)]
pub(super) struct Incoming {
    depot: Depot,
    name: String,
    size: u64,
    temporary: PathBuf,
    file: File,
    log: Option<Log>,
    hasher: Hasher,
}

impl Depot {
    /// Opens the directory, which is made if it is not there.
    pub(super) fn open(directory: &Path, limit: u64) -> Result<Self, DepotError> {
        let failed = |action| file_error(action, directory);
        fs::create_dir_all(directory).map_err(failed("create"))?;
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(directory).map_err(failed("list"))? {
            let entry = entry.map_err(failed("list"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(WHOLE) || name.ends_with(CONTRADICTING) {
                files.insert(name, entry.metadata().map_err(failed("list"))?.len());
            } else {
                fs::remove_file(entry.path()).map_err(file_error("remove", &entry.path()))?;
            }
        }
        sync(directory)?;
        sync(directory.parent().unwrap_or(directory))?;
        let stock = Mutex::new(Stock { files, reserved: 0 });
        Ok(Self(Arc::new(Inner { directory: directory.to_owned(), limit, stock })))
    }

    /// Begins to take a parcel in; there is nothing to do if it is here, whole and synced.
    pub(super) fn take(
        &self,
        place: &Place,
        parcel: &Parcel,
        log: Option<Log>,
    ) -> Result<Option<Incoming>, DepotError> {
        let name = name(place);
        let head = parcel.encode_to_vec();
        let size = 4 + head.len() as u64 + log.as_ref().map_or(0, |log| log.size);
        if self.stock().files.contains_key(&name) {
            let same = self.read_head(&name)?.manifest == parcel.manifest;
            return if same { Ok(None) } else { Err(DepotError::Different) };
        }
        // Two streams may bring the same: each writes a file of its own, and the first one that is whole counts.
        let mut stock = self.stock();
        let used = stock.files.values().sum::<u64>() + stock.reserved;
        if used + size > self.0.limit {
            return Err(DepotError::Full { used, needed: size, limit: self.0.limit });
        }
        if stock.files.len() >= MAX_PARCELS {
            return Err(DepotError::Count);
        }
        stock.reserved += size;
        drop(stock);
        let given_back = || self.stock().reserved -= size;
        let opened = (|| {
            let (mut file, temporary) = self.temporary(&name)?;
            let length = u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes();
            let written = file.write_all(&length).and_then(|()| file.write_all(&head));
            written.map_err(file_error("write", &temporary))?;
            Ok((file, temporary))
        })();
        let (file, temporary) = opened.inspect_err(|_| given_back())?;
        let depot = self.clone();
        Ok(Some(Incoming { depot, name, size, temporary, file, log, hasher: Hasher::new() }))
    }

    /// A new file, of a name that no other has.
    fn temporary(&self, name: &str) -> Result<(File, PathBuf), DepotError> {
        let mut number = 0_u32;
        loop {
            let path = self.0.directory.join(format!("{name}.{number}.tmp"));
            match File::create_new(&path) {
                Ok(file) => return Ok((file, path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(file_error("create", &path)(error)),
            }
        }
    }

    /// The names of the parcels that are to be stored, in order of their chains.
    pub(super) fn names(&self) -> Vec<String> {
        self.stock().files.keys().filter(|name| name.ends_with(WHOLE)).cloned().collect()
    }

    /// How many files there are, and their bytes.
    pub(super) fn usage(&self) -> (u64, u64) {
        let stock = self.stock();
        (stock.files.len() as u64, stock.files.values().sum())
    }

    /// Reads a parcel and its log file, which is empty where there is none.
    pub(super) fn read(&self, name: &str) -> Result<(Parcel, Bytes), DepotError> {
        let path = self.0.directory.join(name);
        let failed = file_error("read", &path);
        let read = || {
            let mut file = BufReader::new(File::open(&path)?);
            let parcel = head(&mut file)?;
            let mut log = Vec::new();
            file.read_to_end(&mut log)?;
            Ok((parcel, log.into()))
        };
        read().map_err(failed)
    }

    fn read_head(&self, name: &str) -> Result<Parcel, DepotError> {
        let path = self.0.directory.join(name);
        File::open(&path).and_then(|mut file| head(&mut file)).map_err(file_error("read", &path))
    }

    /// A parcel is in the bucket.
    pub(super) fn remove(&self, name: &str) -> Result<(), DepotError> {
        let path = self.0.directory.join(name);
        fs::remove_file(&path).map_err(file_error("remove", &path))?;
        // Should it be back after a crash, it is stored once more, which changes nothing.
        self.stock().files.remove(name);
        Ok(())
    }

    /// A parcel contradicts what is in the bucket: nothing more can be done with it here.
    pub(super) fn set_aside(&self, name: &str) -> Result<(), DepotError> {
        let aside = format!("{name}.{CONTRADICTING}");
        let path = self.0.directory.join(name);
        fs::rename(&path, self.0.directory.join(&aside)).map_err(file_error("rename", &path))?;
        let mut stock = self.stock();
        if let Some(size) = stock.files.remove(name) {
            stock.files.insert(aside, size);
        }
        Ok(())
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.0.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Incoming {
    /// Writes the next piece of the log file.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), DepotError> {
        let (stated, size) =
            (self.log.as_ref().map_or(0, |log| log.size), self.hasher.size() + piece.len() as u64);
        if size > stated {
            return Err(DepotError::Log(format!("it has more than the {stated} bytes stated")));
        }
        self.hasher.update(piece);
        self.file.write_all(piece).map_err(file_error("write", &self.temporary))
    }

    /// Everything has come: checks it and makes it durable.
    pub(super) fn finish(mut self) -> Result<(), DepotError> {
        let hasher = std::mem::take(&mut self.hasher);
        if let Some(log) = &self.log {
            if hasher.size() != log.size {
                return Err(DepotError::Log(format!(
                    "it has {} bytes, stated are {}",
                    hasher.size(),
                    log.size
                )));
            }
            if hasher.finish() != log.sha256 {
                return Err(DepotError::Log("its SHA-256 is another".to_owned()));
            }
        }
        let path = self.depot.0.directory.join(&self.name);
        self.file.sync_all().map_err(file_error("sync", &self.temporary))?;
        // Unlike a rename it replaces nothing: what has that name by now may be acked.
        fs::hard_link(&self.temporary, &path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => DepotError::Different,
            _ => file_error("link", &path)(error),
        })?;
        sync(&self.depot.0.directory)?;
        self.depot.stock().files.insert(self.name.clone(), self.size);
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.depot.stock().reserved -= self.size;
        // After `finish` it is a second name. What cannot be removed now goes at the next start.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn name(Place { collector, trail, index }: &Place) -> String {
    let trail = Sha256::of(trail.as_str().as_bytes()).to_string();
    format!("{collector}.{}.{index:020}.{WHOLE}", &trail[..16])
}

fn head(file: &mut impl Read) -> io::Result<Parcel> {
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEAD {
        return Err(io::Error::other(format!("a head of {length} bytes is over the limit of {MAX_HEAD}")));
    }
    let mut head = vec![0; length];
    file.read_exact(&mut head)?;
    Parcel::decode(Bytes::from(head)).map_err(io::Error::other)
}

fn sync(directory: &Path) -> Result<(), DepotError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(file_error("sync", directory))
}

fn file_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> DepotError {
    let path = path.to_owned();
    move |source| DepotError::File { action, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::super::parcel::{self, tests::parcel};
    use super::*;

    fn take(depot: &Depot, index: u64) -> Result<(Option<Incoming>, Vec<u8>), DepotError> {
        let (parcel, log) = parcel(index, |_| {});
        let checked = parcel::check(parcel.clone(), |_| Some(parcel::tests::bounds())).unwrap();
        Ok((depot.take(&checked.place, &parcel, checked.log)?, log.bytes))
    }

    fn put(depot: &Depot, index: u64) -> Result<(), DepotError> {
        let (taken, log) = take(depot, index)?;
        let Some(mut incoming) = taken else { return Ok(()) };
        log.chunks(7).try_for_each(|piece| incoming.write(piece))?;
        incoming.finish()
    }

    #[test]
    fn what_is_whole_is_there_after_a_restart_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("parcels");
        let depot = Depot::open(&path, 1 << 20).unwrap();
        for index in [10, 9, 100] {
            put(&depot, index).unwrap();
        }
        assert!(take(&depot, 9).unwrap().0.is_none(), "handed over twice");
        let (Some(mut cut_off), log) = take(&depot, 3).unwrap() else { panic!("new") };
        cut_off.write(&log[..5]).unwrap();
        // As if the process were gone.
        std::mem::forget(cut_off);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 4);

        let depot = Depot::open(&path, 1 << 20).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 3);
        let read: Vec<_> = depot.names().iter().map(|name| depot.read(name).unwrap()).collect();
        for ((read, log), index) in read.iter().zip([9, 10, 100]) {
            let (expected, file) = parcel(index, |_| {});
            assert_eq!((read, &log[..]), (&expected, &file.bytes[..]));
        }
        depot.remove(&depot.names()[0]).unwrap();
        depot.set_aside(&depot.names()[0]).unwrap();
        assert_eq!((depot.names().len(), depot.usage().0), (1, 2));
        assert_eq!(Depot::open(&path, 1 << 20).unwrap().usage(), depot.usage());
    }

    #[test]
    fn a_log_file_that_is_not_the_stated_one_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let depot = Depot::open(directory.path(), 1 << 20).unwrap();
        let incoming = || match take(&depot, 0).unwrap() {
            (Some(incoming), log) => (incoming, log),
            _ => panic!("nothing is there"),
        };
        let (mut long, log) = incoming();
        long.write(&log).unwrap();
        assert!(long.write(b"x").unwrap_err().to_string().contains("more than"));
        drop(long);
        let (mut short, log) = incoming();
        short.write(&log[1..]).unwrap();
        assert!(short.finish().unwrap_err().to_string().contains("stated are"));
        let (mut other, mut log) = incoming();
        log[20] ^= 1;
        other.write(&log).unwrap();
        assert!(other.finish().unwrap_err().to_string().contains("SHA-256"));
        assert_eq!((fs::read_dir(directory.path()).unwrap().count(), depot.usage()), (0, (0, 0)));
        assert_eq!(depot.stock().reserved, 0);
    }

    #[test]
    fn what_is_acked_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let depot = Depot::open(directory.path(), 1 << 20).unwrap();
        let (Some(mut slow), log) = take(&depot, 0).unwrap() else { panic!("new") };
        put(&depot, 0).unwrap();
        slow.write(&log).unwrap();
        assert!(matches!(slow.finish(), Err(DepotError::Different)));
        assert_eq!((depot.names().len(), fs::read_dir(directory.path()).unwrap().count()), (1, 1));

        let (other, _) = parcel(0, |bounds| bounds.destination.push('/'));
        let (same, _) = parcel(0, |_| {});
        let checked = parcel::check(same.clone(), |_| Some(parcel::tests::bounds())).unwrap();
        assert!(matches!(depot.take(&checked.place, &other, None), Ok(None)), "the manifest counts");
        let different = Parcel { manifest: Bytes::from_static(b"{}"), ..same };
        assert!(matches!(depot.take(&checked.place, &different, None), Err(DepotError::Different)));
    }

    #[test]
    fn the_directory_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let probe = Depot::open(directory.path(), 1 << 20).unwrap();
        put(&probe, 0).unwrap();
        let size = probe.usage().1;
        probe.remove(&probe.names()[0]).unwrap();

        // Sizes differ by a few bytes.
        let depot = Depot::open(directory.path(), size * 5 / 2).unwrap();
        put(&depot, 1).unwrap();
        let on_its_way = take(&depot, 2).unwrap();
        assert!(matches!(put(&depot, 3), Err(DepotError::Full { .. })), "what is on its way counts");
        drop(on_its_way);
        put(&depot, 3).unwrap();
        assert!(matches!(put(&depot, 4), Err(DepotError::Full { .. })));
        depot.remove(&depot.names()[0]).unwrap();
        put(&depot, 4).unwrap();
    }
}
