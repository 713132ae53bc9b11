//! The collectors that are known: those in touch with this server in memory, all of them in the bucket.
//!
//! ```text
//! [prefix "/"] "Sidetrail-State/" account "/collectors/" id ".json"
//! ```
//!
//! One object for each, written over by whichever server the collector is in touch with: when it comes, when it goes, and
//! once a minute. It is what is shown and nothing more: no evidence, and nothing that two servers could change at once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use sidetrail_api::shape::{Collector, CollectorState, CollectorTrail, SilentSource, Standing, Workload};
use sidetrail_archive::key::Id;
use sidetrail_archive::store::{Store, StoreError};
use sidetrail_wire::control::v1::{Hello, Source, Status};
use tonic::Status as Refusal;

/// Collectors of an account that are shown.
const MAX_COLLECTORS: usize = 10_000;
/// Bytes of a collector's object.
const MAX_OBJECT: usize = 256 << 10;
/// Objects that are read at once.
const READ_AHEAD: usize = 16;
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);
/// How often a collector's object is written while it is in touch.
pub(super) const KEEP_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// After so long without a word a collector that did not say goodbye is silent: its server may be gone too.
const SILENT_AFTER: SignedDuration = SignedDuration::from_secs(150);
/// Minutes that are counted.
const MINUTES: usize = 15;
/// How long what is known of a collector that is gone is kept.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(24 * 30);

/// The collectors that are in touch.
#[derive(Debug)]
pub(crate) struct Register {
    store: Arc<Store>,
    here: Mutex<HashMap<(String, String), Present>>,
}

#[derive(Clone, Debug)]
struct Present {
    collector: Collector,
    /// Which stream it is of: a collector that came again is not gone with its older one.
    stream: u64,
}

/// A collector's place in the register while its stream is open.
#[derive(Debug)]
pub(super) struct Entry {
    register: Arc<Register>,
    key: (String, String),
    stream: u64,
    minutes: Minutes,
    kept: Timestamp,
}

/// The register cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterError {
    #[error("cannot list the collectors")]
    List(#[from] object_store::Error),
    #[error("cannot read what is known of a collector")]
    Read(#[from] StoreError),
}

/// A collector is not let in by an id.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnterError {
    /// It is another's.
    #[error(
        "collector {id} is known as {known}, and this one comes as {comes}; whoever runs this server can remove what is \
         known of it: {key}"
    )]
    Taken { id: String, known: String, comes: String, key: String },
    /// The other is here.
    #[error("collector {id} is in touch from another pod, {pod}")]
    Here { id: String, pod: String },
    /// Whose it is cannot be found out.
    #[error("it cannot be found out whose id this is")]
    Unknown(#[source] RegisterError),
}

impl EnterError {
    /// What the collector is told.
    pub(super) fn status(&self) -> Refusal {
        match self {
            Self::Taken { id, .. } => Refusal::permission_denied(format!(
                "collector {id} has joined as somebody else before: see this server's log"
            )),
            Self::Here { .. } => {
                Refusal::already_exists("a collector of this id is in touch from another pod")
            }
            Self::Unknown(_) => Refusal::unavailable("it cannot be found out now whose id this is"),
        }
    }
}

/// How a collector went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// With a goodbye.
    Ended,
    /// Without one.
    Silent,
    /// It was asked to come again.
    Rejoins,
}

impl Register {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, here: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Present>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn home(&self, account: &str) -> String {
        let prefix = self.store.prefix().map_or_else(String::new, |prefix| format!("{prefix}/"));
        format!("{prefix}Sidetrail-State/{account}/collectors")
    }

