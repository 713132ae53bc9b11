//! A document of which there are versions.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStoreExt, PutMode, PutOptions};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sidetrail_archive::store::{Put, Store};

use super::{KEPT, KEPT_FOR, StateError};

/// Bytes of a document: five trails in each of 64 regions fit with selectors of a usual size.
const MAX_DOCUMENT: usize = 16 << 20;
/// How often a change is tried when others change the same.
const ATTEMPTS: u32 = 24;
/// How long a writer believes that what he read was not removed meanwhile.
const BELIEVED: Duration = Duration::from_secs(30 * 60);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(30);
/// How often old versions are looked for: with each so many-th.
const TIDY_EVERY: u64 = 16;

/// A version as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<T> {
    format: u32,
    version: u64,
    change: String,
    by: String,
    state: T,
}

const FORMAT: u32 = 1;

/// What there was at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot<T> {
    /// 0 before the first change.
    pub(crate) version: u64,
    pub(crate) state: Arc<T>,
}

/// What a change comes to.
pub(crate) enum Update<R> {
    /// It is to be stored.
    Changed(R),
    /// There is nothing to be stored.
    Same(R),
}

/// Why a change was not made.
#[derive(Debug)]
pub(crate) enum UpdateError<E> {
    /// The change itself does not want to.
    Refused(E),
    /// Too many others were faster.
    Contended,
    /// The state cannot be read or written.
    State(StateError),
}

impl<E> From<StateError> for UpdateError<E> {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// A document in its versions.
#[derive(Debug)]
pub(crate) struct Versions<T> {
    store: Arc<Store>,
    is_directory: bool,
    home: String,
    latest: Mutex<Option<Snapshot<T>>>,
}

impl<T: Clone + Default + Serialize + DeserializeOwned + Send + Sync> Versions<T> {
    /// The versions that lie at `home`.
    pub(crate) fn new(store: Arc<Store>, is_directory: bool, home: String) -> Self {
        Self { store, is_directory, home, latest: Mutex::new(None) }
    }

    /// What there is: as new as anything that was acknowledged before this was called.
    pub(crate) async fn read(&self) -> Result<Snapshot<T>, StateError> {
        loop {
            let newest = self.newest().await?;
            if let Some(known) = self.known()
                && known.version >= newest
            {
                return Ok(known);
            }
            if newest == 0 {
                return Ok(Snapshot { version: 0, state: Arc::new(T::default()) });
            }
            // It can be gone by now only if it has become an old one.
            if let Some(document) = self.get(newest).await? {
                return Ok(self.remember(newest, document.state));
            }
        }
    }

    /// Changes what there is. `change` may be called several times, each time with what there is by then.
    pub(crate) async fn update<R, E>(
        &self,
        by: &str,
        mut change: impl FnMut(&mut T) -> Result<Update<R>, E>,
    ) -> Result<R, UpdateError<E>> {
        for attempt in 0..ATTEMPTS {
            let began = (Instant::now(), SystemTime::now());
            let Snapshot { version, state } = self.read().await?;
            let mut state = T::clone(&state);
            let result = match change(&mut state).map_err(UpdateError::Refused)? {
                Update::Changed(result) => result,
                Update::Same(result) => return Ok(result),
            };
            let version = version + 1;
            let id = random_id()?;
            let document = Document { format: FORMAT, version, change: id, by: by.to_owned(), state };
            if self.create(&document).await? {
                let took = began.0.elapsed().max(began.1.elapsed().unwrap_or_default());
                if took > BELIEVED {
                    tracing::error!(
                        home = self.home,
                        version,
                        ?took,
                        "a change took too long to be believed"
                    );
                    return Err(UpdateError::Contended);
                }
                self.remember(version, document.state);
                if version.is_multiple_of(TIDY_EVERY) {
                    self.tidy().await;
                }
                return Ok(result);
            }
            pause(attempt).await?;
        }
        Err(UpdateError::Contended)
    }

