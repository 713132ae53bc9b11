//! The names of log files in the index.

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