    /// A collector has come, from this pod if Kubernetes says so. Where ids are bound, one that was a pod's is never again
    /// that of who comes otherwise, or of another ServiceAccount's pod, nor the other way round.
    pub(super) async fn enter(
        self: &Arc<Self>,
        hello: &Hello,
        id: Id,
        stream: u64,
        now: Timestamp,
        workload: Option<Workload>,
        ids_are_bound: bool,
    ) -> Result<Entry, EnterError> {
        let (account, id) = (hello.account_id.clone(), id.to_string());
        let key = (account.clone(), id.clone());
        let known = match self.read(&account, &id).await {
            Ok(known) => known,
            Err(error) if ids_are_bound => return Err(EnterError::Unknown(error)),
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), "not known when a collector first came");
                None
            }
        };
        if let Some(known) = known.as_ref().filter(|_| ids_are_bound) {
            let (known, comes) = (owner(known.workload.as_ref()), owner(workload.as_ref()));
            if known != comes {
                let key = format!("{}/{id}.json", self.home(&account));
                return Err(EnterError::Taken { id, known, comes, key });
            }
        }
        let uid = |workload: &Option<Workload>| workload.as_ref().map(|workload| workload.uid.clone());
        let collector = Collector {
            id: id.clone(),
            account: account.clone(),
            region: hello.region.clone(),
            host: hello.host.clone(),
            workload,
            version: hello.version.clone(),
            standing: Standing::Connected,
            started: Timestamp::from_millisecond(hello.started_unix_ms).unwrap_or(now),
            registered: known.as_ref().map_or(now, |known| known.registered),
            seen: now,
            state: CollectorState {
                takes_trails: hello.takes_trails,
                per_minute: Vec::new(),
                ..known.map(|known| known.state).unwrap_or_default()
            },
        };
        {
            let mut here = self.lock();
            let other = here.get(&key).map(|present| &present.collector.workload);
            if ids_are_bound && let Some(Some(pod)) = other.filter(|it| uid(it) != uid(&collector.workload)) {
                return Err(EnterError::Here { id, pod: format!("{}/{}", pod.namespace, pod.pod) });
            }
            here.insert(key.clone(), Present { collector, stream });
        }
        let entry = Entry {
            register: Arc::clone(self),
            key,
            stream,
            minutes: Minutes::default(),
            kept: Timestamp::MIN,
        };
        entry.keep().await;
        Ok(Entry { kept: now, ..entry })
    }

    async fn read(&self, account: &str, id: &str) -> Result<Option<Collector>, RegisterError> {
        match self.store.get(&format!("{}/{id}.json", self.home(account)), MAX_OBJECT).await {
            // What is no collector's is not shown.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All collectors of an account, by region and host, as they stand now.
    pub(crate) async fn of(&self, account: &str, now: Timestamp) -> Result<Vec<Collector>, RegisterError> {
        let home = Path::parse(self.home(account)).map_err(object_store::Error::from)?;
        let list = self.store.object_store().list(Some(&home)).take(MAX_COLLECTORS).try_collect::<Vec<_>>();
        let listed = match tokio::time::timeout(REQUEST, list).await {
            // There is nothing in a directory that is not there.
            Ok(Err(object_store::Error::NotFound { .. })) => Vec::new(),
            Ok(listed) => listed?,
            Err(error) => {
                return Err(object_store::Error::Generic { store: "state", source: Box::new(error) }.into());
            }
        };
        let here: HashMap<_, _> = {
            let here = self.lock();
            let of_account = here.iter().filter(|((of, _), _)| of == account);
            of_account.map(|((_, id), present)| (id.clone(), present.collector.clone())).collect()
        };
        let ids = listed.iter().filter_map(|object| object.location.filename()?.strip_suffix(".json"));
        let others: Vec<_> = ids.filter(|id| !here.contains_key(*id)).map(str::to_owned).collect();
        let read = stream::iter(others).map(|id| async move { self.read(account, &id).await });
        let read: Vec<_> = read.buffered(READ_AHEAD).try_collect().await?;
        let mut collectors: Vec<Collector> = read.into_iter().flatten().collect();
        for collector in &mut collectors {
            let gone = now.duration_since(collector.seen);
            if collector.standing == Standing::Connected && gone > SILENT_AFTER {
                collector.standing = Standing::Silent;
            }
        }
        collectors.retain(|collector| now.duration_since(collector.seen) < FORGOTTEN_AFTER);
        collectors.extend(here.into_values());
        collectors.sort_by(|one, other| {
            let place = |it: &Collector| (it.region.clone(), it.host.clone(), it.id.clone());
            place(one).cmp(&place(other))
        });
        Ok(collectors)
    }
}

impl Entry {
    fn change(&self, change: impl FnOnce(&mut Collector)) {
        let mut here = self.register.lock();
        if let Some(present) = here.get_mut(&self.key).filter(|present| present.stream == self.stream) {
            change(&mut present.collector);
        }
    }

    /// The collector has told how it is.
    pub(super) async fn status(&mut self, status: Status, now: Timestamp) {
        self.minutes.count(status.accepted, now);
        let per_minute = self.minutes.newest_first();
        self.change(|collector| {
            collector.seen = now;
            collector.state.per_minute = per_minute;
            apply(&mut collector.state, status, now);
        });
        if now.duration_since(self.kept) >= KEEP_EVERY {
            self.kept = now;
            self.keep().await;
        }
    }

    /// Whether it goes by what it is told, and the problem if there is one.
    pub(super) fn obeys(&self, up_to_date: bool, problem: String) {
        self.change(|collector| {
            collector.state.up_to_date = up_to_date;
            collector.state.problem = problem;
        });
    }

    /// Its stream is at its end.
    pub(super) async fn leave(self, gone: Gone, now: Timestamp) {
        self.change(|collector| {
            collector.seen = now;
            collector.standing = match gone {
                Gone::Ended => Standing::Ended,
                Gone::Silent => Standing::Silent,
                // If it does not come it is silent after some time.
                Gone::Rejoins => Standing::Connected,
            };
        });
        // Before it is gone from here, so that it is always somewhere.
        self.keep().await;
        let mut here = self.register.lock();
        if here.get(&self.key).is_some_and(|present| present.stream == self.stream) {
            here.remove(&self.key);
        }
    }

    async fn keep(&self) {
        let collector = {
            let here = self.register.lock();
            here.get(&self.key).filter(|it| it.stream == self.stream).map(|it| it.collector.clone())
        };
        let Some(collector) = collector else { return };
        let key = format!("{}/{}.json", self.register.home(&self.key.0), self.key.1);
        let put = async {
            let bytes = serde_json::to_vec(&collector).map_err(|error| error.to_string())?;
            let path = Path::parse(&key).map_err(|error| error.to_string())?;
            let store = self.register.store.object_store();
            let put = tokio::time::timeout(REQUEST, store.put(&path, bytes.into()));
            put.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string()).map(|_| ())
        };
        if let Err(error) = put.await {
            tracing::warn!(key, error, "what is known of a collector is not kept");
        }
    }
}

