//! Buckets by way of `object_store`: a local directory, or any S3-compatible service.
//!
//! A location is a path, a `file://` URL, or `s3://bucket/prefix`. For S3 the standard `AWS_*` variables say the rest;
//! with an endpoint set, requests use path style, and plain HTTP if the endpoint does.

mod bucket;
mod digest;
mod failure;
mod local;
mod protection;
pub(crate) mod service;
mod signed;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, ReqwestConnector};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    Attribute, Attributes, ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
};

pub use self::digest::{MAX_STORED_DIGEST, StoredDigest};
pub use self::failure::Failure;
pub use self::protection::{Bucket as Inspected, Expiry, Lock, Mode, Protected};
use self::service::Service;
use self::signed::Signed;
use crate::key::{InvalidName, Prefix, TreeKey, TreeObject};
use crate::source::{self, Bucket, Directory};

/// How long any request may take, sending and receiving included: what the largest object needs at [`SLOWEST`].
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a put or get may take, all its tries together, beside what its bytes need.
const BASE_TIMEOUT: Duration = Duration::from_secs(30);
/// The slowest connection that is still one, bytes a second.
const SLOWEST: u64 = 96 << 10;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a request is tried again at once; who has to succeed tries again later by itself.
const RETRIES: usize = 2;
/// How long after the first try another one may begin.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections that are kept for later at least, and how long: less than services do, which close them from their side.
const POOL: usize = 4;
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Where S3 is asked for by no region: as AWS's own tools have it.
const DEFAULT_REGION: &str = "us-east-1";

/// The variables that are handed to the S3 client as they are; a name is its configuration key.
const VARIABLES: [&str; 20] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
    "AWS_IMDSV1_FALLBACK",
    "AWS_SKIP_SIGNATURE",
    "AWS_CONDITIONAL_PUT",
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_SSE_KMS_KEY_ID",
    "AWS_SSE_BUCKET_KEY_ENABLED",
    "AWS_CHECKSUM_ALGORITHM",
];

/// A location could not be opened. Messages name the bucket and the endpoint, never a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The scheme of the URL is not known.
    #[error("{0:?} is not a path, a file:// URL or an s3:// URL")]
    Location(String),
    /// What follows the bucket is not a prefix.
    #[error(transparent)]
    Prefix(#[from] InvalidName),
    /// The endpoint holds a user name or password, which would end up in messages.
    #[error("the endpoint of bucket {0} must not hold credentials")]
    Credentials(String),
    /// The directory does not exist, or could not be made.
    #[error("could not open the directory")]
    Directory(#[source] io::Error),
    /// The client refused the configuration.
    #[error("could not set up a client for {name}: {cause}")]
    Client {
        /// The bucket and the endpoint.
        name: String,
        /// What it says.
        cause: object_store::Error,
    },
}

/// A request for an object failed. Errors of `object_store` repeat their causes in their own text, so that the text is
/// all there is: this error has no source.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {key} in {store}: {cause}")]
pub struct StoreError {
    action: &'static str,
    key: String,
    store: String,
    cause: Box<object_store::Error>,
}

impl StoreError {
    /// Whether there is no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(*self.cause, object_store::Error::NotFound { .. })
    }

    /// Whether there is more of it than was asked for.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        std::error::Error::source(&*self.cause).and_then(|cause| cause.downcast_ref::<TooLarge>()).is_some()
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn failure(&self) -> Failure {
        Failure::of(&self.cause)
    }

    /// Whether the store knows the caller and refuses, or does not know the caller: trying again does not help.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        use object_store::Error::{PermissionDenied, Unauthenticated};
        matches!(*self.cause, PermissionDenied { .. } | Unauthenticated { .. })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("larger than {0} bytes")]
struct TooLarge(usize);

/// What became of a put that must not overwrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object was stored.
    Created,
    /// There was one already; nothing was stored. Who repeats a plan compares it with its own.
    AlreadyExists,
}

/// Keeps the client that was made last, which is the one for the bucket: each one more reads the system's certificates into
/// memory, and has connections of its own.
#[derive(Clone, Debug, Default)]
struct Keeping(Arc<Mutex<Option<HttpClient>>>);

