//! Brings parcels to their bucket: in order of their chains, each log file before its manifest, and again until it is
//! there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sidetrail_archive::dsse::MAX_ENVELOPE;
use sidetrail_archive::key::Trail;
use sidetrail_archive::store::Put;
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::depot::{Depot, DepotError};
use super::parcel::{self, Checked, Object, Unfit};
use crate::trail::{Destination, DestinationError, MAX_STORED_LOG};

/// After a round in which something could not be stored; doubled with each further one.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The buckets of the trails.
pub(super) type Buckets = HashMap<Trail, Arc<dyn Destination + Sync>>;

/// Why a parcel is not in the bucket.
#[derive(Debug, thiserror::Error)]
enum Undelivered {
    #[error(transparent)]
    Destination(#[from] DestinationError),
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// The configuration has changed since it was accepted.
    #[error("it does not belong here any more")]
    Unfit(#[from] Unfit),
    #[error("{key} is in the bucket already, and is something else")]
    Contradicts { key: String },
}

/// Runs until `end`.
pub(super) async fn run(gateway: Arc<Inner>, end: CancellationToken) {
    let mut backoff = MIN_BACKOFF;
    loop {
        let all = tokio::select! {
            all = round(&gateway) => all,
            () = end.cancelled() => return,
        };
        let metrics = &gateway.shared.metrics.gateway;
        metrics.parcels(gateway.depot.usage());
        let wait = async {
            if all {
                gateway.arrived.notified().await;
            } else {
                tokio::time::sleep(backoff).await;
            }
        };
        tokio::select! {
            () = wait => {}
            () = end.cancelled() => return,
        }
        backoff = if all { MIN_BACKOFF } else { (backoff * 2).min(MAX_BACKOFF) };
    }
}

/// Tries each parcel once, but for those behind one that its bucket did not take. Whether nothing is left to do.
async fn round(gateway: &Arc<Inner>) -> bool {
    let mut away = HashSet::new();
    let mut all = true;
    for name in gateway.depot.names() {
        let (inner, path) = (Arc::clone(gateway), name.clone());
        let delivered = tokio::task::spawn_blocking(move || {
            let check = |parcel| parcel::check(parcel, |trail| inner.bounds(trail));
            let delivered = deliver(&inner.depot, &inner.buckets, &path, &mut away, check);
            (away, delivered)
        });
        // If not, the runtime ends.
        let Ok((now_away, delivered)) = delivered.await else { return false };
        away = now_away;
        let metrics = &gateway.shared.metrics.gateway;
        match delivered {
            Ok(Some(manifest)) => {
                tracing::info!(manifest, "stored what a collector handed over");
                metrics.parcel_stored();
                metrics.parcels(gateway.depot.usage());
            }
            Ok(None) => all = false,
            Err(error) => {
                metrics.parcel_failed();
                let text = crate::chain(&error);
                if matches!(error, Undelivered::Contradicts { .. }) {
                    tracing::error!(
                        parcel = name,
                        error = text,
                        "a parcel is set aside; its log file was handed over too"
                    );
                    if let Err(error) = gateway.depot.set_aside(&name) {
                        tracing::error!(parcel = name, error = %crate::chain(&error), "it is tried again");
                        all = false;
                    }
                    continue;
                }
                tracing::warn!(parcel = name, error = text, "cannot store a parcel now; it stays here");
                all = false;
            }
        }
    }
    all
}

/// Stores the objects of a parcel and forgets it. Gives the manifest's key; nothing if the bucket of its trail is `away`,
/// which a failure makes it.
fn deliver(
    depot: &Depot,
    buckets: &Buckets,
    name: &str,
    away: &mut HashSet<Trail>,
    check: impl FnOnce(sidetrail_wire::gateway::v1::Parcel) -> Result<Checked, Unfit>,
) -> Result<Option<String>, Undelivered> {
    let (parcel, log) = depot.read(name)?;
    let Checked { place, public_key, manifest, log: stated, created_unix_s } = check(parcel)?;
    if away.contains(&place.trail) {
        return Ok(None);
    }
    let Some(bucket) = buckets.get(&place.trail) else {
        return Err(Unfit::Trail(place.trail).into());
    };
    let store = || {
        let put = |object: &Object, limit| put(&**bucket, object, limit, created_unix_s);
        put(&public_key, MAX_ENVELOPE)?;
        if let Some(stated) = stated {
            put(&Object { key: stated.key, bytes: log }, MAX_STORED_LOG)?;
        }
        put(&manifest, MAX_ENVELOPE)?;
        Ok(depot.remove(name)?)
    };
    match store() {
        Ok(()) => Ok(Some(manifest.key)),
        Err(error @ Undelivered::Contradicts { .. }) => Err(error),
        Err(error) => {
            away.insert(place.trail);
            Err(error)
        }
    }
}

/// Stores an object unless it is there: the collector that made it may have stored it after all. Locks it where that is
/// wanted.
fn put(
    bucket: &dyn Destination,
    Object { key, bytes }: &Object,
    limit: usize,
    created_unix_s: i64,
) -> Result<(), Undelivered> {
    if bucket.create(key, bytes)? == Put::AlreadyExists {
        let stored: Bytes = bucket.read(key, limit)?;
        if stored != *bytes {
            return Err(Undelivered::Contradicts { key: key.clone() });
        }
    }
    bucket.confirm(key, bytes.len() as u64)?;
    // One that could not be locked is said, and where nothing may be stored without, this fails.
    bucket.lock(key, created_unix_s)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::super::parcel::tests::{bounds, parcel};
    use super::*;

    /// A bucket in memory that fails its request number `fails`, and notes the order of keys.
    #[derive(Debug, Default)]
    struct Memory {
        objects: Mutex<BTreeMap<String, Bytes>>,
        order: Mutex<Vec<String>>,
        requests: Mutex<u32>,
        fails: u32,
    }

    impl Memory {
        fn request(&self, key: &str) -> Result<(), DestinationError> {
            let mut requests = self.requests.lock().unwrap();
            *requests += 1;
            if *requests != self.fails {
                return Ok(());
            }
            let source = object_store::Error::Generic { store: "memory", source: "away".into() };
            Err(DestinationError::Confirm { key: key.to_owned(), store: "memory".to_owned(), source })
        }
    }

    impl Destination for Memory {
        fn create(&self, key: &str, bytes: &Bytes) -> Result<Put, DestinationError> {
            let mut objects = self.objects.lock().unwrap();
            let put = if objects.contains_key(key) { Put::AlreadyExists } else { Put::Created };
            if put == Put::Created {
                objects.insert(key.to_owned(), bytes.clone());
                self.order.lock().unwrap().push(key.to_owned());
            }
            // The effect comes, the answer does not.
            self.request(key).map(|()| put)
        }

        fn confirm(&self, key: &str, size: u64) -> Result<(), DestinationError> {
            assert_eq!(self.objects.lock().unwrap()[key].len() as u64, size);
            self.request(key)
        }

        fn read(&self, key: &str, _: usize) -> Result<Bytes, DestinationError> {
            self.request(key).map(|()| self.objects.lock().unwrap()[key].clone())
        }
    }

    fn depot(path: &std::path::Path, indices: &[u64]) -> Depot {
        let depot = Depot::open(path, 1 << 20).unwrap();
        for index in indices {
            let (parcel, log) = parcel(*index, |_| {});
            let checked = parcel::check(parcel.clone(), |_| Some(bounds())).unwrap();
            let Some(mut incoming) = depot.take(&checked.place, &parcel, checked.log).unwrap() else {
                panic!("new");
            };
            incoming.write(&log.bytes).unwrap();
            incoming.finish().unwrap();
        }
        depot
    }

    fn deliver_to(depot: &Depot, memory: &Arc<Memory>) -> Result<Option<String>, Undelivered> {
        let bucket: Arc<dyn Destination + Sync> = Arc::clone(memory) as _;
        let buckets = Buckets::from([("default".parse().unwrap(), bucket)]);
        let check = |parcel| parcel::check(parcel, |_| Some(bounds()));
        deliver(depot, &buckets, &depot.names()[0], &mut HashSet::new(), check)
    }

    #[test]
    fn whichever_request_fails_the_objects_come_in_order_and_once() {
        for fails in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let depot = depot(directory.path(), &[4]);
            let memory = Arc::new(Memory { fails, ..Memory::default() });
            let mut tries = 0;
            while !depot.names().is_empty() {
                tries += 1;
                assert!(deliver_to(&depot, &memory).is_ok() || tries == 1, "request {fails}");
            }
            let order = memory.order.lock().unwrap().clone();
            let kinds: Vec<_> = order.iter().map(|key| key.split('/').nth(3).unwrap()).collect();
            assert_eq!(kinds, ["Sidetrail-Key", "CloudTrail", "Sidetrail-Manifest"], "request {fails}");
            if tries == 1 && fails > 0 {
                assert!(fails > 6, "every request was tried");
                return;
            }
        }
    }

    #[test]
    fn what_contradicts_the_bucket_stays_here() {
        let directory = tempfile::tempdir().unwrap();
        let depot = depot(directory.path(), &[4]);
        let memory = Arc::new(Memory::default());
        let (parcel, _) = parcel(4, |_| {});
        let log = parcel::check(parcel, |_| Some(bounds())).unwrap().log.unwrap();
        memory.objects.lock().unwrap().insert(log.key.clone(), Bytes::from_static(b"another build's"));
        let error = deliver_to(&depot, &memory).unwrap_err();
        assert!(matches!(&error, Undelivered::Contradicts { key } if *key == log.key), "{error}");
        assert_eq!(depot.names().len(), 1);
        assert!(!memory.objects.lock().unwrap().keys().any(|key| key.contains("Manifest")));
    }

    #[test]
    fn what_is_behind_a_bucket_that_is_away_waits() {
        let directory = tempfile::tempdir().unwrap();
        let depot = depot(directory.path(), &[4]);
        let check = |parcel| parcel::check(parcel, |_| Some(bounds()));
        let mut away = HashSet::from(["default".parse().unwrap()]);
        let waits = deliver(&depot, &Buckets::new(), &depot.names()[0], &mut away, check);
        assert!(matches!(waits, Ok(None)), "{waits:?}");
        let gone = deliver(&depot, &Buckets::new(), &depot.names()[0], &mut HashSet::new(), check);
        assert!(matches!(gone, Err(Undelivered::Unfit(Unfit::Trail(_)))), "{gone:?}");
        assert_eq!(depot.names().len(), 1);
    }
}