/// Whose an id is: names of pods and their uids change.
fn owner(workload: Option<&Workload>) -> String {
    workload.map_or_else(
        || "no pod".to_owned(),
        |Workload { namespace, service_account, .. }| {
            format!("service account {service_account} of namespace {namespace}")
        },
    )
}

fn time(unix_ms: i64) -> Option<Timestamp> {
    (unix_ms > 0).then(|| Timestamp::from_millisecond(unix_ms).ok()).flatten()
}

fn apply(state: &mut CollectorState, status: Status, now: Timestamp) {
    let trail = |it: sidetrail_wire::control::v1::TrailStatus| CollectorTrail {
        name: it.name,
        shipped: it.shipped,
        queued: it.queued,
        lag_ms: time(it.oldest_unix_ms)
            .map_or(0, |oldest| u64::try_from(now.duration_since(oldest).as_millis()).unwrap_or(0)),
        last_shipped: time(it.last_shipped_unix_ms),
        failing: it.failing,
    };
    let silent = |it: Source| SilentSource {
        source: <[u8; 16]>::try_from(&it.source[..]).map(|id| Id(id).to_string()).unwrap_or_default(),
        service: it.service,
        instance: it.instance,
        since: time(it.since_unix_ms).unwrap_or(now),
        last_sequence: it.last_sequence,
        missing: it.missing,
    };
    state.accepted = status.accepted;
    state.dropped = status.dropped;
    state.spool_bytes = status.spool_bytes;
    state.spool_budget = status.spool_budget;
    state.full = status.full;
    state.streams = status.streams;
    state.trails = status.trails.into_iter().take(MAX_LISTED).map(trail).collect();
    state.silent_sources = status.silent.into_iter().take(MAX_LISTED).map(silent).collect();
    state.silent_count = status.silent_count;
}

