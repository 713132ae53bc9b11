//! Directories and buckets by what people call them: a path, `file:///path`, `s3://bucket/prefix`.

use std::num::NonZeroUsize;

use anyhow::{Context, Result};
use sidetrail_archive::digest::Metadata;
use sidetrail_archive::key::{DigestKey, Prefix};
use sidetrail_archive::source::Bucket;
use sidetrail_archive::store::Store;
use tokio::runtime::{Builder, Runtime};

/// Threads that requests to a service run on; they wait more than they work.
const REQUEST_THREADS: usize = 2;

/// An open location. Nothing was asked of a service yet: whether its bucket exists shows with the first request.
#[derive(Debug)]
pub(crate) struct Location {
    store: Store,
    runtime: Runtime,
}

impl Location {
    pub(crate) fn open(location: &str) -> Result<Self> {
        Self::new(Store::open(location, &|name| std::env::var(name).ok())?)
    }

    /// For so many requests at a time.
    pub(crate) fn open_for_reading(location: &str, requests: usize) -> Result<Self> {
        Self::new(Store::open_for_reading(location, &|name| std::env::var(name).ok(), requests)?)
    }

    fn new(store: Store) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(REQUEST_THREADS)
            .enable_all()
            .build()
            .context("could not start threads")?;
        Ok(Self { store, runtime })
    }

    /// To be read from any thread that is not the runtime's own.
    pub(crate) fn bucket(&self) -> Box<dyn Bucket> {
        self.store.bucket(self.runtime.handle().clone())
    }

    /// The signature of a digest, wherever the store keeps it. It is not believed.
    pub(crate) fn signature(&self, key: &DigestKey) -> Result<Metadata> {
        let stored = self.runtime.block_on(self.store.get_digest(key))?;
        stored.metadata.with_context(|| format!("{key} has no signature"))
    }

    /// The store, for who writes to it.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Waits for a request to the store.
    pub(crate) fn run<T>(&self, request: impl Future<Output = T>) -> T {
        self.runtime.block_on(request)
    }

    /// What the location named beyond the bucket.
    pub(crate) fn prefix(&self) -> Option<&Prefix> {
        self.store.prefix()
    }

    /// What messages call it: the path, or the bucket and its endpoint.
    pub(crate) fn name(&self) -> &str {
        self.store.name()
    }
}

/// How many objects of a location are read at the same time unless somebody says so: one for each core, of a service more,
/// to hide its latency.
pub(crate) fn default_jobs(location: &str) -> NonZeroUsize {
    const REMOTE: NonZeroUsize = NonZeroUsize::new(16).unwrap();
    if is_remote(location) {
        REMOTE
    } else {
        std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
    }
}

/// Whether reading takes requests over a network.
pub(crate) fn is_remote(location: &str) -> bool {
    location.starts_with("s3://")
}

/// The bucket that a location names, where it is one of S3.
pub(crate) fn s3_bucket(location: &str) -> Option<&str> {
    let rest = location.strip_prefix("s3://")?;
    Some(rest.split_once('/').map_or(rest, |(bucket, _)| bucket))
}

/// The path that a location names, unless it is a URL of another kind.
pub(crate) fn local_path(location: &str) -> Option<&str> {
    match location.split_once("://") {
        None => Some(location),
        Some(("file", path)) => Some(path),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_urls() {
        assert_eq!(local_path("a/b"), Some("a/b"));
        assert_eq!(local_path("file:///a/b"), Some("/a/b"));
        assert_eq!(local_path("s3://a/b"), None);
        assert_eq!(
            (s3_bucket("s3://a/b/c"), s3_bucket("s3://a"), s3_bucket("a/b")),
            (Some("a"), Some("a"), None)
        );
        assert!(is_remote("s3://a") && !is_remote("s3") && !is_remote("file:///s3"));
    }
}
