//! Where evidence is read from: a trait the caller brings, and a directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// An object of a bucket, as a listing shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its key.
    pub key: &'a str,
    /// Stored bytes.
    pub size: u64,
    /// When it was stored, where the listing says so.
    pub modified: Option<Timestamp>,
    /// What the store calls these bytes, where it says so.
    pub etag: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// An object of which no more is known.
    #[must_use]
    pub fn new(key: &'a str, size: u64) -> Self {
        Self { key, size, modified: None, etag: None }
    }
}

/// A whole object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Its stored bytes.
    pub bytes: Vec<u8>,
    /// What was stored with it by name: of S3 the `x-amz-meta-` headers, without that and in lower case.
    pub metadata: BTreeMap<String, String>,
}

/// How one object is kept from being deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// `GOVERNANCE` or `COMPLIANCE`; none where it has no lock.
    pub mode: Option<String>,
    /// Until when.
    pub until: Option<Timestamp>,
}

/// A bucket to read. Calls block; the verifier makes them from several threads.
pub trait Bucket: Sync {
    /// Shows every object whose key starts with `prefix`, which is empty or ends with a slash, until `visit` breaks off.
    ///
    /// # Errors
    /// If the listing could not be completed.
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> io::Result<()>;

    /// Opens an object for reading, from its first stored byte, without decoding anything.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such object; that is evidence, every other kind is not.
    fn open<'a>(&'a self, key: &str) -> io::Result<Box<dyn Read + 'a>>;

    /// Reads an object whole, in as few requests as it takes. One that is larger than `limit` is cut a byte behind it.
    ///
    /// # Errors
    /// As [`Bucket::open`].
    fn fetch(&self, key: &str, limit: u64) -> io::Result<Fetched> {
        let mut bytes = Vec::new();
        self.open(key)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(Fetched { bytes, metadata: BTreeMap::new() })
    }

    /// How an object is kept from being deleted; `None` where the store has no locks.
    ///
    /// # Errors
    /// As [`Bucket::open`].
    fn retention(&self, key: &str) -> io::Result<Option<Retention>> {
        let _ = key;
        Ok(None)
    }
}

/// Directories nested deeper than this are not read: no key of the archive is.
const MAX_DEPTH: usize = 256;