    fn known(&self) -> Option<Snapshot<T>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, version: u64, state: T) -> Snapshot<T> {
        let snapshot = Snapshot { version, state: Arc::new(state) };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some(known) if known.version > version => known.clone(),
            _ => latest.insert(snapshot).clone(),
        }
    }

    fn key(&self, version: u64) -> String {
        format!("{}/{:020}.json", self.home, u64::MAX - version)
    }

    fn failed(&self, action: &'static str, key: &str, cause: object_store::Error) -> StateError {
        let (key, store) = (key.to_owned(), self.store.name().to_owned());
        StateError::Request { action, key, store, cause: Box::new(cause) }
    }

    /// The newest version; 0 if there is none.
    async fn newest(&self) -> Result<u64, StateError> {
        let failed = |cause| self.failed("list", &self.home, cause);
        let prefix = Path::parse(&self.home).map_err(|error| failed(error.into()))?;
        let mut listed = self.store.object_store().list(Some(&prefix));
        if self.is_directory {
            // A directory is listed in any order.
            let mut newest = 0;
            while let Some(object) = listed.try_next().await.map_err(failed)? {
                newest = newest.max(version_of(&object.location).unwrap_or(0));
            }
            return Ok(newest);
        }
        loop {
            let next = timeout(listed.try_next()).await.map_err(failed)?;
            match next {
                None => return Ok(0),
                Some(object) => {
                    if let Some(version) = version_of(&object.location) {
                        return Ok(version);
                    }
                }
            }
        }
    }

    async fn get(&self, version: u64) -> Result<Option<Document<T>>, StateError> {
        let key = self.key(version);
        let bytes = match self.store.get(&key, MAX_DOCUMENT).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let document: Document<T> = serde_json::from_slice(&bytes).map_err(|source| {
            StateError::Document { key: key.clone(), store: self.store.name().to_owned(), source }
        })?;
        if (document.format, document.version) != (FORMAT, version) {
            let source = serde::de::Error::custom(format!(
                "it says format {} and version {}",
                document.format, document.version
            ));
            return Err(StateError::Document { key, store: self.store.name().to_owned(), source });
        }
        Ok(Some(document))
    }

    /// Stores a version, unless there is one; whether it was this one.
    async fn create(&self, document: &Document<T>) -> Result<bool, StateError> {
        let key = self.key(document.version);
        let bytes = serde_json::to_vec(document).map_err(|source| StateError::Document {
            key: key.clone(),
            store: self.store.name().to_owned(),
            source,
        })?;
        if bytes.len() > MAX_DOCUMENT {
            return Err(StateError::TooLarge { size: bytes.len(), max: MAX_DOCUMENT });
        }
        match self.put(&key, bytes.into()).await {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => {
                // It may have been stored all the same.
                tracing::warn!(error = %error, key, "a change may or may not be stored");
                return match self.get(document.version).await {
                    Ok(Some(stored)) if stored.change == document.change => Ok(true),
                    Ok(Some(_)) => Ok(false),
                    _ => Err(error),
                };
            }
        }
        // A client that tries again by itself finds its own first try.
        let stored = self.get(document.version).await?;
        Ok(stored.is_some_and(|stored| stored.change == document.change))
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<bool, StateError> {
        if self.is_directory {
            return Ok(self.store.put_create(key, bytes).await? == Put::Created);
        }
        create(&self.store, key, bytes).await.map_err(|cause| self.failed("put", key, cause))
    }

    /// Removes what is old. Whatever fails here is done another time.
    async fn tidy(&self) {
        let Ok(prefix) = Path::parse(&self.home) else { return };
        let store = self.store.object_store();
        let listed = store.list(Some(&prefix)).take(4096).try_collect::<Vec<_>>();
        let Ok(mut listed) = timeout(listed).await else { return };
        // Ranks count down.
        listed.sort_unstable_by(|one, other| one.location.cmp(&other.location));
        let oldest = jiff::Timestamp::now().as_second().saturating_sub_unsigned(KEPT_FOR.as_secs());
        for object in listed.iter().skip(KEPT) {
            if object.last_modified.timestamp() < oldest && version_of(&object.location).is_some() {
                let _ = timeout(store.delete(&object.location)).await;
            }
        }
    }
}

/// Creates an object, and nothing else than that: whether it did.
pub(super) async fn create(store: &Store, key: &str, bytes: Bytes) -> object_store::Result<bool> {
    let attributes = Attributes::from_iter([(Attribute::ContentType, "application/json")]);
    let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
    let path = Path::parse(key)?;
    match timeout(store.object_store().put_opts(&path, bytes.into(), options)).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn timeout<T>(request: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
    tokio::time::timeout(REQUEST, request)
        .await
        .unwrap_or_else(|error| Err(object_store::Error::Generic { store: "state", source: Box::new(error) }))
}

fn version_of(path: &Path) -> Option<u64> {
    let rank = path.filename()?.strip_suffix(".json")?;
    (rank.len() == 20).then_some(())?;
    Some(u64::MAX - rank.parse::<u64>().ok()?)
}

pub(crate) fn random_id() -> Result<String, StateError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(StateError::Random)?;
    Ok(sidetrail_archive::key::Id(bytes).to_string())
}

/// Longer each time, and by chance, so that those who met do not meet again.
async fn pause(attempt: u32) -> Result<(), StateError> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(StateError::Random)?;
    let most = 10_u64 << attempt.min(6);
    let wait = most * u64::from(u16::from_be_bytes(bytes)) / u64::from(u16::MAX);
    tokio::time::sleep(Duration::from_millis(wait + 1)).await;
    Ok(())
}
