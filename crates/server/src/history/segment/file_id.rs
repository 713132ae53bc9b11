//! Log files, as the index knows them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sidetrail_archive::hash::Sha256;

use super::pages::array;

/// A log file: the hash of the bucket it is in and of its manifest's key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId(pub(super) [u8; FileId::SIZE]);

impl FileId {
    pub(super) const SIZE: usize = 16;

    /// The file with this manifest, in the bucket of this name.
    #[must_use]
    pub(crate) fn new(bucket: &str, manifest: &str) -> Self {
        Self(array(&Sha256::of(format!("{bucket}\n{manifest}").as_bytes()).as_bytes()[..Self::SIZE]))
    }
}

/// A log file with events: which one, and the beginning of its content's hash, by which a digest covers it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) id: FileId,
    pub(crate) content: [u8; Source::CONTENT],
}

impl Source {
    pub(super) const SIZE: usize = FileId::SIZE + Self::CONTENT;
    const CONTENT: usize = 8;

    pub(crate) fn new(id: FileId, content: Sha256) -> Self {
        Self { id, content: Self::beginning(content) }
    }

    /// What is kept of a content's hash.
    pub(crate) fn beginning(content: Sha256) -> [u8; Self::CONTENT] {
        array(&content.as_bytes()[..Self::CONTENT])
    }

    pub(super) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..FileId::SIZE].copy_from_slice(&self.id.0);
        bytes[FileId::SIZE..].copy_from_slice(&self.content);
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Self {
        Self { id: FileId(array(&bytes[..FileId::SIZE])), content: array(&bytes[FileId::SIZE..Self::SIZE]) }
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for FileId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16)
            .ok()
            .filter(|_| text.len() == 2 * Self::SIZE)
            .map(|number| Self(number.to_be_bytes()))
            .ok_or_else(|| de::Error::custom("not the id of a log file"))
    }
}