/// Trails and sources of a collector that are shown.
const MAX_LISTED: usize = 64;

/// What was accepted, by the minute.
#[derive(Debug, Default)]
struct Minutes {
    last: Option<u64>,
    /// Minute and count, the oldest first.
    counts: VecDeque<(i64, u64)>,
}

impl Minutes {
    fn count(&mut self, accepted: u64, now: Timestamp) {
        let minute = now.as_second().div_euclid(60);
        let more = self.last.map_or(0, |last| accepted.saturating_sub(last));
        self.last = Some(accepted);
        match self.counts.back_mut() {
            Some((last, count)) if *last >= minute => *count += more,
            last => {
                // Minutes in which nothing was told are there too.
                let after = last.map_or(minute, |(last, _)| (*last + 1).max(minute - MINUTES as i64));
                self.counts.extend((after..minute).map(|minute| (minute, 0)));
                self.counts.push_back((minute, more));
            }
        }
        while self.counts.len() > MINUTES {
            self.counts.pop_front();
        }
    }

    fn newest_first(&self) -> Vec<u64> {
        self.counts.iter().rev().map(|(_, count)| *count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_counted_from_what_was_accepted() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut minutes = Minutes::default();
        minutes.count(100, at(0));
        assert_eq!(minutes.newest_first(), [0], "what came before is not of this minute");
        minutes.count(107, at(59));
        minutes.count(110, at(60));
        minutes.count(111, at(61));
        assert_eq!(minutes.newest_first(), [4, 7]);
        minutes.count(112, at(200));
        assert_eq!(minutes.newest_first(), [1, 0, 4, 7]);
        minutes.count(5, at(100_000));
        assert_eq!(minutes.newest_first().len(), MINUTES);
        assert_eq!(minutes.newest_first()[0], 0, "another spool");
    }

    fn hello(host: &str) -> Hello {
        Hello {
            account_id: "111122223333".to_owned(),
            region: "eu-central-1".to_owned(),
            host: host.to_owned(),
            ..Hello::default()
        }
    }

    async fn enter(
        register: &Arc<Register>,
        hello: &Hello,
        id: Id,
        stream: u64,
        workload: Option<Workload>,
    ) -> Result<Entry, EnterError> {
        let now: Timestamp = "2026-01-15T10:00:00Z".parse().unwrap();
        let bound = workload.is_some() || hello.host == "bound";
        register.enter(hello, id, stream, now, workload, bound).await
    }

    fn pod(service_account: &str, uid: &str) -> Workload {
        Workload {
            namespace: "prod".to_owned(),
            service_account: service_account.to_owned(),
            pod: format!("{service_account}-{uid}"),
            uid: uid.to_owned(),
            node: None,
        }
    }

    #[tokio::test]
    async fn an_id_is_one_service_accounts() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(directory.path().to_str().unwrap(), &|_| None).unwrap();
        let register = Arc::new(Register::new(Arc::new(store)));
        let now: Timestamp = "2026-01-15T10:00:00Z".parse().unwrap();
        let id = Id([1; 16]);
        let orders = enter(&register, &hello("bound"), id, 1, Some(pod("orders", "1"))).await.unwrap();
        let other = enter(&register, &hello("bound"), id, 2, Some(pod("orders", "2"))).await.unwrap_err();
        assert!(matches!(other, EnterError::Here { .. }), "{other}");
        // The same pod comes again before its older stream is seen to be gone.
        let again = enter(&register, &hello("bound"), id, 3, Some(pod("orders", "1"))).await.unwrap();
        orders.leave(Gone::Silent, now).await;
        again.leave(Gone::Ended, now).await;
        for workload in [Some(pod("refunds", "3")), None] {
            let error = enter(&register, &hello("bound"), id, 4, workload).await.unwrap_err();
            assert!(matches!(error, EnterError::Taken { .. }), "{error}");
            assert_eq!(error.status().code(), tonic::Code::PermissionDenied);
            assert!(!error.status().message().contains("orders"), "it is not told whose it is");
        }
        // A StatefulSet's pod has another uid when it comes again, on the same volume.
        let later = enter(&register, &hello("bound"), id, 5, Some(pod("orders", "2"))).await.unwrap();
        let known = register.of("111122223333", now).await.unwrap();
        assert_eq!(known[0].workload, Some(pod("orders", "2")));
        // A stream that is to be opened again is no loss.
        later.leave(Gone::Rejoins, now).await;
        assert_eq!(register.of("111122223333", now).await.unwrap()[0].standing, Standing::Connected);
        let much_later = now + SignedDuration::from_mins(3);
        assert_eq!(register.of("111122223333", much_later).await.unwrap()[0].standing, Standing::Silent);
        // Who joins otherwise keeps an id as well.
        drop(enter(&register, &hello("bound"), Id([2; 16]), 6, None).await.unwrap());
        let taken = enter(&register, &hello("bound"), Id([2; 16]), 7, Some(pod("orders", "1"))).await;
        assert!(matches!(taken, Err(EnterError::Taken { .. })));
    }