impl Keeping {
    fn last(&self) -> Option<HttpClient> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl HttpConnector for Keeping {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }
}

/// An open location. Its futures need a tokio runtime with a timer, and for S3 with I/O.
#[derive(Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    prefix: Option<Prefix>,
    root: Option<PathBuf>,
    /// For what `object_store` does not do; `None` where there is no S3 behind it, or nobody to sign for.
    signed: Option<Signed>,
    name: String,
}

impl Store {
    /// Opens a location. A local directory must exist. `env` looks up a variable, as `std::env::var(name).ok()` does.
    ///
    /// No request is made: whether a bucket exists shows with the first one.
    ///
    /// # Errors
    /// If the location or the variables make no sense, or the directory does not exist.
    pub fn open(location: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, OpenError> {
        match location.split_once("://") {
            None => Self::directory(Path::new(location)),
            Some(("file", path)) if path.starts_with('/') => Self::directory(Path::new(path)),
            Some(("s3", rest)) if !rest.is_empty() && !rest.starts_with('/') => Self::s3(rest, env, POOL),
            Some(_) => Err(OpenError::Location(location.chars().take(100).collect())),
        }
    }

    /// Like [`Store::open`], for who reads so many objects at the same time and wants to keep the connections.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_for_reading(
        location: &str,
        env: &dyn Fn(&str) -> Option<String>,
        connections: usize,
    ) -> Result<Self, OpenError> {
        match location.split_once("://") {
            Some(("s3", rest)) if !rest.is_empty() && !rest.starts_with('/') => {
                Self::s3(rest, env, connections.max(POOL))
            }
            _ => Self::open(location, env),
        }
    }

    /// Like [`Store::open`], and makes a local directory that does not exist, durably.
    ///
    /// # Errors
    /// As [`Store::open`], and if the directory cannot be made.
    pub fn open_or_create(location: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, OpenError> {
        let path = match location.split_once("://") {
            None => Some(location),
            Some(("file", path)) => Some(path),
            Some(_) => None,
        };
        if let Some(path) = path {
            local::create_directory(Path::new(path)).map_err(OpenError::Directory)?;
        }
        Self::open(location, env)
    }

    fn directory(path: &Path) -> Result<Self, OpenError> {
        Directory::new(path).map_err(OpenError::Directory)?;
        let root = path.canonicalize().map_err(OpenError::Directory)?;
        let name = root.display().to_string();
        let inner = LocalFileSystem::new_with_prefix(&root)
            .map_err(|cause| OpenError::Client { name: name.clone(), cause })?;
        Ok(Self { inner: Arc::new(inner), prefix: None, root: Some(root), signed: None, name })
    }

    fn s3(rest: &str, env: &dyn Fn(&str) -> Option<String>, pool: usize) -> Result<Self, OpenError> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { None } else { Some(Prefix::new(prefix)?) };
        let set = |name| env(name).filter(|value| !value.is_empty());

        // As in AWS's own tools, the variable of the service wins over the one of all services.
        let endpoint = set("AWS_ENDPOINT_URL_S3").or_else(|| set("AWS_ENDPOINT_URL"));
        let mut builder = configured(endpoint.as_deref(), env, pool).with_bucket_name(bucket);
        let mut name = format!("s3://{bucket}");
        if let Some(endpoint) = &endpoint {
            if endpoint.contains('@') {
                return Err(OpenError::Credentials(bucket.to_owned()));
            }
            name = format!("{name} at {endpoint}");
            builder = builder.with_virtual_hosted_style_request(false).with_endpoint(endpoint);
        }
        let client = |cause| OpenError::Client { name: name.clone(), cause };
        let region = region_of(&builder);
        let connector = Keeping::default();
        let inner = builder.with_http_connector(connector.clone()).build().map_err(client)?;
        let signed = match (set("AWS_SKIP_SIGNATURE"), connector.last()) {
            (Some(_), _) | (None, None) => None,
            (None, Some(client)) => Some(Signed(Service {
                client,
                credentials: Arc::clone(inner.credentials()),
                name: "s3",
                url: match &endpoint {
                    Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
                    None => format!("https://s3.{region}.amazonaws.com/{bucket}"),
                },
                region,
            })),
        };
        Ok(Self { inner: Arc::new(inner), prefix, root: None, signed, name })
    }

