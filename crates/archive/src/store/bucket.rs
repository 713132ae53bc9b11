//! A remote store as a blocking [`Bucket`].

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;

use bytes::{Buf, Bytes};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::path::Path as ObjectPath;
use object_store::{Attribute, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::{Store, path};
use crate::source::{Bucket, Entry, Fetched, Retention};

pub(super) struct Remote {
    store: Store,
    handle: Handle,
}

impl Remote {
    pub(super) fn new(store: Store, handle: Handle) -> Self {
        Self { store, handle }
    }

    fn error(&self, action: &'static str, key: &str, source: object_store::Error) -> io::Error {
        let kind = match source {
            object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
            object_store::Error::PermissionDenied { .. } => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self.store.error(action, key, source))
    }
}

impl Bucket for Remote {
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> io::Result<()> {
        let what = if prefix.is_empty() { "everything" } else { prefix };
        let failed = |error| self.error("list", what, error);
        let path = ObjectPath::parse(prefix).map_err(|error| failed(error.into()))?;
        let mut objects = self.store.inner.list(Some(&path));
        self.handle.block_on(async {
            while let Some(object) = objects.next().await {
                let object = object.map_err(failed)?;
                let modified = Timestamp::from_millisecond(object.last_modified.timestamp_millis()).ok();
                let etag = object.e_tag.as_deref();
                let entry = Entry { key: object.location.as_ref(), size: object.size, modified, etag };
                if visit(entry).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn open<'a>(&'a self, key: &str) -> io::Result<Box<dyn Read + 'a>> {
        let failed = |error| self.error("get", key, error);
        let path = path(key).map_err(failed)?;
        let result = self.handle.block_on(self.store.inner.get(&path)).map_err(failed)?;
        Ok(Box::new(Body {
            bucket: self,
            key: key.to_owned(),
            chunks: result.into_stream(),
            chunk: Bytes::new(),
        }))
    }

    fn fetch(&self, key: &str, limit: u64) -> io::Result<Fetched> {
        let failed = |error| self.error("get", key, error);
        let path = path(key).map_err(failed)?;
        self.handle.block_on(async {
            let result = self.store.inner.get(&path).await.map_err(failed)?;
            let mut metadata = BTreeMap::new();
            for (name, value) in &result.attributes {
                if let Attribute::Metadata(name) = name {
                    metadata.insert(name.to_ascii_lowercase(), value.as_ref().to_owned());
                }
            }
            let room = limit.saturating_add(1);
            let mut bytes = Vec::with_capacity(usize::try_from(result.meta.size.min(room)).unwrap_or(0));
            let mut chunks = result.into_stream();
            // It was there a moment ago: a failure from here on is no proof that it is missing.
            while let Some(chunk) = chunks.try_next().await.map_err(failed).map_err(io::Error::other)? {
                let left = usize::try_from(room).unwrap_or(usize::MAX).saturating_sub(bytes.len());
                bytes.extend_from_slice(&chunk[..chunk.len().min(left)]);
                if left <= chunk.len() {
                    break;
                }
            }
            Ok(Fetched { bytes, metadata })
        })
    }

    fn retention(&self, key: &str) -> io::Result<Option<Retention>> {
        if !self.store.has_protection() {
            return Ok(None);
        }
        let protected = self.handle.block_on(self.store.protected(key)).map_err(|error| {
            let kind = if error.is_not_found() { io::ErrorKind::NotFound } else { io::ErrorKind::Other };
            io::Error::new(kind, error)
        })?;
        let until = protected.until.and_then(|until| until.parse().ok());
        Ok(Some(Retention { mode: protected.mode, until }))
    }
}

/// An object on its way: one chunk in memory.
struct Body<'a> {
    bucket: &'a Remote,
    key: String,
    chunks: BoxStream<'static, object_store::Result<Bytes>>,
    chunk: Bytes,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.bucket.handle.block_on(self.chunks.next()) {
                Some(Ok(chunk)) => self.chunk = chunk,
                // It was there a moment ago: this is no proof that it is missing.
                Some(Err(error)) => {
                    let error = self.bucket.error("get", &self.key, error);
                    return Err(io::Error::other(error));
                }
                None => return Ok(0),
            }
        }
        let size = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..size]);
        Ok(size)
    }
}