    #[tokio::test]
    async fn who_goes_without_a_goodbye_is_silent() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(directory.path().to_str().unwrap(), &|_| None).unwrap();
        let register = Arc::new(Register::new(Arc::new(store)));
        let now: Timestamp = "2026-01-15T10:00:00Z".parse().unwrap();
        assert_eq!(register.of("111122223333", now).await.unwrap(), []);
        let one = enter(&register, &hello("one"), Id([1; 16]), 1, None).await.unwrap();
        let mut two = enter(&register, &hello("two"), Id([2; 16]), 2, None).await.unwrap();
        let again = enter(&register, &hello("one"), Id([1; 16]), 3, None).await.unwrap();
        one.leave(Gone::Silent, now).await;
        two.status(Status { accepted: 7, ..Status::default() }, now).await;
        let standings = |collectors: Vec<Collector>| -> Vec<_> {
            collectors.into_iter().map(|it| (it.host, it.standing)).collect()
        };
        let of = async |now| standings(register.of("111122223333", now).await.unwrap());
        let name = |host: &str, standing| (host.to_owned(), standing);
        assert_eq!(of(now).await, [name("one", Standing::Connected), name("two", Standing::Connected)]);
        again.leave(Gone::Ended, now).await;
        two.leave(Gone::Silent, now).await;
        assert_eq!(of(now).await, [name("one", Standing::Ended), name("two", Standing::Silent)]);

        // A server that was killed leaves what it knew last.
        let third = enter(&register, &hello("three"), Id([3; 16]), 4, None).await.unwrap();
        let other = Register::new(Arc::clone(&register.store));
        let later = now + SignedDuration::from_mins(3);
        let seen = standings(other.of("111122223333", later).await.unwrap());
        assert_eq!(seen[1], name("three", Standing::Silent));
        assert_eq!(standings(other.of("111122223333", now).await.unwrap())[1].1, Standing::Connected);
        drop(third);
    }
}
