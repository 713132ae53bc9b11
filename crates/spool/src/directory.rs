//! What the directory holds: the budget is counted from here, and from nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::{
    Error, Result,
    fs::Fs,
    segment::{self, Name},
};

/// The segment files and the spare ones, with their sizes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    pub(crate) segments: BTreeMap<u64, u64>,
    pub(crate) spares: BTreeMap<u64, u64>,
}

impl Directory {
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Self> {
        let mut directory = Self::default();
        for file in fs.list(dir).map_err(Error::io("list", dir))? {
            match Name::parse(&file.name) {
                Some(Name::Segment(number)) => directory.segments.insert(number, file.size),
                Some(Name::Spare(number)) => directory.spares.insert(number, file.size),
                None => None,
            };
        }
        Ok(directory)
    }

    /// The bytes of all segment files.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().chain(self.spares.values()).sum()
    }
}

/// The numbers of the segments, for readers: they need no sizes.
pub(crate) fn segments(fs: &dyn Fs, dir: &Path) -> Result<BTreeSet<u64>> {
    Ok(Directory::read(fs, dir)?.segments.into_keys().collect())
}

/// Removes what a crash left unfinished.
pub(crate) fn clean(fs: &dyn Fs, dir: &Path) -> Result<()> {
    let files = fs.list(dir).map_err(Error::io("list", dir))?;
    let unfinished =
        |name: &str| Path::new(name).extension().is_some_and(|it| it == crate::durable::TEMPORARY);
    for file in files.into_iter().filter(|file| unfinished(&file.name)) {
        let path: PathBuf = dir.join(file.name);
        fs.remove(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

/// Removes the spare files beyond the first `keep`.
pub(crate) fn trim(fs: &dyn Fs, dir: &Path, directory: &mut Directory, keep: usize) -> Result<()> {
    while directory.spares.len() > keep {
        let Some((&number, _)) = directory.spares.last_key_value() else { break };
        let path = segment::spare_path(dir, number);
        fs.remove(&path).map_err(Error::io("remove", &path))?;
        directory.spares.remove(&number);
    }
    Ok(())
}