    /// The store itself, for what this type does not do.
    #[must_use]
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.inner
    }

    /// What follows the bucket in the location: the prefix of every key that is written. It is *not* put before the keys
    /// that this type takes.
    #[must_use]
    pub fn prefix(&self) -> Option<&Prefix> {
        self.prefix.as_ref()
    }

    /// The name of the bucket; a directory has none.
    #[must_use]
    pub fn bucket_name(&self) -> Option<&str> {
        let rest = self.name.strip_prefix("s3://")?;
        rest.split(' ').next()
    }

    /// What messages call it: the path, or the bucket and its endpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stores an object unless there is one.
    ///
    /// When it returns, the object is as safe as the store makes it; in a local directory the file and the directories
    /// on the way to it are synced. Where a store does not know conditional requests, a look before the put stands in:
    /// that is no protection against two writers, and none is needed, as a chain has one.
    ///
    /// # Errors
    /// If the object may not be stored.
    pub async fn put_create(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        let failed = |cause| self.error("put", key, cause);
        let path = path(key).map_err(failed)?;
        if let Some(root) = &self.root {
            let (root, key) = (root.clone(), key.to_owned());
            return match tokio::task::spawn_blocking(move || local::put(&root, &key, &bytes)).await {
                Ok(Ok(put)) => Ok(put),
                Ok(Err(error)) => Err(failed(generic(error))),
                Err(error) => Err(failed(generic(error))),
            };
        }
        in_time(bytes.len(), self.create(&path, bytes, attributes(key))).await.map_err(failed)
    }

    async fn create(
        &self,
        path: &ObjectPath,
        bytes: Bytes,
        attributes: Attributes,
    ) -> object_store::Result<Put> {
        let options = |mode| PutOptions { mode, attributes: attributes.clone(), ..PutOptions::default() };
        match self.inner.put_opts(path, bytes.clone().into(), options(PutMode::Create)).await {
            Ok(_) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::AlreadyExists),
            Err(error) if is_not_implemented(&error) => {
                match self.inner.head(path).await {
                    Ok(_) => return Ok(Put::AlreadyExists),
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
                let overwrite = options(PutMode::Overwrite);
                self.inner.put_opts(path, bytes.into(), overwrite).await.map(|_| Put::Created)
            }
            Err(error) => Err(error),
        }
    }

    /// Stores an object in place of the one that there is. It is not what evidence is stored with.
    ///
    /// # Errors
    /// If the object may not be stored.
    pub async fn replace(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let failed = |cause| self.error("put", key, cause);
        let path = path(key).map_err(failed)?;
        if let Some(root) = &self.root {
            let (root, key) = (root.clone(), key.to_owned());
            return match tokio::task::spawn_blocking(move || local::replace(&root, &key, &bytes)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(failed(generic(error))),
                Err(error) => Err(failed(generic(error))),
            };
        }
        let size = bytes.len();
        let options =
            PutOptions { mode: PutMode::Overwrite, attributes: attributes(key), ..PutOptions::default() };
        let put = self.inner.put_opts(&path, bytes.into(), options);
        in_time(size, put).await.map(|_| ()).map_err(failed)
    }

    /// The stored size of an object, in bytes.
    ///
    /// # Errors
    /// If there is none, or the store does not say.
    pub async fn size(&self, key: &str) -> Result<u64, object_store::Error> {
        let path = path(key)?;
        Ok(in_time(0, self.inner.head(&path)).await?.size)
    }

    /// Reads an object of at most `limit` bytes.
    ///
    /// # Errors
    /// If there is none ([`StoreError::is_not_found`]), it is larger, or it could not be read.
    pub async fn get(&self, key: &str, limit: usize) -> Result<Bytes, StoreError> {
        let failed = |cause| self.error("get", key, cause);
        let path = path(key).map_err(failed)?;
        let read = async { collect(self.inner.get(&path).await?.into_stream(), limit).await };
        in_time(limit, read).await.map_err(failed)
    }

    /// The store as a bucket to verify. A local directory is read directly; for anything else requests run on the
    /// runtime of `handle`, which must be a multi-threaded one, and calls must come from threads that are not its own.
    #[must_use]
    pub fn bucket(&self, handle: tokio::runtime::Handle) -> Box<dyn Bucket> {
        match self.root.as_ref().and_then(|root| Directory::new(root).ok()) {
            Some(directory) => Box::new(directory),
            None => Box::new(bucket::Remote::new(self.clone(), handle)),
        }
    }

    fn error(&self, action: &'static str, key: &str, cause: object_store::Error) -> StoreError {
        StoreError { action, key: key.to_owned(), store: self.name.clone(), cause: Box::new(cause) }
    }
}

