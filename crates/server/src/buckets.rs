//! The buckets of trails: by the names that trails call them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::TryStreamExt;
use object_store::path::Path;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sidetrail_api::{Code, Error, quoted};
use sidetrail_archive::store::{Failure, Store};

use crate::config::Config;

/// Buckets that are kept open.
const MAX_OPEN: usize = 256;
/// How long one request may take.
const REQUEST: std::time::Duration = std::time::Duration::from_secs(10);

type Env = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The buckets of trails.
pub(crate) struct Buckets {
    named: HashMap<String, String>,
    /// Whether what is not named is a bucket of S3.
    s3: bool,
    env: Box<Env>,
    open: Mutex<HashMap<String, Arc<Store>>>,
}

impl std::fmt::Debug for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buckets").field("named", &self.named).field("s3", &self.s3).finish_non_exhaustive()
    }
}

impl Buckets {
    pub(crate) fn new(config: &Config, env: Box<Env>) -> Self {
        let named = config.buckets.clone().into_iter().collect();
        Self { named, s3: config.has_s3(), env, open: Mutex::default() }
    }

    /// Where a bucket is.
    pub(crate) fn location(&self, name: &str) -> Result<String, Error> {
        match self.named.get(name) {
            Some(location) => Ok(location.clone()),
            None if self.s3 => Ok(format!("s3://{name}")),
            None => Err(missing(name)),
        }
    }

    /// A bucket. That there is one shows with the first request.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Store>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(name) {
            return Ok(Arc::clone(store));
        }
        let location = self.location(name)?;
        let store = Store::open_or_create(&location, &*self.env).map_err(|error| {
            tracing::warn!(bucket = name, error = %crate::chain(&error), "cannot open a bucket");
            missing(name)
        })?;
        let store = Arc::new(store);
        if open.len() >= MAX_OPEN {
            open.clear();
        }
        open.insert(name.to_owned(), Arc::clone(&store));
        Ok(store)
    }
}

/// There is no such bucket.
pub(crate) fn missing(name: &str) -> Error {
    Error::new(Code::S3BucketDoesNotExist, format!("S3 bucket {} does not exist!", quoted(name)))
}

/// S3's own code of a failure, as `GetTrailStatus` shows it.
pub(crate) fn code(failure: Failure) -> &'static str {
    match failure {
        Failure::Credentials => "InvalidAccessKeyId",
        Failure::Permission => "AccessDenied",
        Failure::MissingBucket => "NoSuchBucket",
        Failure::NotFound => "NoSuchKey",
        Failure::Throttled => "SlowDown",
        Failure::Conflict => "OperationAborted",
        Failure::Unreachable => "RequestTimeout",
        Failure::Server | Failure::Other => "InternalError",
    }
}

/// The names of folders below a prefix, sorted.
pub(crate) async fn folders(store: &Store, prefix: &str) -> object_store::Result<Vec<String>> {
    let path = Path::parse(prefix)?;
    let listed = in_time(store.object_store().list_with_delimiter(Some(&path))).await?;
    let mut folders: Vec<_> =
        listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
    folders.sort_unstable();
    Ok(folders)
}

/// The keys below a prefix and when they were stored, sorted; at most so many.
pub(crate) async fn keys(
    store: &Store,
    prefix: &str,
    limit: usize,
) -> object_store::Result<Vec<(String, jiff::Timestamp)>> {
    let path = Path::parse(prefix)?;
    let list = async {
        let mut listed = store.object_store().list(Some(&path));
        let mut keys = Vec::new();
        while let Some(object) = listed.try_next().await? {
            let stored = jiff::Timestamp::from_second(object.last_modified.timestamp()).unwrap_or_default();
            keys.push((object.location.to_string(), stored));
            if keys.len() == limit {
                break;
            }
        }
        keys.sort_unstable();
        Ok(keys)
    };
    in_time(list).await
}

async fn in_time<T>(request: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
    tokio::time::timeout(REQUEST, request).await.unwrap_or_else(|error| {
        Err(object_store::Error::Generic { store: "bucket", source: Box::new(error) })
    })
}

/// The payload of a DSSE envelope. The signature is not looked at: for what is shown, not for what is believed.
pub(crate) fn payload<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    use base64::Engine as _;
    #[derive(Deserialize)]
    struct Envelope {
        payload: String,
    }
    let envelope: Envelope = serde_json::from_slice(bytes).ok()?;
    let payload = base64::prelude::BASE64_STANDARD.decode(envelope.payload).ok()?;
    serde_json::from_slice(&payload).ok()
}
