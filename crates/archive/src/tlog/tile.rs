//! Tiles: how the hashes of a tree are stored (c2sp.org/tlog-tiles).
//!
//! A tile is up to 256 consecutive hashes of every eighth level, 32 bytes each: at level 0 the hashes of leaves, at level 1
//! the roots of full tiles of level 0, and so on. A full tile never changes. The last tile of a level is *partial* and has
//! its width in its name, so that what is stored under a name never changes either.

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::hash::Sha256;

/// Hashes of a full tile.
pub const WIDTH: usize = 256;

/// Levels of hashes from one level of tiles to the next: 2^8 is [`WIDTH`].
pub(crate) const HEIGHT: u32 = 8;

/// Bytes of a hash.
const HASH: usize = 32;

/// The most bytes of a tile.
pub const MAX_TILE: usize = WIDTH * HASH;

/// The place of a tile in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

/// The text is not the path of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile")]
pub struct InvalidTile;

impl Tile {
    /// Levels of tiles that trees of fewer than 2^63 leaves have.
    pub(crate) const LEVELS: u8 = 8;

    /// The tile at `index` of `level` as it is in a tree of `size` leaves, if that has any hash in it.
    #[must_use]
    pub fn of(size: u64, level: u8, index: u64) -> Option<Self> {
        let hashes = size.checked_shr(u32::from(level) * HEIGHT)?;
        let before = index.checked_mul(WIDTH as u64)?;
        let width = hashes.checked_sub(before)?.min(WIDTH as u64);
        let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
        Some(Self { level, index, width })
    }

    /// The partial tiles of a tree of `size` leaves, from level 0 on: at most one a level.
    pub fn partial(size: u64) -> impl Iterator<Item = Self> {
        (0..Self::LEVELS).filter_map(move |level| {
            let hashes = size.checked_shr(u32::from(level) * HEIGHT)?;
            let width = (hashes % WIDTH as u64) as u16;
            (width > 0).then_some(Self { level, index: hashes / WIDTH as u64, width })
        })
    }

    /// The full tile of `level` at `index`.
    #[must_use]
    pub(crate) fn full(level: u8, index: u64) -> Self {
        Self { level, index, width: WIDTH as u16 }
    }

    /// The level, 0 for the hashes of leaves.
    #[must_use]
    pub fn level(self) -> u8 {
        self.level
    }

    /// Which tile of its level it is, from 0.
    #[must_use]
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many hashes it has, 1 to 256.
    #[must_use]
    pub fn width(self) -> usize {
        usize::from(self.width)
    }

    /// Whether it is full.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.width() == WIDTH
    }

    /// The same tile once it is full.
    #[must_use]
    pub fn filled(self) -> Self {
        Self::full(self.level, self.index)
    }

    /// The hashes in the stored bytes of this tile.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the bytes have another length.
    pub fn decode(self, bytes: &[u8]) -> io::Result<Vec<Sha256>> {
        if bytes.len() != self.width() * HASH {
            let message = format!("{self} has {} bytes instead of {}", bytes.len(), self.width() * HASH);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(bytes.as_chunks::<HASH>().0.iter().map(|hash| Sha256::from(*hash)).collect())
    }
}

/// The bytes to store for the hashes of a tile.
#[must_use]
pub fn encode(hashes: &[Sha256]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        let (mut groups, mut rest) = (Vec::new(), self.index);
        while rest >= 1000 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        groups.push(rest);
        for group in groups[1..].iter().rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", groups[0])?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for Tile {
    type Err = InvalidTile;

    fn from_str(text: &str) -> Result<Self, InvalidTile> {
        let parse = || {
            let (level, rest) = text.strip_prefix("tile/")?.split_once('/')?;
            let (rest, width) = match rest.split_once(".p/") {
                Some((rest, width)) => (rest, width.parse().ok()?),
                None => (rest, WIDTH as u16),
            };
            let mut index = 0_u64;
            for group in rest.split('/') {
                let group: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
                index = index.checked_mul(1000)?.checked_add(group)?;
            }
            let tile = Self { level: level.parse().ok()?, index, width };
            // Printing it again checks every other spelling.
            let known = tile.level < Self::LEVELS && (1..=WIDTH as u16).contains(&tile.width);
            (known && tile.to_string() == text).then_some(tile)
        };
        parse().ok_or(InvalidTile)
    }
}

/// Where tiles are read from.
pub trait Tiles {
    /// The hashes of a tile, exactly as many as it is wide.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such tile, [`io::ErrorKind::InvalidData`] if it is none.
    fn tile(&self, tile: Tile) -> io::Result<Vec<Sha256>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = |level, index, width| Tile { level, index, width };
        for (tile, path) in [
            (tile(0, 1_234_067, 256), "tile/0/x001/x234/067"),
            (tile(0, 0, 256), "tile/0/000"),
            (tile(1, 999, 1), "tile/1/999.p/1"),
            (tile(7, 1000, 255), "tile/7/x001/000.p/255"),
        ] {
            assert_eq!(tile.to_string(), path);
            assert_eq!(path.parse(), Ok(tile));
        }
        for path in [
            "",
            "tile/0/0",
            "tile/0/001.p/0",
            "tile/0/001.p/256",
            "tile/0/001.p/01",
            "tile/00/001",
            "tile/8/001",
            "tile/0/x001",
            "tile/0/001/002",
            "tile/0/x000/002",
            "tile/0/+01",
            "tile/0/001/",
            "tile/entries/000",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(path.parse::<Tile>(), Err(InvalidTile), "{path}");
        }
    }

    /// The example of the specification.
    #[test]
    fn a_tree_of_70000_leaves_has_these_tiles() {
        let partial: Vec<String> = Tile::partial(70_000).map(|tile| tile.to_string()).collect();
        assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
        assert_eq!(Tile::of(70_000, 0, 272).map(Tile::is_full), Some(true));
        assert_eq!(Tile::of(70_000, 1, 0).map(Tile::is_full), Some(true));
        assert_eq!(Tile::of(70_000, 0, 273).map(Tile::width), Some(112));
        assert_eq!(Tile::of(70_000, 0, 274), None);
        let partial: Vec<String> = Tile::partial(256).map(|tile| tile.to_string()).collect();
        assert_eq!(partial, ["tile/1/000.p/1"]);
        assert_eq!(Tile::partial(0).count(), 0);
    }

    #[test]
    fn hashes_are_read_back_and_other_lengths_refused() {
        let tile = Tile { level: 0, index: 0, width: 2 };
        let hashes = [Sha256::of(b"a"), Sha256::of(b"b")];
        let bytes = encode(&hashes);
        assert_eq!(tile.decode(&bytes).unwrap(), hashes);
        assert!(tile.decode(&bytes[1..]).is_err() && tile.filled().decode(&bytes).is_err());
    }
}