/// A client for AWS as the variables have it, with no bucket yet.
fn configured(endpoint: Option<&str>, env: &dyn Fn(&str) -> Option<String>, pool: usize) -> AmazonS3Builder {
    let options = ClientOptions::new()
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
        .with_timeout(REQUEST_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_pool_max_idle_per_host(pool)
        .with_pool_idle_timeout(POOL_IDLE);
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let builder = AmazonS3Builder::new().with_retry(retry).with_client_options(options);
    VARIABLES.iter().fold(builder, |builder, name| {
        let value = env(name).filter(|value| !value.is_empty());
        match (name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>(), value) {
            (Ok(key), Some(value)) => builder.with_config(key, value),
            _ => builder,
        }
    })
}

fn region_of(builder: &AmazonS3Builder) -> String {
    let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
    region.unwrap_or_else(|| DEFAULT_REGION.to_owned())
}

#[cfg(test)]
impl Store {
    /// Any store, as a service would be.
    pub(crate) fn of(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, prefix: None, root: None, signed: None, name: "memory".to_owned() }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("name", &self.name)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// An object of at most `limit` bytes, whole.
async fn collect(
    mut pieces: BoxStream<'static, object_store::Result<Bytes>>,
    limit: usize,
) -> object_store::Result<Bytes> {
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.try_next().await? {
        if bytes.len() + piece.len() > limit {
            return Err(generic(TooLarge(limit)));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

fn path(key: &str) -> Result<ObjectPath, object_store::Error> {
    if !source::is_plain(key) {
        return Err(generic(io::Error::from(io::ErrorKind::InvalidInput)));
    }
    Ok(ObjectPath::parse(key)?)
}

/// No `Content-Encoding`, unlike CloudTrail: clients that inflate by themselves would hide the stored bytes.
fn attributes(key: &str) -> Attributes {
    let content_type = match key.parse::<TreeKey>().map(|key| key.object) {
        // As c2sp.org/tlog-tiles has them served.
        Ok(TreeObject::Tile(_)) => "application/octet-stream",
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) if key.ends_with(".gz") => "application/gzip",
        Err(_) => "application/json",
    };
    Attributes::from_iter([(Attribute::ContentType, content_type)])
}

/// The result of a request that moves so many bytes, or that there is none in time: a connection that is half-open, or a
/// service that does not answer, must not hold up who asks for longer than the bytes need.
async fn in_time<T>(
    bytes: usize,
    request: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<T> {
    let time = BASE_TIMEOUT + Duration::from_secs(bytes as u64 / SLOWEST);
    tokio::time::timeout(time, request).await.unwrap_or_else(|elapsed| {
        let error = HttpError::new(HttpErrorKind::Timeout, elapsed);
        Err(generic(error))
    })
}

fn generic(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "archive", source: Box::new(error) }
}

/// The client says it itself, or the service answers 501, which the client only passes on as text.
fn is_not_implemented(error: &object_store::Error) -> bool {
    if matches!(error, object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. })
    {
        return true;
    }
    std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .any(|error| error.to_string().contains("501 Not Implemented"))
}

#[cfg(test)]
mod tests;
