//! Where the transparency log of a trail lies: tiles and checkpoints.
//!
//! ```text
//! log        = home "Sidetrail-Log/" region "/" trail "/"
//! checkpoint = log "checkpoint"                                 ; the newest; the only object that is ever overwritten
//! checkpoint = log "checkpoints/" YYYY "/" MM "/" DD "/" second  ; the one beside the digest that ends then
//! tile       = log "tile/" level "/" index [".p/" width]        ; c2sp.org/tlog-tiles
//! ```
//!
//! So `log` is what c2sp.org/tlog-tiles calls the prefix of a log, and none of its objects has a name that readers of
//! CloudTrail take for a log file.

use super::*;
use crate::tlog::note::{KeyError, Name};
use crate::tlog::tile::Tile;

/// The log of a trail in a region.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreePlace {
    /// Where the account's evidence lies.
    pub home: Home,
    /// The region whose records are in it.
    pub region: Region,
    /// The trail.
    pub trail: Trail,
}

impl TreePlace {
    /// The key of one of its objects.
    #[must_use]
    pub fn key(&self, object: TreeObject) -> TreeKey {
        TreeKey { place: self.clone(), object }
    }

    /// What the log is called in checkpoints: the bucket and what its keys begin with. A bucket's name is one of letters,
    /// digits, dots, hyphens and underscores; what else there is in the name of a directory that stands for one becomes a
    /// hyphen.
    ///
    /// # Errors
    /// None that can be: all parts are of characters that names may have, and together shorter than they may be.
    pub fn origin(&self, bucket: &str) -> Result<Name, KeyError> {
        let bucket: String = bucket
            .chars()
            .take(MAX_BUCKET)
            .map(|char| if char.is_ascii_alphanumeric() || ".-_".contains(char) { char } else { '-' })
            .collect();
        let bucket = if bucket.is_empty() { "bucket" } else { &bucket };
        Name::new(format!("{bucket}/{self}").trim_end_matches('/'))
    }
}

/// The most characters of a bucket's name that are a part of an origin.
const MAX_BUCKET: usize = 255;

impl TreePlace {
    /// Where the log with this origin lies in its bucket.
    #[must_use]
    pub fn of_origin(origin: &str) -> Option<Self> {
        let (_, place) = origin.split_once('/')?;
        let key: TreeKey = format!("{place}/{LATEST}").parse().ok()?;
        Some(key.place)
    }
}

impl fmt::Display for TreePlace {
    /// What the keys of its objects begin with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { home, region, trail } = self;
        write!(f, "{home}{LOG}{region}/{trail}/")
    }
}

const LOG: &str = "Sidetrail-Log/";
const LATEST: &str = "checkpoint";
const CHECKPOINTS: &str = "checkpoints/";

/// An object of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TreeObject {
    /// The newest checkpoint.
    Latest,
    /// The checkpoint beside the digest with this end.
    Checkpoint(Second),
    /// A tile.
    Tile(Tile),
}

/// The key of an object of a log.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeKey {
    /// Which log it is.
    pub place: TreePlace,
    /// Which object.
    pub object: TreeObject,
}

impl FromStr for TreeKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let parse = || {
            let (home, rest) = Home::split(text)?;
            let mut parts = rest.strip_prefix(LOG)?.splitn(3, '/');
            let (region, trail) = (Region::new(parts.next()?).ok()?, Trail::new(parts.next()?).ok()?);
            let object = match parts.next()? {
                LATEST => TreeObject::Latest,
                object => match object.strip_prefix(CHECKPOINTS) {
                    Some(rest) => TreeObject::Checkpoint(Second::parse(rest.rsplit('/').next()?)?),
                    None => TreeObject::Tile(object.parse().ok()?),
                },
            };
            let key = Self { place: TreePlace { home, region, trail }, object };
            (key.to_string() == text).then_some(key)
        };
        parse().ok_or(InvalidKey("object of a log"))
    }
}

impl fmt::Display for TreeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        match self.object {
            TreeObject::Latest => f.write_str(LATEST),
            TreeObject::Checkpoint(end) => write!(f, "{CHECKPOINTS}{}/{end}", Minute::of(end.start()).day()),
            TreeObject::Tile(tile) => tile.fmt(f),
        }
    }
}

text!(TreeKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_parse_back_and_nothing_else_does() {
        let place = TreePlace {
            home: Home::new(Some(Prefix::new("prod").unwrap()), Account::new("111122223333").unwrap()),
            region: Region::new("us-east-1").unwrap(),
            trail: Trail::new("a_trail.of-mine").unwrap(),
        };
        let end = Second::of("2026-01-15T11:00:00Z".parse().unwrap());
        let prefix = "prod/AWSLogs/111122223333/Sidetrail-Log/us-east-1/a_trail.of-mine/";
        for (object, rest) in [
            (TreeObject::Latest, "checkpoint"),
            (TreeObject::Checkpoint(end), "checkpoints/2026/01/15/20260115T110000Z"),
            (TreeObject::Tile("tile/0/x001/234.p/5".parse().unwrap()), "tile/0/x001/234.p/5"),
        ] {
            let key = place.key(object);
            assert_eq!(key.to_string(), format!("{prefix}{rest}"));
            assert_eq!(key.to_string().parse(), Ok(key.clone()));
            assert!(key.to_string().parse::<LogKey>().is_err());
        }
        for rest in ["", "x", "checkpoint/", "checkpoints/20260115T110000Z", "tile/0/1", "tile/entries/000"] {
            assert!(format!("{prefix}{rest}").parse::<TreeKey>().is_err(), "{rest}");
        }
        assert_eq!(
            place.origin("audit").unwrap().as_str(),
            format!("audit/{}", prefix.trim_end_matches('/'))
        );
        assert_eq!(
            place.origin("my audit+x").unwrap().as_str(),
            format!("my-audit-x/{}", prefix.trim_end_matches('/'))
        );
        assert_eq!(TreePlace::of_origin(place.origin("a/b").unwrap().as_str()), Some(place.clone()));
        assert_eq!(TreePlace::of_origin("audit"), None);
        assert!(place.origin(&"b".repeat(5000)).unwrap().as_str().len() < 1024);
    }
}