/// A directory as a bucket: keys are paths below it.
///
/// It never leaves the directory and follows no symbolic link below it: linked files and directories are not listed and
/// do not open. Files of uploads that were cut off (`name#digits`) are not listed.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The directory at `path`, which must exist.
    ///
    /// # Errors
    /// If it does not exist or is no directory; the message names it.
    pub fn new(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let root = fs::canonicalize(path).map_err(named)?;
        if !root.is_dir() {
            return Err(named(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { root })
    }

    fn walk(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        // Each level is a sorted list of what is left to see there, last first.
        let mut levels = vec![(prefix.to_owned(), self.children(prefix)?)];
        while let Some((base, children)) = levels.last_mut() {
            let Some((name, kind)) = children.pop() else {
                levels.pop();
                continue;
            };
            let key = format!("{base}{name}");
            if kind.is_dir() {
                if levels.len() == MAX_DEPTH {
                    return Err(io::Error::other(format!("{key}: nested too deeply")));
                }
                let base = format!("{key}/");
                let children = self.children(&base)?;
                levels.push((base, children));
            } else if kind.is_file() && !is_staged(&name) {
                let (size, modified) = match fs::symlink_metadata(self.root.join(&key)) {
                    Ok(metadata) => (metadata.len(), metadata.modified().ok()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                let modified = modified.and_then(|modified| modified.try_into().ok());
                if visit(Entry { key: &key, size, modified, etag: None }).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// What lies in one directory, in falling order. Names that are not UTF-8 are shown with replacement characters.
    fn children(&self, base: &str) -> io::Result<Vec<(String, fs::FileType)>> {
        let entries = match fs::read_dir(self.root.join(base)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut children = entries
            .map(|entry| {
                let entry = entry?;
                Ok((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?))
            })
            .collect::<io::Result<Vec<_>>>()?;
        children.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        Ok(children)
    }
}

/// Whether a file is a part of an upload that has not become an object.
fn is_staged(name: &str) -> bool {
    name.split_once('#')
        .is_some_and(|(_, rest)| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether every part of `key` is a plain name, so that it stays below the directory it is joined to.
pub(crate) fn is_plain(key: &str) -> bool {
    key.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']))
}

impl Bucket for Directory {
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> io::Result<()> {
        match prefix.strip_suffix('/') {
            Some(path) if !is_plain(path) => return Ok(()),
            // A link on the way to the prefix is not followed either.
            Some(path) => match fs::canonicalize(self.root.join(path)) {
                Ok(real) if real == self.root.join(path) => {}
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            },
            None if prefix.is_empty() => {}
            None => return Err(io::Error::other("a prefix to list ends with a slash")),
        }
        self.walk(prefix, visit).map(|_| ()).map_err(|error| {
            io::Error::new(error.kind(), format!("could not list {}: {error}", self.root.display()))
        })
    }

    fn open<'a>(&'a self, key: &str) -> io::Result<Box<dyn Read + 'a>> {
        let path = self.root.join(key);
        // A path that is not its own real path goes through a link; a file that is none, such as a pipe, could block.
        if !is_plain(key) || fs::canonicalize(&path)? != path || !fs::symlink_metadata(&path)?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(File::open(path)?))
    }

    fn fetch(&self, key: &str, limit: u64) -> io::Result<Fetched> {
        let room = limit.saturating_add(1);
        let size = fs::symlink_metadata(self.root.join(key)).map_or(0, |metadata| metadata.len().min(room));
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        self.open(key)?.take(room).read_to_end(&mut bytes)?;
        Ok(Fetched { bytes, metadata: BTreeMap::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bucket: &Directory, prefix: &str) -> Vec<String> {
        let mut keys = Vec::new();
        bucket
            .list(prefix, &mut |entry| {
                keys.push(format!("{} {}", entry.key, entry.size));
                ControlFlow::Continue(())
            })
            .unwrap();
        keys
    }

    #[test]
    fn lists_files_in_order_and_stays_inside() {
        let (outside, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        for (name, content) in [("a/b/2", "22"), ("a/b/1", "1"), ("a/c", ""), ("d", "d"), ("a/b/3#17", "x")] {
            fs::write(root.path().join(name), content).unwrap();
        }
        let bucket = Directory::new(root.path()).unwrap();
        assert_eq!(keys(&bucket, ""), ["a/b/1 1", "a/b/2 2", "a/c 0", "d 1"]);
        assert_eq!(keys(&bucket, "a/b/"), ["a/b/1 1", "a/b/2 2"]);
        assert_eq!(keys(&bucket, "none/"), [""; 0]);
        assert_eq!(keys(&bucket, "../"), [""; 0]);

        let open = |key: &str| bucket.open(key).map(|_| ()).map_err(|error| error.kind());
        assert_eq!(open("a/b/1"), Ok(()));
        for key in ["", "a", "/d", "../secret", "a/../d", "a//c", "nothing"] {
            assert_eq!(open(key), Err(io::ErrorKind::NotFound), "{key}");
        }

        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(outside.path(), root.path().join("a/link")).unwrap();
            std::os::unix::fs::symlink(root.path().join("d"), root.path().join("e")).unwrap();
            assert_eq!(keys(&bucket, "").len(), 4);
            assert_eq!(keys(&bucket, "a/link/"), [""; 0]);
            assert_eq!(open("a/link/secret"), Err(io::ErrorKind::NotFound));
            assert_eq!(open("e"), Err(io::ErrorKind::NotFound));
        }
    }

    #[test]
    fn a_directory_that_is_none_is_named() {
        let error = Directory::new("/nothing/here").unwrap_err();
        assert!(error.to_string().starts_with("/nothing/here: "), "{error}");
    }
}
